/** What SPEC.txt gives as examples, spoken by a server that has it word for word; and servers that break the rules. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createHash, createHmac } from "node:crypto";
import { test } from "node:test";
import { WebSocket, WebSocketServer } from "ws";

import { connect } from "../voltlane.js";
import { once, string, until } from "./kit.js";

const SPEC = readFileSync(new URL("../../../SPEC.txt", import.meta.url), "utf8");

/** The bytes of an example. */
function example(name) {
  const [, found] = SPEC.split(`[${name}]\n`);
  return Buffer.from(/^( {4}>? .*\n)+/.exec(found)[0].replace(/[^0-9a-f]/g, ""), "hex");
}

const HELLO = example("suite 0: server hello");
const GAP = example("record: gap of the packets 2 to 5, for a limit");
const PING = example("record: ping");
const WELCOME = example("record: opening, welcome");
const SECRET = example("secret: generation 1, that branch");

/** Says what the test tells it to; what came is in `got`, message by message. */
class Fake {
  got = [];
  count = 0;

  static async start(t, { hello = HELLO } = {}) {
    const fake = new Fake();
    fake.server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    await new Promise((resolve) => fake.server.on("listening", resolve));
    t.after(() => {
      for (const client of fake.server.clients) client.terminate();
      fake.server.close();
    });
    fake.server.on("connection", (socket) => {
      fake.count++;
      fake.socket = socket;
      fake.mine = [];
      socket.on("message", (data) => {
        fake.got.push(data);
        fake.mine.push(data);
        if (fake.mine.length == 1) socket.send(hello);
        else if (fake.mine.length == 2) fake.onFirst?.(data);
      });
    });
    fake.url = `ws://127.0.0.1:${fake.server.address().port}`;
    return fake;
  }

  get transcript() {
    return createHash("sha256").update(this.mine[0]).update(HELLO).digest();
  }

  /** The welcome of the examples, with the proof that belongs to this connection. */
  welcome({ secret = this.mine[1].subarray(33, 65), taken = 0, generation = 1, ack = 0, credit = 65536 } = {}) {
    const record = Buffer.from(WELCOME);
    record.writeBigUInt64LE(BigInt(ack), 1);
    record.writeBigUInt64LE(BigInt(credit), 9);
    createHmac("sha256", secret).update("VOLTLANE 3 server").update(this.transcript).digest().copy(record, 25);
    record.writeUInt32LE(generation, 65);
    record.writeBigUInt64LE(BigInt(taken), 109);
    this.socket.send(record);
  }

  close(code, text = "", ack = 0, taken = 0) {
    const record = Buffer.alloc(27);
    record[0] = 12;
    record.writeBigUInt64LE(BigInt(ack), 1);
    record.writeBigUInt64LE(1n << 40n, 9);
    record.writeUInt16LE(code, 17);
    record.writeBigUInt64LE(BigInt(taken), 19);
    this.socket.send(Buffer.concat([record, Buffer.from(text)]));
  }

  connect(t, options) {
    const connection = connect(this.url, { WebSocket, EventSource: null, longestPause: 20, retainedBytes: 1048576, windowBytes: 65536, ...options });
    connection.closes = [];
    connection.addEventListener("close", (event) => connection.closes.push(event));
    t.after(() => connection.close(3005));
    return connection;
  }
}

const record = (kind, ack, credit, ...body) => {
  const head = Buffer.alloc(17);
  head[0] = kind;
  head.writeBigUInt64LE(BigInt(ack), 1);
  head.writeBigUInt64LE(BigInt(credit), 9);
  return Buffer.concat([head, ...body.map((part) => Buffer.from(part))]);
};

test("the opening, the data, the ack and the resume of the examples", async (t) => {
  const fake = await Fake.start(t);
  fake.onFirst = () => fake.welcome();
  const connection = fake.connect(t);
  const came = [];
  connection.addEventListener("packet", ({ data, number }) => came.push(string(data)));
  const sent = [connection.send("a"), connection.send("bc")];
  const opened = await once(connection, "open");
  assert.equal(opened.id, 1n);
  assert.deepEqual(fake.mine[0].subarray(0, 4), example("suite 0: hello").subarray(0, 4));
  assert.equal(fake.mine[0].length, 36);
  const open = example("record: opening, open");
  assert.equal(fake.mine[1].length, open.length);
  assert.deepEqual(fake.mine[1].subarray(0, 17), open.subarray(0, 17));
  assert.deepEqual(fake.mine[1].subarray(69), open.subarray(69)); // it does not say how many packets it retains
  await until(() => fake.mine.length >= 4, "the data");
  assert.deepEqual(fake.mine[3], example("record: opening, data, the packets \"a\" and \"bc\""));
  fake.socket.send(example("record: opening, data, the packet \"hello\""));
  await Promise.all(sent);
  await until(() => fake.mine.length >= 5, "the ack");
  assert.deepEqual(fake.mine[4], example("record: opening, ack"));

  fake.onFirst = () => fake.welcome({ secret: SECRET, taken: 2, generation: 2, ack: 2 });
  fake.socket.terminate();
  assert.equal((await once(connection, "open")).resumed, true);
  const resume = Buffer.from(example("record: resume, resume"));
  const role = createHmac("sha256", SECRET).update("VOLTLANE 3 client").update(fake.transcript).digest();
  role.copy(resume, 37);
  resume.writeUInt32LE(0, 101);
  assert.deepEqual(fake.mine[1], resume);
  fake.socket.send(example("record: resume, data, the missed packets \"one\" and \"two\""));
  await until(() => came.length == 3, "what was missed");
  assert.deepEqual(came, ["hello", "one", "two"]);
  await until(() => fake.mine.length >= 4, "the ack");
  const closed = once(connection, "close");
  await connection.close(3005);
  assert.equal((await closed).code, 3005);
  await until(() => fake.mine.at(-1)[0] == 12, "the close");
  assert.deepEqual(fake.mine.at(-1), example("record: resume, close, it will come back"));
});

