/** What the tests stand on: the real server, a backend, a way to it that can be cut, and a storage. */

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { WebSocket } from "ws";

import { connect } from "../voltlane.js";

export const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const VENV = join(ROOT, ".venv/bin/python");
const PYTHON = process.env.VOLTLANE_PYTHON || (existsSync(VENV) ? VENV : "python3");
const DEADLINE_MS = 20000;

export async function until(condition, what) {
  const end = Date.now() + DEADLINE_MS;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The next event of that type. */
export const once = (target, type) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${type} in time`)), DEADLINE_MS);
    const found = (event) => {
      clearTimeout(timer);
      resolve(event);
    };
    target.addEventListener(type, found, { once: true });
  });

export const string = (bytes) => Buffer.from(bytes).toString();

/** The messages of a stream, each with a u32 in front. */
function splitter(handle) {
  let rest = Buffer.alloc(0);
  return (data) => {
    rest = Buffer.concat([rest, data]);
    let at = 0;
    while (rest.length - at >= 4 && rest.length - at - 4 >= rest.readUInt32LE(at)) {
      const size = rest.readUInt32LE(at);
      handle(rest.subarray(at + 4, at + 4 + size));
      at += 4 + size;
    }
    rest = rest.subarray(at);
  };
}

function framed(...parts) {
  const body = Buffer.concat(parts);
  const size = Buffer.alloc(4);
  size.writeUInt32LE(body.length);
  return Buffer.concat([size, body]);
}

const listening = (server, port = 0) =>
  new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen(port, "127.0.0.1", () => resolve(server.address().port));
  });

/** A backend: what clients sent is in `got`, and goes back to them with `echo`. */
export class Master {
  got = [];
  #sockets = new Set();

  static async start({ echo = false } = {}) {
    const master = new Master();
    master.echo = echo;
    master.server = net.createServer((socket) => master.#serve(socket));
    master.port = await listening(master.server);
    return master;
  }

  #serve(socket) {
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on(
      "data",
      splitter((body) => {
        const id = body.readBigUInt64LE(0), flag = body[8], data = Buffer.from(body.subarray(9));
        this.got.push({ id, flag, data });
        if (this.echo && flag == 0) this.send(id, data);
      }),
    );
  }

  /** The data that a client sent, as text. */
  of(id) {
    return this.got.filter((tagged) => tagged.flag == 0 && tagged.id == id).map(({ data }) => string(data));
  }

  send(id, data, flag = 0) {
    const head = Buffer.alloc(9);
    head.writeBigUInt64LE(id);
    head[8] = flag;
    for (const socket of this.#sockets) socket.write(framed(head, Buffer.from(data)));
  }

  kick(id) {
    this.send(id, "", 2);
  }

  close() {
    this.server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** The real one. */
export class Server {
  static async start(master, settings = {}, port = 0) {
    const server = new Server();
    const environ = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("VOLTLANE_")));
    const all = {
      GENERAL_LOG_LEVEL: "Debug",
      LISTENER_ADDRESS: `ws://127.0.0.1:${port}`,
      MASTER_ADDRESS: `127.0.0.1:${master.port}`,
      MASTER_RECONNECT_MIN_SECS: 0.02,
      MASTER_RECONNECT_MAX_SECS: 0.02,
      ...settings,
    };
    for (const [name, value] of Object.entries(all)) environ[`VOLTLANE_${name}`] = String(value);
    environ.PYTHONPATH = ROOT;
    server.log = "";
    server.process = spawn(PYTHON, ["-m", "voltlane", "serve"], { env: environ, cwd: tmpdir(), stdio: ["ignore", "ignore", "pipe"] });
    server.process.stderr.on("data", (data) => (server.log += data));
    server.exited = new Promise((resolve) => server.process.on("exit", resolve));
    const found = await until(
      () => server.process.exitCode == null ? /clients connect to \S*?127\.0\.0\.1:(\d+)/.exec(server.log) : Promise.reject(new Error(server.log)),
      "the server listens",
    );
    server.port = Number(found[1]);
    return server;
  }

  async stop(signal = "SIGTERM") {
    this.process.kill(signal);
    await this.exited;
  }
}

