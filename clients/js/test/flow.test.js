/** How much may be under way: credit both ways, acks, parts of packets, limits. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { WebSocket } from "ws";

import { once, string, until, world } from "./kit.js";

test("packets larger than records, than windows, and all of it at once", async (t) => {
  const { connect } = await world(t, { echo: true });
  const connection = connect({ windowBytes: 10000 });
  const sizes = [0, 1, 65498, 65499, 65502, 70000, 0, 3000000, 5];
  const sums = [];
  connection.addEventListener("packet", ({ data }) => sums.push([data.length, data.at(-1)]));
  await Promise.all(sizes.map((size, number) => connection.send(new Uint8Array(size).fill(number))));
  await until(() => sums.length == sizes.length, "the echoes");
  assert.deepEqual(sums, sizes.map((size, number) => [size, size ? number : undefined]));
});

test("more than the server's window goes up, as the server makes room", async (t) => {
  const { connect, master } = await world(t, { settings: { CLIENTS_WINDOW_BYTES: 65536 } });
  const connection = connect();
  for (let number = 0; number < 300; number++) connection.send(String(number).padEnd(10000));
  assert.equal(connection.bufferedAmount, 300 * 10004);
  await connection.flush();
  assert.equal(connection.bufferedAmount, 0);
  assert.deepEqual(master.of(connection.id).map(Number), Array.from({ length: 300 }, (_, number) => number));
});

test("iteration takes packets one by one, and what is not taken waits at the server", async (t) => {
  const { connect, master } = await world(t);
  const connection = connect({ windowBytes: 20000 });
  await once(connection, "open");
  for (let number = 0; number < 100; number++) master.send(connection.id, String(number).padEnd(1000));
  const got = [];
  for await (const data of connection) {
    got.push(Number(string(data)));
    if (got.length == 10) await new Promise((resolve) => setTimeout(resolve, 50));
    if (got.length == 50) break;
  }
  for await (const data of connection) {
    got.push(Number(string(data)));
    if (got.length == 100) break;
  }
  assert.deepEqual(got, Array.from({ length: 100 }, (_, number) => number));
});

test("iteration ends with the connection", async (t) => {
  const { connect, master } = await world(t);
  const connection = connect();
  await once(connection, "open");
  setTimeout(() => master.kick(connection.id), 20);
  for await (const data of connection) assert.fail(string(data));
  assert.equal(connection.closes[0].code, 3506);
  assert.equal(connection.closes[0].reconnecting, false);
});

test("packets wait for a listener", async (t) => {
  const { connect, master } = await world(t);
  const connection = connect();
  await once(connection, "open");
  master.send(connection.id, "early");
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.equal(string((await once(connection, "packet")).data), "early");
});

test("a thousand packets that are sent together are one record", async (t) => {
  const { connect } = await world(t);
  const records = [];
  class Watched extends WebSocket {
    send(data) {
      records.push(data[0]);
      super.send(data);
    }
  }
  const connection = connect({ WebSocket: Watched });
  await once(connection, "open");
  for (let number = 0; number < 1000; number++) connection.send("x");
  await connection.flush();
  assert.equal(records.filter((kind) => kind == 0).length, 1);
});

test("too much that is not acknowledged is refused, and so is what is too large", async (t) => {
  const { connect } = await world(t, { settings: { CLIENTS_PACKET_SIZE_LIMIT: 1000 } });
  const connection = connect({ retainedBytes: 10 });
  connection.send("1");
  connection.send("2");
  await assert.rejects(connection.send("3"), /over retainedBytes/);
  await connection.flush();
  await connection.send("3");
  await assert.rejects(connection.send(new Uint8Array(1001)), { code: 3511 });
  await assert.rejects(connection.send(7), /string or bytes/);
  await connection.send(new Uint8Array(1000)); // one always has room
});
