/** A session against the real server, while nothing goes wrong. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { once, ROOT, string, until, world } from "./kit.js";

test("a packet goes up, is acknowledged, and its echo comes down", async (t) => {
  const { connect, master } = await world(t, { echo: true });
  const connection = connect();
  const packets = [];
  connection.addEventListener("packet", ({ data }) => packets.push(string(data)));
  const opened = await once(connection, "open");
  assert.equal(opened.resumed, false);
  assert.equal(opened.id, connection.id);
  await connection.send("hello");
  await connection.send(new Uint8Array([104, 105]));
  await connection.send("");
  assert.equal(connection.bufferedAmount, 0);
  await until(() => packets.length == 3, "three packets");
  assert.deepEqual(packets, ["hello", "hi", ""]);
  assert.deepEqual(master.of(connection.id), packets);
});

test("leaving ends the session, and what waits is sent first", async (t) => {
  const { connect, master } = await world(t);
  const connection = connect();
  connection.send("last words");
  await connection.close();
  assert.equal(connection.closes[0].code, 3510);
  assert.equal(connection.closes[0].reconnecting, false);
  await until(() => master.got.some(({ flag }) => flag == 1), "the backend is told");
  assert.equal(string(master.got[0].data), "last words");
  await assert.rejects(connection.send("more"), { code: 3510 });
});

test("what stands in the server's README works", async (t) => {
  const { way, master } = await world(t, { echo: true });
  const [, example] = /```js\n(import \{ connect \}[^`]*)```/.exec(readFileSync(join(ROOT, "README.md"), "utf8"));
  const program = `globalThis.WebSocket ??= (await import("${import.meta.resolve("ws")}")).WebSocket;\n`;
  const address = "ws://127.0.0.1:42080";
  assert.ok(example.includes(address));
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program + example.replace(address, way.url)], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill());
  let said = "";
  child.stdout.on("data", (data) => (said += data));
  await until(() => said == "hello\n", "the echo");
  assert.equal(string(master.got.find(({ flag }) => flag == 0).data), "hello");
});
