/** Where no WebSocket gets through: the stream of events and POST, against a small server that has them. */

import assert from "node:assert/strict";
import http from "node:http";
import { test } from "node:test";
import { EventSource } from "eventsource";
import { WebSocket } from "ws";

import { connect } from "../voltlane.js";
import { once, string, until } from "./kit.js";

class Fake {
  posts = [];
  streams = [];
  statuses = []; // of the next answers to POST /send
  sessions = 0;
  lastIds = [];

  static async start(t) {
    const fake = new Fake();
    fake.server = http.createServer((request, response) => fake.#serve(request, response));
    fake.server.on("upgrade", (request, socket) => {
      fake.upgrades = (fake.upgrades ?? 0) + 1;
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
      response.write(`retry: 10\nevent: session\ndata: {"client_id": ${this.sessions}, "token": "token-${this.sessions}"}\n\n`);
      this.streams.push(response);
    } else if (request.method == "POST" && request.url == "/send") {
      const parts = [];
      request.on("data", (part) => parts.push(part));
      request.on("end", () => {
        const status = this.statuses.shift() ?? 204;
        this.posts.push([request.headers.authorization, Buffer.concat(parts).toString(), status]);
        if (status) response.writeHead(status).end();
        else response.destroy();
      });
    } else response.writeHead(404).end();
  }

  say(event) {
    this.streams.at(-1).write(`${event}\n\n`);
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
  connection.addEventListener("gap", () => came.push("gap"));
  for (const data of ["1", "2", "3"]) connection.send(data);
  const { id, resumed } = await once(connection, "open");
  assert.deepEqual([id, resumed], [1n, false]);
  await connection.flush();
  assert.deepEqual(fake.posts, ["1", "2", "3"].map((data) => ["Bearer token-1", data, 204]));
  fake.say("id: a\ndata: h\u00e9llo\ndata: world");
  fake.say("id: b\nevent: binary\ndata: /wA=");
  fake.say("event: gap\ndata: {}");
  await until(() => came.length == 3, "all of it");
  assert.deepEqual([string(came[0]), [...came[1]], came[2]], ["h\u00e9llo\nworld", [255, 0], "gap"]);
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

test("a token that is not known any more: a new session, to which it is sent again", async (t) => {
  const fake = await Fake.start(t);
  const connection = fake.connect(t);
  await once(connection, "open");
  fake.statuses = [401];
  const closed = once(connection, "close");
  const sent = connection.send("1");
  await closed;
  const { id, resumed } = await once(connection, "open");
  await sent;
  assert.deepEqual([id, resumed], [2n, false]);
  assert.deepEqual(fake.posts.map(([token, data]) => [token, data]), [["Bearer token-1", "1"], ["Bearer token-2", "1"]]);
});

test("without an EventSource it goes on trying WebSocket", async (t) => {
  const fake = await Fake.start(t);
  const connection = fake.connect(t, { EventSource: null });
  await until(() => fake.upgrades > 4, "five attempts");
  assert.equal(fake.sessions, 0);
  assert.ok(connection.closes.every(({ reconnecting }) => reconnecting));
});
