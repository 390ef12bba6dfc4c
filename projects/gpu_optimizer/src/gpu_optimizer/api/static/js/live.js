// The live view: a socket that comes back by itself, tiles per device, and the chart.

import { get, openSocket, requestToken, token } from "../shared/js/api.js";
import { Backoff } from "../shared/js/backoff.js";
import { byId, el, setText } from "../shared/js/dom.js";
import { legendEntry } from "./cards.js";
import { drawShares } from "./chart.js";
import { bytes, percent } from "./format.js";

const MOST = 3600;
const PING_S = 15;

/** What is known over time: a column per device, aligned with the times. */
export class Series {
  constructor() {
    this.times = [];
    this.devices = new Map();
  }

  /** Begin with what the service remembers. */
  load(history, hostTotal) {
    this.times = [...history.time_s];
    this.devices.clear();
    const share = (used, total) => (used === null || !total ? null : used / total);
    this.column("host", "Host").push(...history.host_used_bytes.map((used) => share(used, hostTotal)));
    for (const gpu of history.gpus) {
      this.column(gpu.uuid, title(gpu)).push(...gpu.memory_used_bytes.map((used) => share(used, gpu.memory_total_bytes)));
    }
  }

  /** The values of a device; empty places before it was first seen. */
  column(key, name) {
    if (!this.devices.has(key)) this.devices.set(key, { name, values: [] });
    return this.devices.get(key).values;
  }

  /** Add one reading. */
  add(reading) {
    if (this.times.length && reading.time_s <= this.times.at(-1)) return;
    this.times.push(reading.time_s);
    const { memory_total_bytes: total, memory_available_bytes: free } = reading.host;
    this.column("host", "Host");
    const now = new Map([["host", 1 - free / total]]);
    for (const gpu of reading.gpus) {
      this.column(gpu.uuid, title(gpu));
      now.set(gpu.uuid, gpu.memory_total_bytes ? gpu.memory_used_bytes / gpu.memory_total_bytes : null);
    }
    for (const [key, device] of this.devices) {
      while (device.values.length < this.times.length - 1) device.values.push(null);
      device.values.push(now.get(key) ?? null);
    }
    if (this.times.length > MOST) {
      this.times.shift();
      for (const device of this.devices.values()) device.values.shift();
    }
  }
}

/** The view and its connection. */
export class LiveView {
  constructor() {
    this.series = new Series();
    this.pending = null;
    this.waits = new Backoff();
    this.tiles = new Map();
    addEventListener("resize", () => this.draw());
    addEventListener("online", () => this.socket ?? this.connect());
    setInterval(() => this.socket?.readyState === WebSocket.OPEN && this.socket.send('{"type":"ping"}'), PING_S * 1000);
  }

  async start() {
    this.connect();
    try {
      const devices = await get("/v1/devices");
      byId("devices").replaceChildren(...devices.map(deviceRow));
    } catch (error) {
      byId("devices").replaceChildren(el("tr", {}, el("td", { colspan: "5", class: "dim", text: error.message })));
    }
  }

  connect() {
    clearTimeout(this.timer);
    const used = token();
    const socket = (this.socket = openSocket("/v1/live"));
    let opened = false;
    socket.addEventListener("open", () => (opened = true));
    socket.addEventListener("message", ({ data }) => this.take(JSON.parse(data)));
    socket.addEventListener("close", async () => {
      this.socket = null;
      this.say("The connection is lost; trying again …");
      // Browsers do not say why a socket was refused; a call does.
      if (!opened && (await refusedForToken())) {
        if (await requestToken(used !== null, used)) this.connect();
        else this.say("Without the token nothing can be shown. Reload to be asked again.");
        return;
      }
      this.timer = setTimeout(() => this.connect(), this.waits.next() * 1000);
    });
  }

  take(message) {
    if (message.type === "hello") {
      this.waits.reset();
      this.pending = message;
    } else if (message.type === "reading") {
      if (this.pending) this.series.load(this.pending.history, message.host.memory_total_bytes);
      if (this.pending) this.every = this.pending.interval_s;
      this.pending = null;
      this.series.add(message);
      this.show(message);
    }
  }

  say(text) {
    setText(byId("live-state"), text);
  }

