// ---- snapshots: one a second, of the server as a whole

const SOON_DAYS = 14, STALLED = 3;
let last = null;                     // the snapshot before

function show(now) {
  if (last && (now.uptime < last.uptime || now.counts.accepted < last.counts.accepted)) past = null;  // another process
  takeRecent(now.recent.seconds);
  set("version", `${now.version}, up ${time(now.uptime)}`);
  mark("state", now.state, now.ready ? "good" : now.master.connected ? "warn" : "bad");
  document.title = `${count(now.clients.live)} · Voltlane`;
  set("live", count(now.clients.live));
  set("stale", count(now.clients.stale));
  set("handshaking", count(now.clients.handshaking));
  set("resumed", count(now.counts.resumed));
  master(now.master, now.queues.master_bytes);
  for (const way of ["up", "down"]) {
    set(way + "-packets", known(newest("packets_" + way), count));
    set(way + "-bytes", known(newest("bytes_" + way), (value) => bytes(value) + "/s"));
    set(way + "-total", `${count(now.counts["packets_" + way])} packets`);
  }
  const queues = now.queues;
  set("queue-master", bytes(queues.master_bytes));
  set("queue-clients", bytes(queues.clients_bytes));
  set("queue-backlog", bytes(queues.backlog_bytes));
  set("queue-memory", bytes(queues.memory_bytes));
  set("queue-limit", bytes(queues.memory_limit));
  set("busy", known(newest("busy"), (share) => (100 * share).toFixed(1) + " %"));
  set("turn-p50", past ? words("turn", newest("turn_p50")) : "–");
  set("turn-p99", past ? words("turn", newest("turn_p99")) : "–");
  set("gaps", count(now.counts.gaps));
  set("uncertain", count(now.counts.uncertain));
  set("dropped", count(now.counts.backlog_dropped));
  set("unknown", count(now.counts.unknown_client));
  const { known: measured, latency } = now.links;
  $("links").hidden = !measured || !latency.observed;
  if (measured && latency.observed) set("links", `${count(measured)} measured: round trips, median ${within(latency, 0.5)}, 99 of 100 ${within(latency, 0.99)}`);
  datagrams(now, last && past ? last : null);
  lanes(now);
  certificates(now.certificates || []);
  reasons(now.reasons, now.recent.minute);
  drawPlots();
  last = now;
}

function master({ address, connected, stalled_secs: stalled, reconnects, full }, waiting) {
  if (!connected) mark("master", "not connected", "bad");
  else if (stalled >= STALLED) mark("master", `takes nothing for ${time(Math.floor(stalled))}`, "warn");
  else mark("master", "connected", "good");
  set("master-address", address);
  set("master-waits", waiting ? bytes(waiting) : "nothing");
  set("reconnects", reconnects === 1 ? "once" : count(reconnects) + " times");
  set("reading", full ? "no: too much waits" : "yes");
}

function datagrams({ datagrams: now, links, uptime }, before) {
  $("datagrams-card").hidden = !now;
  document.body.classList.toggle("datagrams", Boolean(now));
  if (!now) return;
  const then = before && before.datagrams, seconds = then ? uptime - before.uptime : 0;
  for (const way of ["up", "down"]) {
    const [packets, size] = ["packets_", "bytes_"].map((name) => seconds > 0 ? (now[name + way] - then[name + way]) / seconds : null);
    set("datagrams-" + way, known(packets, (value) => `${count(value)}/s, ${bytes(size)}/s`));
  }
  for (const name of ["channels", "peers", "roamed"]) set(name, count(now[name]));
  set("jitter", links.jitter.observed ? within(links.jitter, 0.5) : "–");
}

function lanes({ lanes, protocols }) {
  const rows = Object.entries(lanes).filter(([, { accepted }]) => accepted).map(([name, { accepted, live }]) => [name, `${count(live)} live, ${count(accepted)} came`]);
  const spoken = Object.entries(protocols).filter(([, { live }]) => live).map(([name, { live }]) => [name, `${count(live)} live`]);
  $("lanes").replaceChildren(...(rows.length ? [...rows, ...spoken] : [["nobody came yet", ""]]).flatMap(([name, text], i) => {
    const apart = rows.length && i === rows.length ? "apart" : "";
    return [element("dt", name, apart), element("dd", text, apart)];
  }));
}

