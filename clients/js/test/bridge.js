/**
 * A way to a server as a program: `node bridge.js PORT` says on which URL it listens. Each line of its input is
 * something to do: cut, freeze.
 */

import { createInterface } from "node:readline";

import { Way } from "./kit.js";

const way = await Way.start(Number(process.argv[2]));
console.log(way.url);
for await (const command of createInterface({ input: process.stdin })) {
  way[command]();
  console.log(command);
}
way.close();
