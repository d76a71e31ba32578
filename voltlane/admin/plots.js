// ---- the last quarter of an hour: a line for each number, over time

const HEIGHT = 128, TOP = 10, BOTTOM = 20, LEFT = 76, RIGHT = 10, BRIDGED = 10;
const LEAST = { round: 2, binary: 1024 };  // what an axis goes up to at least, in its unit
const decades = (least) => Array.from({ length: 8 }, (_, i) => least * 10 ** i);

// [title, [[column, what it is called, colour], …], how a number is written, kind of axis, bounds of a histogram]
const PLOTS = {
  packets: ["Packets a second", [["packets_up", "for the master", "up"], ["packets_down", "from the master", "down"]], (v) => count(v) + "/s", "round"],
  bytes: ["Bytes a second", [["bytes_up", "for the master", "up"], ["bytes_down", "from the master", "down"]], (v) => bytes(v) + "/s", "binary"],
  clients: ["Clients", [["clients", "live", "up"], ["stale", "stale", "quiet"]], (v) => count(v), "round"],
  round_trip: ["Round trip to the clients", [["round_trip_p50", "median", "up"], ["round_trip_p99", "99 of 100", "late"]], time, "decades", "round_trip"],
  turn: ["Turns of the event loop", [["turn_p50", "median", "up"], ["turn_p99", "99 of 100", "late"]], time, "decades", "turn"],
  queues: ["Waiting, in memory", [["master_bytes", "for the master", "up"], ["client_bytes", "for clients", "down"]], bytes, "binary"],
  closed: ["Connections closed a second", [["closed", "closed and refused", "late"]], (v) => (v < 10 ? Number(v.toFixed(1)) : count(v)) + "/s", "round"],
};

let past = null;      // as /history answers it, and what snapshots have added
let fetched = -1;     // the last second that was in it then
let fetching = false;
const RANGES = { 120: "The last two minutes", 900: "The last quarter of an hour" };
let range = 900;      // seconds that are shown

const lastSecond = () => past && past.seconds.at.length ? past.seconds.at[past.seconds.at.length - 1] : -1;
const newest = (column) => { const values = past && past.seconds[column]; return values && values.length ? values[values.length - 1] : null; };

async function fetchPast() {
  if (fetching) return;
  fetching = true;
  try {
    const answer = await fetch("/history");
    if (answer.ok) { past = await answer.json(); fetched = lastSecond(); drawPlots(); }
  } catch (error) {
    // The stream notices as well, and says so.
  } finally {
    fetching = false;
  }
}

function takeRecent(recent) {
  // What is new since the last time. Where a second is missing, as after a pause, or ten are over, all is fetched anew.
  const after = lastSecond(), fresh = recent.at.findIndex((second) => second > after);
  if (fresh >= 0 && past && recent.at[0] <= after + 1) {
    for (const [name, values] of Object.entries(past.seconds)) {
      values.push(...recent[name].slice(fresh));
      values.splice(0, values.length - 120);
    }
  }
  if (!past || (recent.at.length && recent.at[0] > after + 1) || lastSecond() - fetched >= 10) fetchPast();
}

// ---- what is drawn

function pointsOf(column, begin) {
  // [from, until, value] of what has ended since: by the second where there are seconds of all of it, else by ten of
  // them, and by the second behind the last ten.
  const { tens, seconds } = past;
  const fine = seconds.at.map((at, i) => [at, at + 1, seconds[column][i]]);
  const coarse = fine.length && fine[0][0] <= begin ? [] : tens.at.map((at, i) => [at, at + 10, tens[column][i]]);
  const end = coarse.length ? coarse[coarse.length - 1][1] : 0;
  return [...coarse, ...fine.filter(([from]) => from >= end)].filter(([, until]) => until > begin);
}

function ticksOf(kind, most, least) {
  if (kind === "decades") return decades(least).filter((value) => value <= Math.max(most, least * 100) * 1.01);
  const half = most / 2, power = 10 ** Math.floor(Math.log10(half));
  const step = kind === "binary" ? 2 ** Math.floor(Math.log2(half)) : [5, 2, 1].map((digit) => digit * power).find((value) => value <= half * 1.001);
  return Array.from({ length: Math.floor(most / step * 1.001) + 1 }, (_, i) => i * step);
}

const svg = (name, attributes, text) => {
  const node = document.createElementNS($("empty").namespaceURI, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text) node.textContent = text;
  return node;
};
const ago = (seconds) => seconds % 60 ? `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}` : `${seconds / 60} min`;
const words = (plot, value) => {
  const [, , form, , histogram] = PLOTS[plot];
  if (value === null || value === undefined) return "–";
  return histogram ? bounded(value, past.bounds[histogram]) : form(value);
};

