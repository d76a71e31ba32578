/**
 * Where no WebSocket gets through: the stream of events and POST (docs/events.md), against the real server behind a way
 * that refuses WebSockets, and for what that says seldom against a small one that says what it is told to.
 */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import http from "node:http";
import { test } from "node:test";
import { promisify } from "node:util";
import { EventSource } from "eventsource";
import { WebSocket } from "ws";

import { connect } from "../voltlane.js";
import { once, Storage, string, until, world } from "./kit.js";

class Fake {
  posts = [];
  streams = [];
  statuses = []; // of the next answers to POST /send; 0: the connection ends, -1: none comes
  sessions = 0;
  lastIds = [];

  static async start(t) {
    const fake = new Fake();
    fake.server = http.createServer((request, response) => fake.#serve(request, response));
    fake.server.on("upgrade", (request, socket) => {
      fake.upgrades = (fake.upgrades ?? 0) + 1;
      socket.on("error", () => {}); // who was refused may be gone already
      socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
    });
    await new Promise((resolve) => fake.server.listen(0, "127.0.0.1", resolve));
    t.after(() => {
      fake.server.closeAllConnections();
      fake.server.close();
    });
    fake.port = fake.server.address().port;
    return fake;
  }

  #serve(request, response) {
    if (request.method == "GET" && request.url == "/events") {
      this.lastIds.push(request.headers["last-event-id"]);
      if (!request.headers["last-event-id"]) this.sessions++;
      response.writeHead(200, { "Content-Type": "text/event-stream" });
      response.write(`retry: 10\nevent: session\ndata: ${JSON.stringify({ client_id: this.sessions, token: `token-${this.sessions}`, lost: this.lost })}\n\n`);
      this.streams.push(response);
    } else if (request.method == "POST" && request.url == "/send") {
      const parts = [];
      request.on("data", (part) => parts.push(part));
      request.on("end", () => {
        const status = this.statuses.shift() ?? 204;
        this.posts.push([request.headers.authorization, Buffer.concat(parts).toString(), status]);
        if (status > 0) response.writeHead(status).end();
        else if (!status) response.destroy();
      });
    } else response.writeHead(404).end();
  }

  say(event) {
    this.streams.at(-1).write(`${event}\n\n`);
  }

  end(code) {
    this.say(`event: end\ndata: {"code": ${code}, "reason": "because"}`);
  }

  connect(t, options) {
    const connection = connect(`ws://127.0.0.1:${this.port}/`, { WebSocket, EventSource, longestPause: 20, ...options });
    connection.closes = [];
    connection.addEventListener("close", (event) => connection.closes.push(event));
    t.after(() => connection.close(3005));
    return connection;
  }
}

test("it falls back to events, and sends in order", async (t) => {
  const fake = await Fake.start(t);
  const connection = fake.connect(t);
  const came = [];
  connection.addEventListener("packet", ({ data }) => came.push(data));
  connection.addEventListener("gap", ({ first, last }) => came.push([first, last]));
  for (const data of ["1", "2", "3"]) connection.send(data);
  const { id, resumed } = await once(connection, "open");
  assert.deepEqual([id, resumed], [1n, false]);
  await connection.flush();
  assert.deepEqual(fake.posts, ["1", "2", "3"].map((data) => ["Bearer token-1", data, 204]));
  fake.say("id: a\ndata: h\u00e9llo\ndata: world");
  fake.say("id: b\nevent: binary\ndata: /wA=");
  fake.say('event: gap\ndata: {"first": 3, "last": 1099511627776}');
  await until(() => came.length == 3, "all of it");
  assert.deepEqual([string(came[0]), [...came[1]], came[2]], ["h\u00e9llo\nworld", [255, 0], [3n, 1n << 40n]]);
  assert.equal(fake.upgrades, 2);
});

test("a stream that is cut comes back behind the last event, and what is sent waits for it", async (t) => {
  const fake = await Fake.start(t);
  const connection = fake.connect(t);
  connection.addEventListener("packet", () => {});
  await once(connection, "open");
  fake.say("id: secret-1\ndata: x");
  await once(connection, "packet");
  const closed = once(connection, "close"), opened = once(connection, "open");
  fake.streams[0].destroy();
  assert.equal((await closed).reconnecting, true);
  connection.send("y");
  assert.equal((await opened).resumed, true);
  await connection.flush();
  assert.deepEqual(fake.lastIds, [undefined, "secret-1"]);
  assert.equal(connection.id, 1n);
});