function certificates(list) {
  $("certificates-card").hidden = !list.length;
  $("certificates").replaceChildren(...list.flatMap(({ names, days_left: days }) => [
    element("dt", names.join(", "), "long"),
    element("dd", days < 0 ? "expired" : `${days < 10 ? Number(days.toFixed(1)) : count(days)} days left`, days < 3 ? "mark bad" : `mark ${days < SOON_DAYS ? "warn" : "good"}`),
  ]));
}

const KINDS = { closed: "Connections closed and refused", ended: "Sessions ended", held: "Nobody was accepted for a while", dropped_datagrams: "Datagrams dropped" };

function reasons(all, minute) {
  const rows = Object.entries(KINDS).flatMap(([kind, title]) => {
    const counted = Object.entries(all[kind] || {}).sort((a, b) => b[1] - a[1]);
    if (!counted.length) return [];
    const head = element("th", title);
    head.colSpan = 3;
    return [row(head), ...counted.map(([reason, number]) => row(
      cell(reason, "word long"), cell(count(number)), cell(count((minute[kind] || {})[reason] || 0)),
    ))];
  });
  present("reasons", rows.length > 0);
  $("reasons").replaceChildren(...rows);
}

// ---- what happens

const WHAT = { connected: "connected", resumed: "came back", closed: "closed", banned: "banned" };

function happened({ events, left_out }) {
  const rows = events.map((event) => row(
    cell(new Date(event.at * 1000).toLocaleTimeString([], { hourCycle: "h23" }), "word"),
    cell(known(event.id, String), "word"),
    cell((WHAT[event.kind] || event.kind) + (event.reason ? ": " + event.reason : ""), "word long"),
    cell(event.peer || "–", "word address"),
  )).reverse();
  if (left_out) rows.unshift(row(cell(""), cell(""), cell(`and ${count(left_out)} more`, "word"), cell("")));
  const list = $("happened");
  list.prepend(...rows);
  while (list.children.length > (NARROW.matches ? 8 : 15)) list.lastChild.remove();
  present("happened", list.children.length > 0);
  refresh(250);
}

// ---- the stream

const SILENCE = 5000, PAUSE = 2000;
let source = null, heard = 0;

function lost() {
  mark("connection", "connection lost, trying again …", "bad");
  document.body.classList.add("lost");
  if (last && heard) set("version", `${last.version}, as of ${new Date(heard).toLocaleTimeString()}`);
}

function connect() {
  if (source) source.close();
  source = new EventSource("/events");
  source.addEventListener("snapshot", (event) => {
    heard = Date.now();
    mark("connection", "live", "good");
    document.body.classList.remove("lost");
    show(JSON.parse(event.data));
    refresh(2000);
  });
  source.addEventListener("happened", (event) => happened(JSON.parse(event.data)));
  source.onerror = () => {
    lost();
    // A browser tries again by itself, except when it got an answer that was none: then we ask what it is.
    if (source.readyState === EventSource.CLOSED) setTimeout(enter, PAUSE);
  };
}

async function enter() {
  try {
    const answer = await fetch("/stats");
    $("login").hidden = answer.status !== 401;
    $("main").hidden = answer.status === 401;
    if (answer.status === 401) { mark("connection", "the token is needed", "warn"); $("token").focus(); return; }
    connect();
    refresh(0);
  } catch (error) {
    lost();
    setTimeout(enter, PAUSE);
  }
}

$("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = await fetch("/login", { method: "POST", body: $("token").value }).catch(() => null);
  if (answer && answer.ok) { $("token").value = ""; set("login-answer", ""); enter(); }
  else set("login-answer", answer ? "That is not the token." : "No answer.");
});

setInterval(() => {
  // A connection that died without a word, as when the computer slept.
  if (source && source.readyState === EventSource.OPEN && heard && Date.now() - heard > SILENCE) { lost(); heard = 0; enter(); }
}, 1000);
document.addEventListener("visibilitychange", () => { if (!document.hidden) { drawPlots(); refresh(0); } });

heads();
enter();
