/** The open protocol, and what `connect` refuses. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { WebSocket, WebSocketServer } from "ws";

import { connect } from "../voltlane.js";
import { once, string, until } from "./kit.js";

test("open: a message is a packet, and each connection a session of its own", async (t) => {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await new Promise((resolve) => server.on("listening", resolve));
  const protocols = [], sockets = [];
  server.on("connection", (socket) => {
    protocols.push(socket.protocol);
    sockets.push(socket);
    socket.on("message", (data, binary) => socket.send(data, { binary: !binary }));
  });
  const connection = connect(`ws://127.0.0.1:${server.address().port}`, { WebSocket, protocol: "open", longestPause: 20 });
  t.after(() => (connection.close(3005), server.close()));
  const came = [];
  connection.addEventListener("packet", ({ data }) => came.push(string(data)));
  await connection.send("one");
  await connection.send(new Uint8Array([104, 105]));
  await until(() => came.length == 2, "the echoes");
  assert.deepEqual(came, ["one", "hi"]);
  assert.equal(connection.id, null);
  const opened = once(connection, "open");
  sockets[0].terminate();
  await once(connection, "close");
  const sent = connection.send("two");
  assert.equal((await opened).resumed, false);
  await sent;
  await until(() => came.length == 3, "the echo");
  assert.deepEqual(protocols, ["", ""]);
  const closed = once(connection, "close");
  sockets[1].close(4500, "enough");
  const { code, reason, reconnecting } = await closed;
  assert.deepEqual([code, reason, reconnecting], [4500, "enough", false]);
});

test("suite 0 goes over TLS, or stays on this machine, or is insisted on", () => {
  const options = { WebSocket: class extends EventTarget { close() {} }, EventSource: null };
  for (const url of ["wss://example.com/", "ws://localhost:1/", "ws://127.0.0.1/", "ws://127.1.2.3/", "ws://[::1]:2/"])
    connect(url, options).close(3005);
  connect("ws://example.com/", { ...options, insecure: true }).close(3005);
  for (const url of ["ws://example.com/", "ws://localhost.example.com", "ws://localhost:x@example.com/", "ws://127.0.0.1.example.com/", "http://localhost/"])
    assert.throws(() => connect(url, options), /wss:/, url);
  assert.throws(() => connect("nonsense", options), TypeError);
});

test("where there is no WebSocket it says at once what to pass, unless events can do instead", () => {
  const local = "ws://127.0.0.1:1/", WebSocket = null;
  class EventSource extends EventTarget { close() {} }
  for (const options of [{ EventSource: null }, { protocol: "open", EventSource }])
    assert.throws(() => connect(local, { WebSocket, ...options }), /WebSocket.*package ws/);
  connect(local, { WebSocket, EventSource }).close(3005);
});
