// Charts on canvas: lines over time, stacked areas, and a map of segments. Colours are the page's inks.

import { bytes, percent, ticks } from "./format.js";

/** The page's colours as they are now. */
export function inks() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    ink: Array.from({ length: 8 }, (_, i) => read(`--ink-${i}`)),
    muted: read("--muted"), grid: read("--grid"), bad: read("--bad"),
    font: style.getPropertyValue("--font").trim(),
  };
}

function prepare(canvas) {
  const box = canvas.getBoundingClientRect();
  const ratio = globalThis.devicePixelRatio || 1;
  const [width, height] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const g = canvas.getContext("2d");
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, box.width, box.height);
  const c = inks();
  g.font = `12px ${c.font}`;
  g.textBaseline = "middle";
  return { g, c, width: box.width, height: box.height };
}

function yAxis(g, c, marks, area, top, label) {
  g.fillStyle = c.muted;
  g.strokeStyle = c.grid;
  g.lineWidth = 1;
  g.textAlign = "right";
  for (const mark of marks) {
    const y = Math.round(area.bottom - (mark / top) * (area.bottom - area.top)) + 0.5;
    g.beginPath();
    g.moveTo(area.left, y);
    g.lineTo(area.right, y);
    g.stroke();
    g.fillText(label(mark), area.left - 8, y);
  }
}

/** Where a time lies: the newest at the right edge, `span` seconds in all. */
export function place(time, newest, span, area) {
  return area.right - ((newest - time) / span) * (area.right - area.left);
}

/**
 * Shares of 0 to 1 over time.
 * @param {HTMLCanvasElement} canvas
 * @param {{times: number[], lines: {values: (number|null)[], ink: number}[], span: number}} data
 */
export function drawShares(canvas, { times, lines, span }) {
  const { g, c, width, height } = prepare(canvas);
  const area = { left: 52, right: width - 16, top: 14, bottom: height - 30 };
  yAxis(g, c, [0, 0.25, 0.5, 0.75, 1], area, 1, (v) => percent(v));
  const newest = times.at(-1) ?? 0;
  g.textAlign = "center";
  const every = span <= 120 ? 30 : span <= 600 ? 120 : 600;
  for (let back = 0; back <= span; back += every) {
    const x = place(newest - back, newest, span, area);
    g.textAlign = back === 0 ? "right" : "center";
    g.fillText(back === 0 ? "now" : `${back < 120 ? `${back} s` : `${Math.round(back / 60)} min`}`, x, area.bottom + 16);
  }
  for (const { values, ink } of lines) {
    let pen = null;
    const path = new Path2D();
    const fill = new Path2D();
    const close = () => pen && (fill.lineTo(pen, area.bottom), fill.closePath());
    values.forEach((value, i) => {
      const x = place(times[i], newest, span, area);
      if (value === null || value === undefined || x < area.left) {
        close();
        pen = null;
        return;
      }
      const y = area.bottom - Math.min(Math.max(value, 0), 1) * (area.bottom - area.top);
      if (pen === null) {
        path.moveTo(x, y);
        fill.moveTo(x, area.bottom);
      } else path.lineTo(x, y);
      fill.lineTo(x, y);
      pen = x;
    });
    close();
    g.fillStyle = c.ink[ink];
    g.globalAlpha = 0.12;
    g.fill(fill);
    g.globalAlpha = 1;
    g.strokeStyle = c.ink[ink];
    g.lineWidth = 2;
    g.lineJoin = "round";
    g.stroke(path);
  }
}

/** Sum of the categories at each moment. */
export function totals(categories) {
  const rows = Object.values(categories);
  return rows.length ? rows[0].map((_, i) => rows.reduce((sum, row) => sum + row[i], 0)) : [];
}

/** Stretches of one phase: where each begins and ends. */
export function stretches(phases, steps) {
  const found = [];
  phases.forEach((phase, i) => {
    const last = found.at(-1);
    if (last && last.phase === phase && last.step === steps[i]) last.end = i + 1;
    else found.push({ phase, step: steps[i], start: i, end: i + 1 });
  });
  return found;
}