test("a proof is of the transcript", () => {
  const transcript = createHash("sha256").update(example("suite 0: hello")).update(HELLO).digest();
  assert.deepEqual(transcript, example("suite 0: transcript hash"));
});

test("a gap and a ping of the examples", async (t) => {
  const fake = await Fake.start(t);
  fake.onFirst = () => fake.welcome();
  const connection = fake.connect(t);
  const came = [];
  for (const type of ["packet", "gap"]) connection.addEventListener(type, (event) => came.push(event));
  await once(connection, "open");
  const credit = 65536;
  fake.socket.send(record(0, 0, credit, [1, 0, 0, 0, 65]));
  const [gap, ping] = [Buffer.from(GAP), Buffer.from(PING)];
  for (const one of [gap, ping]) one.writeBigUInt64LE(BigInt(credit), 9);
  fake.socket.send(gap);
  fake.socket.send(ping);
  fake.socket.send(record(77, 0, credit, [1])); // unknown and odd: ignored
  await until(() => came.length == 2 && fake.mine.some(([kind]) => kind == 16), "all");
  assert.deepEqual([came[1].first, came[1].last, came[1].why], [2n, 5n, 1]);
  assert.equal(string(fake.mine.find(([kind]) => kind == 16).subarray(17)), "are you there?");
});

const breaches = {
  "kind 6": () => [record(6, 0, 65536, Buffer.alloc(100))],
  "kind 20": () => [record(20, 0, 65536)],
  size: () => [Buffer.alloc(16)],
  "ack above what was sent": () => [record(1, 1, 65536)],
  "credit that goes down": () => [record(1, 0, 1)],
  "data past the credit": () => [record(0, 0, 65536, Buffer.alloc(65537))],
  "a gap that leaves out a number": () => [record(8, 0, 65536, u64s(2, 3), [1])],
  "a gap behind its end": () => [record(8, 0, 65536, u64s(1, 0), [1])],
  "a gap within a packet": () => [record(0, 0, 65536, [4, 0, 0, 0, 1]), record(8, 0, 65536, u64s(1, 3), [1])],
  "a gap without its fields": () => [record(8, 0, 65536, u64s(1))],
  "a ping of 65 bytes": () => [record(14, 0, 65536, Buffer.alloc(65))],
  "a packet over the limit": () => [record(0, 0, 65536, [255, 255, 255, 0])],
  text: () => ["text"],
};

function u64s(...numbers) {
  const bytes = Buffer.alloc(8 * numbers.length);
  numbers.forEach((number, at) => bytes.writeBigUInt64LE(BigInt(number), 8 * at));
  return bytes;
}

for (const [what, messages] of Object.entries(breaches))
  test(`a server that breaks the rules is told so, and left: ${what}`, async (t) => {
    const fake = await Fake.start(t);
    fake.onFirst = () => fake.welcome();
    const connection = fake.connect(t);
    await once(connection, "open");
    const closed = once(connection, "close");
    for (const message of messages()) fake.socket.send(message);
    const { code, reconnecting } = await closed;
    assert.equal(code, /limit/.test(what) ? 3511 : 3500);
    assert.equal(reconnecting, false);
    await until(() => fake.mine.at(-1)[0] == 12, "the close record");
    assert.equal(fake.mine.at(-1).readUInt16LE(17), code);
  });

for (const [what, change, final] of [
  ["a wrong proof", { secret: Buffer.alloc(32) }, false],
  ["more taken than was sent", { taken: 1 }, true],
  ["an ack above what was taken", { ack: 1 }, true],
])
  test(`a welcome that must not be: ${what}`, async (t) => {
    const fake = await Fake.start(t);
    fake.onFirst = () => fake.welcome(change);
    const connection = fake.connect(t);
    assert.equal((await once(connection, "close")).reconnecting, !final);
    assert.equal(fake.mine.length, 2, "nothing is said that would confirm it");
    if (final) return;
    fake.onFirst = () => fake.welcome();
    assert.equal((await once(connection, "open")).resumed, false);
    assert.deepEqual(fake.got[1], fake.got[3], "the same open again");
  });