function drawPlot(id) {
  const [title, lines, form, kind, histogram] = PLOTS[id], figure = $("plot-" + id), picture = figure.querySelector("svg");
  const width = picture.clientWidth;
  if (!width || !past) return;
  const right = lastSecond() + 1, shown = Math.max(60, Math.min(range, right)), begin = right - shown;
  const curves = lines.map(([column]) => pointsOf(column, begin));
  const values = curves.flat().map(([, , value]) => value).filter((value) => value !== null);
  const least = histogram ? past.bounds[histogram][0] : 0;
  const ticks = ticksOf(kind, Math.max(LEAST[kind] || least, ...values), least), most = Math.max(ticks[ticks.length - 1], ...values);
  const x = (second) => LEFT + (Math.max(second, begin) - begin) / shown * (width - LEFT - RIGHT);
  const part = (value) => kind === "decades" ? Math.log(value / least) / Math.log(most / least) : value / most;
  const y = (value) => HEIGHT - BOTTOM - part(value) * (HEIGHT - TOP - BOTTOM);
  const nodes = [];
  ticks.forEach((tick, i) => {
    nodes.push(svg("line", { class: i ? "grid" : "base", x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick) }));
    nodes.push(svg("text", { x: LEFT - 8, y: y(tick) + 4, "text-anchor": "end" }, histogram && !i ? "< " + form(tick) : form(tick)));
  });
  const every = [10, 15, 30, 60, 120, 180, 300].find((step) => shown / step <= (width - LEFT) / 90) || 300;
  for (let back = 0; back <= shown; back += every) {
    const anchor = back ? x(right - back) < LEFT + 20 ? "start" : "middle" : "end";
    nodes.push(svg("line", { class: "base", x1: x(right - back), x2: x(right - back), y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 4 }));
    nodes.push(svg("text", { x: x(right - back), y: HEIGHT - 3, "text-anchor": anchor }, back ? "−" + ago(back) : "now"));
  }
  curves.forEach((points, i) => {
    const line = [], area = [], floor = y(histogram ? least : 0);
    let end = -Infinity, level = 0;  // of what is drawn; a few seconds in which nothing was measured are bridged
    for (const [from, until, value] of points) {
      if (value === null) continue;
      const [left, height] = [x(from).toFixed(1), y(value).toFixed(1)];
      const bridged = from - end < BRIDGED;
      line.push(bridged ? `H${left}V${height}` : `M${left},${height}`, `H${x(until).toFixed(1)}`);
      area.push(bridged ? `M${x(end).toFixed(1)},${floor}V${level}H${left}` : `M${left},${floor}`, `V${height}H${x(until).toFixed(1)}V${floor}Z`);
      end = until;
      level = height;
    }
    if (!histogram) nodes.push(svg("path", { class: `area ink-${lines[i][2]}`, d: area.join("") }));
    nodes.push(svg("path", { class: `curve ink-${lines[i][2]}`, d: line.join("") }));
  });
  if (!values.length) nodes.push(svg("text", { x: (LEFT + width) / 2, y: HEIGHT / 2, "text-anchor": "middle" }, "nothing was measured"));
  const cursor = svg("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  picture.replaceChildren(...nodes, cursor);
  figure.at = (place) => {
    // The values at a place of the pointer, or the newest.
    const second = place === null ? right - 0.5 : begin + (place - LEFT) / (width - LEFT - RIGHT) * shown;
    const inside = second >= begin && second < right;
    cursor.setAttribute("visibility", place !== null && inside ? "visible" : "hidden");
    if (inside) { cursor.setAttribute("x1", x(second)); cursor.setAttribute("x2", x(second)); }
    const texts = curves.map((points) => {
      const found = points.filter(([from, until, value]) => value !== null && from <= second && second < until + BRIDGED).pop();
      return found ? words(id, found[2]) : "–";
    });
    figure.querySelectorAll("output").forEach((output, i) => { output.textContent = texts[i]; });
    figure.querySelector("b").textContent = place !== null && inside ? `${title}, ${ago(Math.ceil(right - second))} ago` : title;
    return texts;
  };
  const now = figure.at(figure.place);
  picture.setAttribute("aria-label", `${title}, the last ${ago(shown)}. ${lines.map(([, name], i) => `${name}: ${now[i]}`).join(", ")}.`);
}

// A young server has not had as long as may be shown.
const reach = (uptime, shown) => uptime > 0 && uptime < shown ? `Since the start, ${time(uptime)} ago` : RANGES[shown];

function drawPlots() {
  set("h-plots", reach(lastSecond() + 1, range));
  if (!document.hidden) Object.keys(PLOTS).forEach(drawPlot);
}

for (const [id, [title, lines]] of Object.entries(PLOTS)) {
  const figure = document.createElement("figure"), caption = document.createElement("figcaption"), name = document.createElement("b");
  figure.id = "plot-" + id;
  figure.place = null;
  figure.at = () => [];
  name.textContent = title;
  caption.append(name, ...lines.map(([, called, ink]) => {
    const key = document.createElement("span");
    key.className = `key ink-${ink}`;
    key.append(called + " ", document.createElement("output"));
    return key;
  }));
  const picture = svg("svg", { role: "img", "aria-label": title });
  const point = (place) => { figure.place = place; figure.at(place); };
  picture.addEventListener("pointermove", (event) => point(event.clientX - picture.getBoundingClientRect().left));
  picture.addEventListener("pointerleave", () => point(null));
  figure.append(caption, picture);
  $("plots").append(figure);
}
new ResizeObserver(drawPlots).observe($("plots"));
for (const button of document.querySelectorAll("[data-range]")) button.addEventListener("click", () => {
  range = Number(button.dataset.range);
  for (const other of document.querySelectorAll("[data-range]")) other.setAttribute("aria-pressed", String(other === button));
  drawPlots();
});
