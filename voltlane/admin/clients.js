// ---- the table of all clients, and those whose links are the worst

const NARROW = matchMedia("(max-width: 46rem)"), WORST = 5;
const pageSize = () => NARROW.matches ? 10 : 25;

// [what it is sorted by, title, text, classes, explanation]; those of class "datagram" are for servers that have these
const COLUMNS = [
  ["id", "Client", (c) => String(c.id), "word first"],
  [null, "State", (c) => c.state, "word"],
  [null, "Lane", (c) => c.lane || "–", "word"],
  [null, "Protocol", (c) => c.protocol || "–", "word"],
  [null, "Address", (c) => c.peer || "–", "word address"],
  ["age", "Since", (c) => time(c.age)],
  ["queue", "Waiting", (c) => bytes(c.queue_bytes)],
  ["in", "Sends", (c) => known(c.bytes_in, (v) => bytes(v) + "/s")],
  ["out", "Gets", (c) => known(c.bytes_out, (v) => bytes(v) + "/s")],
  ["rtt", "Round trip", (c) => known(c.rtt, time)],
  ["loss", "Loss", (c) => known(c.loss, perMille)],
  ["jitter", "Jitter", (c) => known(c.jitter, time), "datagram", JITTER],
  ["score", "Score", (c) => known(c.score, count), "", SCORE],
];
let sort = "score", order = "desc", offset = 0, timer = 0, asking = false;

function sortBy(key, turned) {
  order = turned ? (order === "asc" ? "desc" : "asc") : key === "id" ? "asc" : "desc";
  sort = key;
  offset = 0;
  heads();
  refresh(0);
}

for (const [key, title, , className, tip] of COLUMNS) {
  const head = element("th", undefined, className);
  head.scope = "col";
  if (key) {
    const button = element("button", title);
    button.type = "button";
    if (tip) button.dataset.tip = tip;
    button.addEventListener("click", () => sortBy(key, sort === key));
    head.dataset.key = key;
    head.append(button);
    const option = element("option", title, className);
    option.value = key;
    $("sort-by").append(option);
  } else head.textContent = title;
  $("heads").append(head);
}
$("heads").append(document.createElement("td"));
$("sort-by").addEventListener("change", () => sortBy($("sort-by").value, false));
$("turn-over").addEventListener("click", () => sortBy(sort, true));

function heads() {
  for (const head of $("heads").children) {
    if (head.dataset.key === sort) head.setAttribute("aria-sort", order === "asc" ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  }
  $("sort-by").value = sort;
}

function refresh(milliseconds) {
  if (timer && milliseconds) return;
  clearTimeout(timer);
  timer = setTimeout(load, milliseconds);
}

async function load() {
  timer = 0;
  if (asking) { refresh(100); return; }
  if (document.hidden) return;
  asking = true;
  const wanted = new URLSearchParams({ sort, order, offset, limit: pageSize() }), find = $("find").value.trim();
  if (find) wanted.set("find", find);
  try {
    const answers = await Promise.all([fetch(`/clients?${wanted}`), fetch(`/clients?sort=score&order=desc&limit=${WORST}`)]);
    if (!answers.every((answer) => answer.ok)) return;
    const [page, worst] = await Promise.all(answers.map((answer) => answer.json()));
    if (offset && offset >= page.total) { offset = Math.max(0, Math.floor((page.total - 1) / pageSize()) * pageSize()); refresh(1); }
    table(page, find);
    worstLinks(worst.clients.filter((c) => c.score !== null));
  } catch (error) {
    // The stream notices as well, and says so.
  } finally {
    asking = false;
  }
}

function table({ total, offset: from, clients }, find) {
  const focused = document.activeElement && document.activeElement.dataset.kick;
  $("rows").replaceChildren(...clients.map((client) => {
    const line = row(...COLUMNS.map(([, title, text, className]) => cell(text(client), className, title)));
    const last = element("td", undefined, "order"), button = element("button", "Kick");
    button.type = "button";
    button.dataset.kick = client.id;
    button.setAttribute("aria-label", `Kick client ${client.id}`);
    button.addEventListener("click", () => kick(client.id));
    last.append(button);
    line.append(last);
    return line;
  }));
  if (focused) { const again = document.querySelector(`[data-kick="${focused}"]`); if (again) again.focus(); }
  set("no-clients", find ? "nobody here has that in their id or address" : "nobody is here");
  $("no-clients").hidden = total > 0;
  $("clients").hidden = $("pager").hidden = total === 0;
  set("range", total ? `${count(from + 1)} to ${count(from + clients.length)} of ${count(total)}${find ? " found" : ""}` : "");
  $("previous").disabled = from === 0;
  $("next").disabled = from + clients.length >= total;
}

function worstLinks(clients) {
  present("worst", clients.length > 0);
  $("worst").replaceChildren(...clients.map((c) => row(
    cell(String(c.id), "word first", "Client"), cell(c.peer || "–", "word address", "Address"),
    cell(known(c.rtt, time), "", "Round trip"), cell(known(c.loss, perMille), "", "Loss"), cell(known(c.score, count), "", "Score"),
  )));
}

async function kick(id) {
  if (!confirm(`Kick client ${id}? Its session ends, and it cannot come back to it.`)) return;
  await fetch(`/clients/${id}/kick`, { method: "POST" }).catch(() => null);
  refresh(0);
}

$("previous").addEventListener("click", () => { offset = Math.max(0, offset - pageSize()); refresh(0); });
$("next").addEventListener("click", () => { offset += pageSize(); refresh(0); });
$("find").addEventListener("input", () => { offset = 0; refresh(0); });
NARROW.addEventListener("change", () => refresh(0));