test("a refusal is a failure of this attempt", async (t) => {
  const fake = await Fake.start(t, { hello: example("refusal: 3508") });
  const connection = fake.connect(t);
  const { code, reason, reconnecting } = await once(connection, "close");
  assert.deepEqual([code, reason, reconnecting], [3001, "refused: no", true]);
  await once(connection, "close");
});

for (const [what, change] of [
  ["another suite", (hello) => (hello[1] = 1)],
  ["another suite within", (hello) => (hello[34] = 1)],
  ["no hello", (hello) => (hello[0] = 1)],
])
  test(`a server hello that must not be: ${what}`, async (t) => {
    const hello = Buffer.from(HELLO);
    change(hello);
    const fake = await Fake.start(t, { hello });
    const connection = fake.connect(t);
    assert.equal((await once(connection, "close")).reconnecting, true);
    assert.equal(fake.mine.length, 1);
  });

const codes = [
  [3000, true], [3007, true], [3499, true], [3500, false], [3506, false], [3507, false], [3511, false], [3999, false],
  [4000, true], [4499, true], [4500, false], [4999, false], [1, true], [5000, true],
];
for (const [code, back] of codes)
  test(`code ${code}: ${back ? "come back" : "do not come back"}`, async (t) => {
    const fake = await Fake.start(t);
    fake.onFirst = () => fake.welcome();
    const connection = fake.connect(t);
    await once(connection, "open");
    fake.onFirst = () => fake.welcome({ secret: SECRET, generation: 2 });
    const closed = once(connection, "close");
    fake.close(code, "why");
    const event = await closed;
    assert.deepEqual([event.code, event.reason, event.reconnecting], [code, "why", back]);
    if (back) assert.equal((await once(connection, "open")).resumed, true);
    else await assert.rejects(connection.send("x"));
  });

test("what a final close says had arrived decides what is uncertain", async (t) => {
  const fake = await Fake.start(t);
  fake.onFirst = () => fake.welcome({ credit: 15 });
  const connection = fake.connect(t);
  const outcomes = ["a", "b", "c", "d"].map((data) => connection.send(data).then(() => "safe", (error) => error.uncertain));
  const told = once(connection, "uncertain");
  await until(() => fake.mine?.length >= 4, "the data: three packets of five bytes");
  fake.close(3506, "kicked", 1, 2);
  const { first, last, packets } = await told;
  assert.deepEqual([first, last, packets.map(string)], [2n, 2n, ["b"]]);
  assert.equal(await outcomes[0], "safe");
  assert.equal(await outcomes[1], true);
  assert.equal(await outcomes[3], false, "it was never sent");
});

for (const code of [3501, 3502, 3503, 3504])
  for (const renew of [true, false])
    test(`a session that is gone (${code}) is followed by a new one${renew ? "" : ", not with renew: false"}`, async (t) => {
      const fake = await Fake.start(t);
      fake.onFirst = () => fake.welcome();
      const connection = fake.connect(t, { renew });
      await once(connection, "open");
      fake.onFirst = ([kind]) => (kind == 4 ? fake.close(code) : fake.welcome());
      fake.socket.terminate();
      const opened = [];
      connection.addEventListener("open", (event) => opened.push(event));
      await until(() => connection.closes.length > 1, "it is told");
      assert.equal(connection.closes[1].code, code);
      assert.equal(connection.closes[1].reconnecting, renew);
      if (!renew) return;
      await until(() => opened.length, "a new session");
      assert.equal(opened[0].resumed, false);
    });

test("what waited from a session that is gone is not acknowledged in the new one", async (t) => {
  const fake = await Fake.start(t);
  fake.onFirst = () => fake.welcome();
  const connection = fake.connect(t);
  await once(connection, "open");
  fake.socket.send(record(0, 0, 65536, [1, 0, 0, 0, 65, 1, 0, 0, 0, 66]));
  fake.socket.send(record(14, 0, 65536));
  await until(() => fake.mine.some(([kind]) => kind == 16), "it has come");
  fake.onFirst = ([kind]) => (kind == 4 ? fake.close(3501) : fake.welcome());
  const renewed = new Promise((resolve) => connection.addEventListener("open", ({ resumed }) => resumed || resolve()));
  fake.socket.terminate();
  await renewed;
  const came = [];
  connection.addEventListener("packet", ({ data }) => came.push(string(data)));
  await until(() => came.length == 2, "both");
  fake.socket.send(record(14, 0, 65536));
  await until(() => fake.mine.some(([kind]) => kind == 16), "a pong");
  assert.equal(fake.mine.at(-1).readBigUInt64LE(1), 0n);
});