/**
 * Memory of a step by category, one moment after the other.
 * @param {HTMLCanvasElement} canvas
 * @param {{categories: Record<string, number[]>, phase: string[], step: number[], ink: Record<string, number>, peak: number}} data
 */
export function drawStack(canvas, { categories, phase, step, ink, peak }) {
  const { g, c, width, height } = prepare(canvas);
  const sums = totals(categories);
  const top = Math.max(peak, ...sums, 1) * 1.06;
  const area = { left: 76, right: width - 16, top: 14, bottom: height - 30 };
  const x = (i) => area.left + (i / sums.length) * (area.right - area.left);
  const y = (v) => area.bottom - (v / top) * (area.bottom - area.top);
  const unit = 1024 ** Math.max(0, Math.floor(Math.log2(top) / 10));
  yAxis(g, c, ticks(top / unit).map((t) => t * unit), area, top, bytes);
  const below = new Array(sums.length).fill(0);
  for (const [name, values] of Object.entries(categories)) {
    g.beginPath();
    g.moveTo(x(0), y(below[0]));
    values.forEach((v, i) => (g.lineTo(x(i), y(below[i] + v)), g.lineTo(x(i + 1), y(below[i] + v))));
    for (let i = values.length - 1; i >= 0; i -= 1) (g.lineTo(x(i + 1), y(below[i])), g.lineTo(x(i), y(below[i])));
    g.closePath();
    g.globalAlpha = 0.82;
    g.fillStyle = c.ink[ink[name] ?? 6];
    g.fill();
    g.globalAlpha = 1;
    values.forEach((v, i) => (below[i] += v));
  }
  g.fillStyle = c.muted;
  g.strokeStyle = c.muted;
  let free = -Infinity;
  for (const part of stretches(phase, step)) {
    g.globalAlpha = 0.35;
    g.beginPath();
    g.moveTo(x(part.start), area.top);
    g.lineTo(x(part.start), area.bottom + 6);
    g.stroke();
    g.globalAlpha = 1;
    const text = part.phase;
    const middle = (x(part.start) + x(part.end)) / 2;
    const half = g.measureText(text).width / 2 + 4;
    if (half * 2 < x(part.end) - x(part.start) && middle - half > free) {
      g.textAlign = "center";
      g.fillText(text, middle, area.bottom + 16);
      free = middle + half;
    }
  }
  const at = sums.indexOf(Math.max(...sums));
  g.fillStyle = c.bad;
  g.beginPath();
  g.arc(x(at + 0.5), y(sums[at]), 4.5, 0, 7);
  g.fill();
}

const STATES = { active_allocated: 0, active_awaiting_free: 2, active_pending_free: 2, inactive: 7 };

/**
 * Segments as bars, each as wide as it is large, with its blocks.
 * @param {HTMLCanvasElement} canvas
 * @param {{size_bytes: number, stream: number, blocks: [number, string][]}[]} segments
 */
export function drawSegments(canvas, segments) {
  const row = 22;
  canvas.style.setProperty("height", `${segments.length * row + 16}px`);
  const { g, c, width } = prepare(canvas);
  const most = Math.max(...segments.map((s) => s.size_bytes), 1);
  const left = 84;
  segments.forEach((segment, i) => {
    const y = 8 + i * row;
    g.fillStyle = c.muted;
    g.textAlign = "right";
    g.fillText(bytes(segment.size_bytes), left - 8, y + 8);
    const scale = Math.max((width - left - 16) * (segment.size_bytes / most), 6) / segment.size_bytes;
    let x = left;
    for (const [size, state] of segment.blocks) {
      const w = size * scale;
      g.fillStyle = c.ink[STATES[state] ?? 6];
      g.fillRect(x, y, Math.max(w - (w > 3 ? 1 : 0), 0.5), 16);
      x += w;
    }
  });
}
