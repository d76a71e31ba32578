/** Everything that may happen to a client, in an order drawn from a seed: in the end everybody has everything, once. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { once, page, Storage, string, until, world } from "./kit.js";

const STEPS = 25;

function random(seed) {
  return () => (seed = (seed * 16807) % 2147483647) / 2147483647;
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

for (const seed of process.env.SEEDS ? Array.from({ length: process.env.SEEDS }, (_, seed) => seed + 100) : [1, 2])
  test(`cuts, silence, restarts and reloads (seed ${seed})`, async (t) => {
    const { connect, way, master, restart } = await world(t, { echo: true, state: true });
    const choose = random(seed);
    const turn = page(t);
    let storage = new Storage();
    const came = [], told = [], opened = [];
    let connection, sent = 0, pulling = 0;

    const open = () => {
      connection = connect({ storage, windowBytes: 2000, timeout: 1500 });
      for (const type of ["gap", "uncertain"]) connection.addEventListener(type, (event) => told.push(event));
      connection.addEventListener("open", ({ id, resumed }) => opened.push([id, resumed]));
      if (choose() < 0.5) connection.addEventListener("packet", ({ data }) => came.push(string(data).trim()));
      else pull(connection);
    };
    const pull = async (one) => {
      pulling++;
      for (let more = true; more; ) {
        more = false; // unless it ends early, and another one goes on
        for await (const data of one) {
          came.push(string(data).trim());
          if (choose() < 0.05) await pause(choose() * 10);
          if ((more = choose() < 0.05)) break;
        }
      }
      pulling--;
    };
    const happenings = [
      () => way.cut(),
      () => way.cut(),
      () => (way.freeze(), connection.wake()),
      async () => (await connection.close(3005), open()),
      () => restart("SIGTERM"),
      () => pause(choose() * 50),
      async () => (way.cut(), await pause(choose() * 20), way.freeze(), connection.wake()), // perhaps in a handshake
      async () => (turn(true), await pause(choose() * 50), turn(false)),
      async () => {
        turn(true);
        await pause(choose() * 20);
        const killed = storage.copy(); // it has all that was sent
        await connection.close(3005);
        storage = killed;
        open();
      },
    ];

    open();
    await once(connection, "open");
    for (let step = 0; step < STEPS; step++) {
      for (let count = choose() * 40; count > 0; count--)
        connection.send(String(sent++).padEnd(choose() < 0.02 ? 100000 : choose() * 300));
      if (choose() < 0.5) await pause(choose() * 20);
      if (choose() < 0.4) await happenings[Math.floor(choose() * happenings.length)]();
    }
    await connection.flush();
    await until(() => came.length >= sent, "all echoes");
    const all = Array.from({ length: sent }, (_, number) => String(number));
    const { id } = connection;
    await connection.close();
    await until(() => !pulling, "all iterations have ended");
    assert.deepEqual(came, all);
    assert.deepEqual(master.of(id).map((data) => data.trim()), all);
    assert.deepEqual(told, []);
    assert.ok(opened.every(([other, resumed], number) => other == id && resumed == number > 0));
  });
