/** Connections are cut, freeze, and lose their server: nothing is lost, nothing comes twice, or it is told. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { once, string, until, world } from "./kit.js";

const sequence = (count) => Array.from({ length: count }, (_, number) => String(number));

function random(seed) {
  return () => (seed = (seed * 16807) % 2147483647) / 2147483647;
}

for (const seed of [1, 2, 3])
  test(`order and exactly once both ways, over cuts at random times (seed ${seed})`, async (t) => {
    const { connect, way, master } = await world(t, { echo: true });
    const choose = random(seed);
    const connection = connect({ windowBytes: 4096 });
    const packets = [];
    connection.addEventListener("packet", ({ data }) => packets.push(string(data).trim()));
    const acknowledged = [];
    for (let number = 0; number < 400; number++) {
      const filler = number % 100 == 50 ? 100000 : choose() * 400;
      acknowledged.push(connection.send(`${number}`.padEnd(filler)));
      if (choose() < 0.1) await new Promise((resolve) => setTimeout(resolve, choose() * 20));
      if (choose() < 0.04) way.cut();
    }
    await Promise.all(acknowledged);
    await until(() => packets.length >= 400, "all echoes");
    assert.deepEqual(packets, sequence(400));
    assert.deepEqual(master.of(connection.id).map((data) => data.trim()), sequence(400));
    assert.ok(way.connections > 3);
    assert.ok(connection.closes.every(({ reconnecting }) => reconnecting));
  });

test("a server that ends in order, and starts again, costs nothing", async (t) => {
  const { connect, restart, master } = await world(t, { echo: true, state: true });
  const connection = connect();
  const packets = [];
  connection.addEventListener("packet", ({ data }) => packets.push(string(data)));
  await once(connection, "open");
  const { id } = connection;
  for (let number = 0; number < 50; number++) connection.send(`${number}`);
  await restart("SIGTERM");
  for (let number = 50; number < 100; number++) connection.send(`${number}`);
  await connection.flush();
  await until(() => packets.length >= 100, "all echoes");
  assert.deepEqual(packets, sequence(100));
  assert.deepEqual(master.of(id), sequence(100));
  assert.equal(connection.id, id);
  assert.equal(connection.closes[0].code, 3000);
});

test("a server that is killed costs what it tells", async (t) => {
  const { connect, restart, master } = await world(t, { state: true });
  const connection = connect();
  const uncertain = new Set(), gaps = [];
  let acknowledged = 0, told = 0;
  connection.addEventListener("uncertain", ({ packets }) => packets.forEach((data) => uncertain.add(string(data))));
  connection.addEventListener("gap", (gap) => gaps.push(gap));
  connection.addEventListener("packet", () => {});
  const { id } = await once(connection, "open");
  for (let round = 0; round < 3; round++) {
    for (let number = 0; number < 200; number++)
      connection.send(`${round * 200 + number}`).then(() => acknowledged++, (error) => (told += error.uncertain));
    if (round < 2) await restart("SIGKILL");
  }
  await connection.flush().catch(() => {});
  await until(() => acknowledged + told == 600, "the fate of all is known");
  const got = master.of(id);
  assert.equal(new Set(got).size, got.length, "nothing twice");
  assert.deepEqual(got, [...got].sort((one, other) => one - other), "in order");
  for (const number of sequence(600)) assert.ok(got.includes(number) || uncertain.has(number), number);
  assert.equal(connection.id, id);
  assert.equal(told, uncertain.size);
  assert.ok(gaps.length >= 1 && gaps.every(({ why }) => why == 2));
});

test("a gap is told, in its place", async (t) => {
  const settings = { CLIENTS_MISSED_PACKETS_BUFFER_SIZE: 2, CLIENTS_MISSED_PACKETS_POLICY: "drop-oldest" };
  const { connect, way, master } = await world(t, { settings });
  const connection = connect({ longestPause: 1000 });
  const came = [];
  connection.addEventListener("packet", ({ data }) => came.push(string(data)));
  connection.addEventListener("gap", ({ first, last, why }) => came.push({ first, last, why }));
  await once(connection, "open");
  master.send(connection.id, "1");
  await until(() => came.length == 1, "the first");
  await until(() => connection.send("sync").then(() => true), "the ack of the first is on its way as well");
  const port = way.to;
  way.to = 1; // nobody is there
  way.cut();
  await once(connection, "close");
  for (const number of ["2", "3", "4", "5"]) master.send(connection.id, number);
  await new Promise((resolve) => setTimeout(resolve, 50));
  way.to = port;
  await until(() => came.length >= 4, "what is left");
  assert.equal(came.at(-1), "5");
  const gap = came.find(({ why }) => why);
  assert.equal(gap.why, 1);
  assert.equal(gap.first, 2n);
  assert.deepEqual(came.slice(2), ["4", "5"]);
  assert.equal(gap.last, 3n);
});

test("a gap is told behind the packet that an iteration was given before it", async (t) => {
  const settings = { CLIENTS_MISSED_PACKETS_BUFFER_SIZE: 2, CLIENTS_MISSED_PACKETS_POLICY: "drop-oldest" };
  const { connect, way, master, server } = await world(t, { settings });
  const connection = connect();
  const came = [];
  connection.addEventListener("gap", ({ last }) => came.push(last));
  const { id } = await once(connection, "open");
  master.send(id, "1");
  await connection.send("1 is here");
  const witness = connect({}, `ws://127.0.0.1:${server.port}/`);
  await once(witness, "open");
  const port = way.to;
  way.to = 1; // nobody is there
  way.cut();
  await once(connection, "close");
  for (const number of ["2", "3", "4", "5"]) master.send(id, number);
  master.send(witness.id, "the server has them");
  await once(witness, "packet");
  way.to = port;
  await once(connection, "open");
  await connection.send("all of it is here");
  for await (const data of connection) if (came.push(string(data)) == 4) break;
  assert.deepEqual(came, ["1", 3n, "4", "5"]);
});

test("a connection that is dead without a word is noticed by the heartbeat", async (t) => {
  const { connect, way } = await world(t);
  const connection = connect({ heartbeat: 50, timeout: 300 });
  await once(connection, "open");
  way.freeze();
  const sent = connection.send("into the void");
  assert.match((await once(connection, "close")).reason, /silence/);
  await sent;
  assert.equal(way.connections, 2);
});

test("behind sleep the connection is tested at once", async (t) => {
  const { connect, way } = await world(t);
  const connection = connect({ timeout: 300 });
  await once(connection, "open");
  way.freeze();
  connection.wake();
  await once(connection, "close");
  const opened = await once(connection, "open");
  assert.equal(opened.resumed, true);
  connection.wake(); // and a connection that is alive stays
  await connection.send("still there");
  await new Promise((resolve) => setTimeout(resolve, 350));
  assert.equal(way.connections, 2);
});

test("who asks again and again notices silence all the same", async (t) => {
  const { connect, way } = await world(t);
  const connection = connect({ timeout: 300 });
  await once(connection, "open");
  way.freeze();
  const timer = setInterval(connection.wake, 20);
  t.after(() => clearInterval(timer));
  assert.match((await once(connection, "close")).reason, /silence/);
});

test("the page's events wake it, until it is closed", async (t) => {
  const page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  t.after(() => delete globalThis.addEventListener);
  const { connect, way } = await world(t);
  const connection = connect({ timeout: 300 });
  await once(connection, "open");
  way.freeze();
  page.dispatchEvent(new Event("online"));
  await once(connection, "close");
  await once(connection, "open");
  await connection.close();
  page.dispatchEvent(new Event("online"));
  assert.equal(way.connections, 2);
});

test("wake does not wait for the pause between two attempts", async (t) => {
  const { connect, way } = await world(t);
  const connection = connect({ longestPause: 1e9, heartbeat: 1e6 });
  await once(connection, "open");
  const port = way.to;
  way.to = 1;
  way.cut();
  for (let attempt = 0; attempt < 25; attempt++) {
    await once(connection, "close");
    queueMicrotask(connection.wake);
  }
  await once(connection, "close");
  way.to = port;
  connection.wake();
  assert.equal((await once(connection, "open")).resumed, true);
});

test("wake from a listener, whatever it is told, makes one connection", async (t) => {
  const { connect, way, restart } = await world(t);
  const connection = connect({ longestPause: 1 });
  for (const type of ["uncertain", "close"]) connection.addEventListener(type, () => connection.wake());
  await once(connection, "open");
  way.freeze();
  const sent = connection.send("into the void");
  await new Promise(setImmediate); // it has left
  await restart("SIGKILL");
  const before = way.connections;
  way.cut();
  await assert.rejects(sent, { uncertain: true });
  await once(connection, "open");
  assert.deepEqual(connection.closes.map(({ code }) => code), [3001, 3501]);
  assert.equal(way.connections, before + 2); // one is told that there is no such session, the other has a new one
});