test("a busy server is asked again, and what nobody answers is uncertain", async (t) => {
  const fake = await Fake.start(t);
  const connection = fake.connect(t);
  const uncertain = [];
  connection.addEventListener("uncertain", ({ packets }) => uncertain.push(...packets.map(string)));
  await once(connection, "open");
  fake.statuses = [503, 204, 0, 204];
  const outcomes = await Promise.allSettled(["1", "2", "3"].map((data) => connection.send(data)));
  assert.deepEqual(outcomes.map(({ status }) => status), ["fulfilled", "rejected", "fulfilled"]);
  assert.equal(outcomes[1].reason.uncertain, true);
  assert.deepEqual(uncertain, ["2"]);
  assert.deepEqual(fake.posts.map(([, data]) => data), ["1", "1", "2", "3"]);
});

for (const status of [401, 410])
  test(`a session that is gone (${status}): a new one, to which it is sent again`, async (t) => {
    const fake = await Fake.start(t);
    const connection = fake.connect(t);
    await once(connection, "open");
    fake.statuses = [status];
    const closed = once(connection, "close");
    const sent = connection.send("1");
    await closed;
    const { id, resumed } = await once(connection, "open");
    await sent;
    assert.deepEqual([id, resumed], [2n, false]);
    assert.deepEqual(fake.posts.map(([token, data]) => [token, data]), [["Bearer token-1", "1"], ["Bearer token-2", "1"]]);
  });

test("a session that is gone ends it with `renew: false`", async (t) => {
  for (const gone of [(fake, connection) => (fake.statuses = [410]) && connection.send("1").catch(() => {}), (fake) => fake.streams[0].destroy()]) {
    const fake = await Fake.start(t);
    const connection = fake.connect(t, { renew: false });
    await once(connection, "open");
    fake.lost = "it has expired";
    gone(fake, connection);
    await until(() => connection.closes.at(-1).code == 3501, "the end");
    assert.equal(connection.closes.at(-1).reconnecting, false);
  }
});

for (const code of [3007, 3506, 3999])
  test(`an end with ${code} is the end`, async (t) => {
    const fake = await Fake.start(t);
    const connection = fake.connect(t);
    await once(connection, "open");
    const closed = once(connection, "close");
    fake.end(code);
    const { reason, reconnecting } = await closed;
    assert.deepEqual([connection.closes.at(-1).code, reason, reconnecting], [code, "because", false]);
    fake.streams[0].destroy();
    await assert.rejects(connection.send("more"), { code: 3510 });
    assert.equal(fake.streams.length, 1);
  });

test("an end with another code is an outage", async (t) => {
  const fake = await Fake.start(t);
  const connection = fake.connect(t);
  await once(connection, "open");
  fake.say("id: a\ndata: x"); // with which it comes back
  await once(connection, "packet");
  const opened = once(connection, "open");
  fake.end(3000);
  fake.streams[0].destroy();
  assert.equal((await opened).resumed, true);
});

test("what is under way when the session ends is uncertain, and what was not sent is not", async (t) => {
  const fake = await Fake.start(t);
  const connection = fake.connect(t);
  const uncertain = [];
  connection.addEventListener("uncertain", ({ first, last, packets }) => uncertain.push([first, last, packets.map(string)]));
  await once(connection, "open");
  await connection.send("1");
  fake.statuses = [503];
  const outcomes = Promise.allSettled(["2", "3"].map((data) => connection.send(data)));
  await until(() => fake.posts.length == 2, "the second has been posted");
  fake.end(3506);
  assert.deepEqual((await outcomes).map(({ reason }) => reason.uncertain), [true, false]);
  assert.deepEqual(uncertain, [[2n, 2n, ["2"]]]);
});

test("what is under way when the page is reloaded is uncertain, and is not sent to the next session", async (t) => {
  const fake = await Fake.start(t);
  const storage = new Storage();
  const connection = fake.connect(t, { storage });
  await once(connection, "open");
  fake.statuses = [-1];
  for (const data of ["1", "2"]) connection.send(data);
  await until(() => fake.posts.length == 1, "the first has been posted");
  await connection.close(3005);
  const next = fake.connect(t, { storage });
  const { first, last, packets } = await once(next, "uncertain");
  assert.deepEqual([first, last, packets.map(string)], [1n, 1n, ["1"]]);
  await next.send("3");
  assert.deepEqual(fake.posts.map(([, data]) => data), ["1", "2", "3"]);
});

const IDLE = `
import { EventSource } from "eventsource";
import { WebSocket } from "ws";
import { connect } from "./voltlane.js";

const connection = connect(process.argv[1], { WebSocket, EventSource, longestPause: 20 });
connection.addEventListener("packet", async ({ data }) => {
  await connection.send(data);
  process.exit();
});
`;

test("with events and nothing to send it does nothing, and is ready to send", async (t) => {
  // A process of its own: a stack that is full is told on its standard error, and nowhere else.
  const fake = await Fake.start(t);
  const url = `ws://127.0.0.1:${fake.port}/`;
  const done = promisify(execFile)(process.execPath, ["--input-type=module", "--eval", IDLE, url], {
    cwd: new URL("..", import.meta.url),
    timeout: 20000,
  });
  await until(() => fake.streams.length == 1, "the stream");
  fake.say("data: x");
  const { stderr } = await done;
  assert.doesNotMatch(stderr, /RangeError/);
  assert.deepEqual(fake.posts.map(([, data]) => data), ["x"]);
});

