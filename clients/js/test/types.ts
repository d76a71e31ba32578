/** Compiled and never run: what a program says is what the types allow. */

import { connect, type Connection, type VoltlaneError } from "../voltlane.js";

export async function program(): Promise<void> {
  const connection: Connection = connect("wss://example.com/", { storage: sessionStorage, protocol: "v3", heartbeat: 1000 });
  connection.addEventListener("open", ({ id, resumed }) => console.log(id! + 1n, resumed === true));
  connection.addEventListener("packet", (event) => console.log(event.data.byteLength));
  connection.addEventListener("gap", ({ first, last }) => console.log(last - first));
  connection.addEventListener("uncertain", ({ packets }) => packets.forEach((packet) => connection.send(packet)));
  connection.addEventListener("close", ({ code, reconnecting }) => code > 3499 && !reconnecting);
  await connection.send("text").catch((error: VoltlaneError) => error.uncertain);
  await connection.send(new ArrayBuffer(3));
  for await (const data of connection) console.log(data[0]);
  await connection.flush();
  connection.wake();
  await connection.close(3005, "away");
  const waiting: number = connection.bufferedAmount;
  console.log(waiting, connection.stored, connection.id);
  // @ts-expect-error there is no such protocol
  connect("wss://example.com/", { protocol: "v2" });
  // @ts-expect-error a number is no packet
  await connection.send(7);
  // @ts-expect-error there is no such event
  connection.addEventListener("opened", () => {});
}