  show(reading) {
    const lost = reading.unreadable.length ? ` ${reading.unreadable.join("; ")}.` : "";
    this.say(`A reading every ${this.every} s.${reading.gpu_problem ? "" : lost}`);
    byId("no-gpu").hidden = !reading.gpu_problem;
    setText(byId("no-gpu-reason"), reading.gpu_problem ? `${reading.gpu_problem.charAt(0).toUpperCase()}${reading.gpu_problem.slice(1)}.` : "");
    const { memory_total_bytes: total, memory_available_bytes: free, process_resident_bytes: own } = reading.host;
    const cards = [...reading.gpus.map(gpuTile), { key: "host", title: "Host", used: total - free, total, facts: [[`this service ${bytes(own)}`]] }];
    for (const [key, node] of this.tiles) {
      if (!cards.some((card) => card.key === key)) (node.root.remove(), this.tiles.delete(key));
    }
    for (const card of cards) this.fill(card);
    this.draw();
  }

  fill(card) {
    if (!this.tiles.has(card.key)) this.tiles.set(card.key, makeTile(card));
    const tile = this.tiles.get(card.key);
    setText(tile.used, bytes(card.used));
    setText(tile.of, card.total ? ` of ${bytes(card.total)}` : "");
    setText(tile.share, card.total ? percent(card.used / card.total) : "");
    tile.meter.value = card.total ? card.used / card.total : 0;
    tile.facts.replaceChildren(...card.facts.map(([text, hot]) => el("span", { text, class: hot ? "hot" : null })));
  }

  draw() {
    const canvas = byId("chart");
    if (!canvas.offsetWidth) return;
    const { times, devices } = this.series;
    const entries = [...devices.values()];
    const span = Math.min(Math.max((times.at(-1) ?? 0) - (times[0] ?? 0), 60), 600);
    drawShares(canvas, { times, span, lines: entries.map(({ values }, i) => ({ values, ink: i % 6 })) });
    const names = entries.map((device) => device.name).join("|");
    if (canvas.dataset.names !== names) {
      canvas.dataset.names = names;
      byId("chart-legend").replaceChildren(...entries.map((device, i) => legendEntry(device.name, i % 6)));
    }
    const now = entries.map((device) => `${device.name} ${percent(device.values.at(-1))}`).join(", ");
    canvas.setAttribute("aria-label", `Share of memory held over the last minutes. Now: ${now}.`);
  }
}

async function refusedForToken() {
  try {
    await get("/v1/memory", { quiet: true });
    return false;
  } catch (error) {
    return error.status === 401;
  }
}

function title(gpu) {
  return `GPU ${gpu.index} · ${gpu.name}`;
}

function gpuTile(gpu) {
  const facts = [];
  if (gpu.utilization_ratio !== null) facts.push([`busy ${percent(gpu.utilization_ratio)}`]);
  if (gpu.temperature_c !== null) facts.push([`${gpu.temperature_c.toFixed(0)} °C`, gpu.temperature_c > 85]);
  if (gpu.power_w !== null) facts.push([`${gpu.power_w.toFixed(0)}${gpu.power_limit_w === null ? "" : ` of ${gpu.power_limit_w.toFixed(0)}`} W`]);
  const limits = (gpu.clock_limits ?? []).filter((reason) => reason !== "idle");
  if (limits.length) facts.push([`slowed by ${limits.map((r) => r.replace(/_/g, " ")).join(", ")}`, true]);
  if (gpu.ecc?.uncorrected) facts.push([`${gpu.ecc.uncorrected} memory errors`, true]);
  for (const part of gpu.mig) facts.push([`${part.name}: ${bytes(part.memory_used_bytes)}`]);
  return { key: gpu.uuid, title: title(gpu), used: gpu.memory_used_bytes, total: gpu.memory_total_bytes, facts };
}

function makeTile(card) {
  const tile = {
    used: el("span"),
    of: el("small"),
    share: el("h3"),
    meter: el("meter", { min: "0", max: "1", low: "0.85", high: "0.95", optimum: "0", "aria-label": `${card.title}, share of memory held` }),
    facts: el("div", { class: "facts" }),
  };
  tile.root = el(
    "article",
    { class: "card tile", "data-testid": `tile-${card.key}` },
    el("div", { class: "tile-head" }, el("h2", { text: card.title, title: card.title }), tile.share),
    el("div", { class: "figure" }, tile.used, tile.of),
    tile.meter,
    tile.facts,
  );
  byId("tiles").append(tile.root);
  return tile;
}

function deviceRow(device) {
  return el(
    "tr",
    {},
    el("td", { text: device.device }),
    el("td", { text: device.name }),
    el("td", { class: "n", text: bytes(device.memory_bytes) }),
    el("td", { text: device.precisions.join(" ") }),
    el("td", { class: "dim", text: device.compute_capability ?? "–" }),
  );
}