test("behind a session of events a WebSocket opens one of its own", async (t) => {
  const { connect, way, master, server } = await world(t);
  const fake = await Fake.start(t);
  way.to = fake.port;
  const connection = connect({ EventSource });
  const { id } = await once(connection, "open");
  await connection.send("1");
  way.to = server.port;
  fake.statuses = [401];
  const closes = connection.closes.length, opened = once(connection, "open");
  await connection.send("2");
  assert.equal((await opened).resumed, false);
  assert.notEqual(connection.id, id);
  assert.deepEqual(master.of(connection.id), ["2"]);
  assert.deepEqual(connection.closes.slice(closes).map(({ code }) => code), [3001], "no session was asked for in vain");
  way.cut();
  assert.equal((await once(connection, "open")).resumed, true);
  assert.equal(fake.streams.length, 1);
});

test("without an EventSource it goes on trying WebSocket", async (t) => {
  const fake = await Fake.start(t);
  const connection = fake.connect(t, { EventSource: null });
  await until(() => fake.upgrades > 4, "five attempts");
  assert.equal(fake.sessions, 0);
  assert.ok(connection.closes.every(({ reconnecting }) => reconnecting));
});

async function real(t, options) {
  const all = await world(t, options);
  all.way.blocked = true;
  const connection = all.connect({ EventSource });
  const came = [];
  connection.addEventListener("packet", ({ data }) => came.push(string(data)));
  connection.addEventListener("gap", ({ first, last }) => came.push([first, last]));
  const { id, resumed } = await once(connection, "open");
  assert.equal(resumed, false);
  return { ...all, connection, came, id };
}

test("the real server: packets of all kinds go up, and come back down", async (t) => {
  const { connection, came, master, id } = await real(t, { echo: true });
  const packets = ["1", "", "two\nlines\n", "a\rb\r\n", " \u00e9", "\0", "x".repeat(70000)];
  for (const data of packets) connection.send(data);
  await connection.send(new Uint8Array([255, 0]));
  await until(() => came.length == packets.length + 1, "the echoes");
  assert.deepEqual(came, [...packets, string(new Uint8Array([255, 0]))]);
  assert.deepEqual(master.of(id), came);
});

test("the real server: a cut costs nothing, and a server that forgot everything is told from one that did not", async (t) => {
  const { connection, came, master, way, id, restart } = await real(t);
  master.send(id, "1");
  await until(() => came.length == 1, "the first");
  let opened = once(connection, "open");
  way.cut();
  master.send(id, "2");
  assert.equal((await opened).resumed, true);
  await connection.send("up");
  await until(() => came.length == 2 && master.of(id).length == 1, "both of them");
  opened = once(connection, "open");
  await restart("SIGKILL");
  assert.equal((await opened).resumed, false);
  await connection.send("again");
  assert.notEqual(connection.id, id);
  await until(() => master.of(connection.id).length == 1, "it was only on its way");
  assert.deepEqual([came, master.of(id), master.of(connection.id)], [["1", "2"], ["up"], ["again"]]);
});

test("the real server: a gap has its numbers", async (t) => {
  const settings = { CLIENTS_MISSED_PACKETS_BUFFER_SIZE: 2, CLIENTS_MISSED_PACKETS_POLICY: "drop-oldest" };
  const { connection, came, master, way, id } = await real(t, { settings });
  const opened = once(connection, "open"), closed = once(connection, "close");
  const port = way.to;
  way.to = 1; // nobody is there
  way.cut();
  await closed;
  for (const data of ["1", "2", "3", "4"]) master.send(id, data);
  way.to = port;
  await opened;
  await until(() => came.length == 3, "what is left");
  assert.deepEqual(came, [[1n, 2n], "3", "4"]);
});

test("the real server: a kick, and a takeover, are the end", async (t) => {
  const { connection, master, id, way, connect } = await real(t);
  master.kick(id);
  assert.equal((await once(connection, "close")).code, 3506);
  let last;
  const mine = connect({
    EventSource: class extends EventSource {
      constructor(url) {
        super(url);
        this.addEventListener("session", ({ lastEventId }) => (last = lastEventId));
      }
    },
  });
  await once(mine, "open");
  const closed = once(mine, "close");
  const other = new EventSource(`${way.url.replace("ws", "http")}events?last_event_id=${last}`);
  t.after(() => other.close());
  const { code, reconnecting } = await closed;
  assert.deepEqual([code, reconnecting], [3007, false]);
});