/**
 * A way to the server, for bytes: it can be cut, and stop without a word. While it is `blocked` it refuses WebSockets,
 * as some proxies do.
 */
export class Way {
  blocked = false;
  connections = 0;
  #pairs = new Set();

  static async start(port) {
    const way = new Way();
    way.to = port;
    way.server = net.createServer((client) => way.#pass(client));
    way.port = await listening(way.server);
    way.url = `ws://127.0.0.1:${way.port}/`;
    return way;
  }

  #pass(client) {
    const server = net.connect(this.to, "127.0.0.1");
    const pair = { frozen: false, end: () => (client.destroy(), server.destroy()) };
    this.connections++;
    this.#pairs.add(pair);
    const over = () => {
      if (pair.frozen) return; // until it is cut
      this.#pairs.delete(pair);
      pair.end();
    };
    for (const one of [client, server]) one.on("error", over).on("close", over);
    client.on("data", (data) => {
      if (this.blocked && /^upgrade: *websocket/im.test(data)) client.end("HTTP/1.1 403 Forbidden\r\n\r\n");
      else if (!pair.frozen) server.write(data);
    });
    server.on("data", (data) => pair.frozen || client.write(data));
  }

  /** Cuts all connections there are. */
  cut() {
    for (const { end } of this.#pairs) end();
  }

  /** All connections there are stay open, and nothing passes any more. */
  freeze() {
    for (const pair of this.#pairs) pair.frozen = true;
  }

  close() {
    this.cut();
    this.server.close();
  }
}

/** A storage with a limit; `copy` is what a duplicated tab gets. */
export class Storage {
  constructor(limit = Infinity, items = new Map()) {
    this.items = items;
    this.limit = limit;
  }

  getItem(key) {
    return this.items.get(key) ?? null;
  }

  setItem(key, value) {
    if (value.length > this.limit) throw new DOMException("full", "QuotaExceededError");
    this.items.set(key, value);
  }

  removeItem(key) {
    this.items.delete(key);
  }

  copy() {
    return new Storage(this.limit, new Map(this.items));
  }
}

/** A page that is looked at, until it is turned. */
export function page(t) {
  const page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  globalThis.document = { hidden: false };
  t.after(() => (delete globalThis.addEventListener, delete globalThis.document));
  return (hidden) => {
    globalThis.document.hidden = hidden;
    page.dispatchEvent(new Event("visibilitychange"));
  };
}

/** A backend, a server, a way between, and connections over it; all of it ends with the test. */
export async function world(t, { echo, settings, state = false } = {}) {
  const world = { connections: [] };
  if (state) {
    const directory = mkdtempSync(join(tmpdir(), "voltlane-js-"));
    settings = { GENERAL_STATE_DIR: join(directory, "state"), ...settings };
    t.after(() => rmSync(directory, { recursive: true }));
  }
  world.master = await Master.start({ echo });
  t.after(() => world.master.close());
  world.server = await Server.start(world.master, settings);
  world.way = await Way.start(world.server.port);
  world.restart = async (signal) => {
    await world.server.stop(signal);
    world.server = await Server.start(world.master, settings, world.server.port);
  };
  world.connect = (options, url = world.way.url) => {
    const connection = connect(url, { WebSocket, EventSource: null, longestPause: 50, timeout: 5000, ...options });
    connection.closes = [];
    connection.addEventListener("close", (event) => connection.closes.push(event));
    world.connections.push(connection);
    return connection;
  };
  t.after(async () => {
    await Promise.allSettled(world.connections.map((connection) => connection.close(3005)));
    world.way.close();
    await world.server.stop();
    if (/internal error|Traceback/.test(world.server.log)) throw new Error(world.server.log.slice(-4000));
  });
  return world;
}
