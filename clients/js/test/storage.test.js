/** What a reload of the page leaves, what a duplicated tab gets, and storages that are too small. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { once, page, Storage, string, until, world } from "./kit.js";

test("a reload resumes: the same client, nothing lost, nothing twice", async (t) => {
  const { connect, master, way } = await world(t);
  let storage = new Storage();
  let connection = connect({ storage });
  const came = [];
  const collect = ({ data }) => came.push(string(data));
  connection.addEventListener("packet", collect);
  const { id } = await once(connection, "open");
  await connection.send("first");
  master.send(id, "one");
  await until(() => came.length == 1, "one");
  const port = way.to;
  way.to = 1;
  way.cut();
  await once(connection, "close");
  connection.send("second"); // never leaves this page
  await connection.close(3005);
  assert.equal(connection.stored, true);
  master.send(id, "two");
  way.to = port;

  connection = connect({ storage });
  connection.addEventListener("packet", collect);
  const opened = await once(connection, "open");
  assert.equal(opened.id, id);
  assert.equal(opened.resumed, true);
  connection.send("third");
  await connection.flush();
  await until(() => came.length == 2, "two");
  assert.deepEqual(came, ["one", "two"]);
  assert.deepEqual(master.of(id), ["first", "second", "third"]);

  for (let time = 0; time < 2; time++) {
    await connection.close(3005);
    connection = connect({ storage });
    connection.addEventListener("uncertain", ({ first, last }) => assert.fail(`uncertain: ${first} to ${last}`));
    assert.equal((await once(connection, "open")).id, id);
  }
  await connection.close();
});

test("what waits for an iteration is the successor's", async (t) => {
  const { connect, master } = await world(t);
  const storage = new Storage();
  const came = [];
  const collect = async (connection) => {
    for await (const data of connection) {
      came.push(string(data));
      if (came.length == 1) await going;
    }
  };
  let go;
  const going = new Promise((resolve) => (go = resolve));
  let connection = connect({ storage });
  const { id } = await once(connection, "open");
  const old = collect(connection);
  for (const data of ["1", "2", "3"]) master.send(id, data);
  await until(() => came.length == 1, "1");
  await connection.send("all of it is here");
  await connection.close(3005);
  connection = connect({ storage });
  assert.equal((await once(connection, "open")).id, id);
  assert.equal(storage.items.size, 0);
  go();
  await old;
  assert.deepEqual(came, ["1"]);
  assert.equal(storage.items.size, 0); // the old one keeps its hands off
  collect(connection);
  await until(() => came.length == 3, "the rest");
  assert.deepEqual(came, ["1", "2", "3"]);
});

test("what waits for an iteration from a session that is over is nobody's else", async (t) => {
  const { connect, master, restart } = await world(t);
  const connection = connect({ storage: new Storage() });
  const { id } = await once(connection, "open");
  const came = [];
  let go;
  const going = new Promise((resolve) => (go = resolve));
  const all = (async () => {
    for await (const data of connection) {
      came.push(string(data));
      await going;
    }
  })();
  for (const data of ["1", "2", "3"]) master.send(id, data);
  await until(() => came.length == 1, "1");
  await connection.send("all of it is here");
  const opened = once(connection, "open");
  await restart("SIGKILL");
  assert.equal((await opened).resumed, false);
  await connection.close(3005);
  go();
  await all;
  assert.deepEqual(came, ["1", "2", "3"]);
});

test("a page that is killed while it is hidden goes on from an older state", async (t) => {
  const { connect, master } = await world(t);
  const storage = new Storage();
  let connection = connect({ storage });
  connection.addEventListener("packet", () => {});
  const { id } = await once(connection, "open");
  await connection.close(3005);
  const old = storage.copy();
  connection = connect({ storage });
  await once(connection, "open");
  for (const data of ["1", "2", "3"]) await connection.send(data);
  await connection.close(3005);

  // The same secret is superseded by then, as it has to be: a new session.
  connection = connect({ storage: old });
  const told = once(connection, "close");
  assert.equal((await told).code, 3503);
  await connection.send("4");
  assert.deepEqual(master.of(id), ["1", "2", "3"]);
  assert.deepEqual(master.of(connection.id), ["4"]);
});

test("a page that is hidden is stored, and goes on; numbers of an older state are not used again", async (t) => {
  const turn = page(t);
  const { connect, master } = await world(t);
  const storage = new Storage();
  let connection = connect({ storage });
  const came = [];
  connection.addEventListener("packet", ({ data }) => came.push(string(data)));
  const { id } = await once(connection, "open");
  await connection.send("1");
  assert.equal(storage.items.size, 0, "nothing for a duplicated tab");
  turn(true);
  assert.equal(connection.stored, true);
  const killed = storage.copy();
  await connection.send("2"); // the state does not know of it, nor of what comes now
  master.send(id, "a");
  await until(() => came.length == 1, "a");
  assert.notDeepEqual(storage.items, killed.items);
  await connection.send("sync"); // and with it goes the ack
  turn(false);
  assert.equal(connection.stored, false);
  assert.equal(storage.items.size, 0);

  connection = connect({ storage: killed });
  connection.addEventListener("packet", ({ data }) => came.push(string(data)));
  const lost = once(connection, "gap");
  assert.equal((await once(connection, "open")).id, id);
  const { first, last, why } = await lost;
  assert.deepEqual([first, last, why], [1n, 1n, 3]);
  await connection.send("3");
  master.send(id, "b");
  await until(() => came.length == 2, "b");
  assert.deepEqual(came, ["a", "b"]);
  assert.deepEqual(master.of(id), ["1", "2", "sync", "3"]);
});

test("leaving for good leaves nothing in the storage", async (t) => {
  const { connect } = await world(t);
  const storage = new Storage();
  const gone = connect({ storage, key: "here" });
  await once(gone, "open");
  await gone.close(3005);
  assert.ok(storage.getItem("here"));
  const connection = connect({ storage, key: "here" });
  await connection.send("x");
  await connection.close();
  assert.equal(storage.items.size, 0);
});

test("of two copies one has the session, the other begins a new one, and they do not fight", async (t) => {
  const { connect, way, master } = await world(t);
  const storage = new Storage();
  const before = connect({ storage });
  const { id } = await once(before, "open");
  await before.close(3005);
  const copied = storage.copy();
  const connection = connect({ storage });
  await once(connection, "open");
  const copy = connect({ storage: copied });
  const { code, reconnecting } = await once(copy, "close");
  assert.equal(code, 3503);
  assert.equal(reconnecting, true);
  await copy.send("copy");
  await connection.send("original");
  assert.deepEqual(master.of(id), ["original"]);
  assert.deepEqual(master.of(copy.id), ["copy"]);
  const reporting = connect({ storage: storage.copy(), renew: false });
  await once(reporting, "open"); // nothing was stored: a session of its own
  const connections = way.connections;
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal(way.connections, connections);
});

test("what does not fit is told: by `stored`, and behind the reload as uncertain", async (t) => {
  const { connect, way } = await world(t);
  const storage = new Storage(2000);
  const connection = connect({ storage });
  await once(connection, "open");
  await connection.send("1");
  way.to = 1;
  way.cut();
  await once(connection, "close");
  connection.send("x".repeat(3000));
  await connection.close(3005);
  assert.equal(connection.stored, false);
  const next = connect({ storage });
  const { first, last, packets } = await once(next, "uncertain");
  assert.deepEqual([first, last, packets], [2n, 2n, []]);
});

test("a storage that takes nothing, or has something else in it, is as good as none", async (t) => {
  const { connect } = await world(t);
  const full = connect({ storage: new Storage(0) });
  await full.send("x");
  assert.equal(full.stored, false);
  const strange = new Storage();
  strange.setItem("voltlane", "something else");
  await connect({ storage: strange }).send("x");
});

test("what did not fit, and was never sent, is told as well", async (t) => {
  const { connect, way } = await world(t);
  const storage = new Storage(2000);
  const port = way.to;
  way.to = 1; // nobody is there
  const connection = connect({ storage });
  connection.send("x".repeat(3000));
  await connection.close(3005);
  way.to = port;
  const next = connect({ storage });
  const { first, last } = await once(next, "uncertain");
  assert.deepEqual([first, last], [1n, 1n]);
  await next.send("2");
});

test("a storage that throws, whatever it is asked, is as good as none", async (t) => {
  const { connect } = await world(t);
  const refuse = () => {
    throw new DOMException("no", "SecurityError");
  };
  const connection = connect({ storage: { getItem: refuse, setItem: refuse, removeItem: refuse } });
  await connection.send("x");
  await connection.close(3005);
  assert.equal(connection.stored, false);
});

test("a hidden page's state has what is sent later", async (t) => {
  const turn = page(t);
  const { connect, way, master } = await world(t);
  const storage = new Storage();
  const connection = connect({ storage });
  const { id } = await once(connection, "open");
  turn(true);
  const port = way.to;
  way.to = 1; // nobody is there
  way.cut();
  await once(connection, "close");
  for (const data of ["1", "2"]) connection.send(data);
  await new Promise(setImmediate);
  assert.equal(connection.stored, true);
  const killed = storage.copy();
  await connection.close(3005);
  way.to = port;
  const next = connect({ storage: killed });
  assert.equal((await once(next, "open")).id, id);
  await next.send("3");
  assert.deepEqual(master.of(id), ["1", "2", "3"]);
});

test("a hidden page's state that has no packets is kept up to date all the same", async (t) => {
  const turn = page(t);
  const { connect, way } = await world(t);
  const storage = new Storage(2000);
  const connection = connect({ storage });
  const { id } = await once(connection, "open");
  const sent = connection.send("x".repeat(3000));
  await new Promise(queueMicrotask);
  turn(true);
  assert.equal(connection.stored, false);
  await sent;
  for (let time = 0; time < 2; time++) {
    way.cut();
    await once(connection, "open"); // which has another secret
  }
  const killed = storage.copy();
  await connection.close(3005);
  assert.equal((await once(connect({ storage: killed }), "open")).id, id);
});

test("a page that is hidden from its beginning is stored, and so is the session that it begins then", async (t) => {
  page(t)(true);
  const { connect } = await world(t);
  const storage = new Storage();
  const connection = connect({ storage });
  const { id } = await once(connection, "open");
  assert.equal(connection.stored, true);
  const [killed, copied] = [storage.copy(), storage.copy()];
  await connection.close(3005);
  assert.equal((await once(connect({ storage: killed }), "open")).id, id);
  const copy = connect({ storage: copied });
  await once(copy, "close");
  assert.equal((await once(copy, "open")).resumed, false);
  const { id: renewed } = copy;
  const again = connect({ storage: copied.copy() });
  again[Symbol.asyncIterator]().next(); // at once
  await copy.close(3005);
  assert.equal((await once(again, "open")).id, renewed);
});
