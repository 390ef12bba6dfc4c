// Angle strips: the last seconds of the joints that an exercise is about, with its repetitions marked.

import { jointTitle, surfaceSize } from "./geometry.js";
import { FONT } from "./overlay.js";
import { axisLimits, rangeOf } from "./series.js";
import { counts, isRepetition, ordinalOf } from "./tempo.js";

export const SPAN_S = 20;
const EDGE = { left: 34, right: 58, top: 20, bottom: 18, gap: 10 };

/** Draws the strips of one person on one canvas. */
export class Strips {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.data = null;
    this.limits = new Map();
    this.queued = false;
    new ResizeObserver(() => this.render()).observe(canvas);
    this.readColours();
  }

  /** Colours come from the style sheet, so that both themes have their own. */
  readColours() {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(name).trim();
    this.colours = {
      left: read("--left-ink"),
      right: read("--right-ink"),
      text: read("--text"),
      muted: read("--muted"),
      line: read("--line"),
      grid: read("--grid"),
      good: read("--good"),
      band: read("--band"),
      bandPartial: read("--band-partial"),
      warn: read("--warn"),
      surface: read("--surface"),
    };
    this.render();
  }

  /**
   * @param {{history: object|null, now: number, joints: string[], events: object[], marks: {joint: string, rest: number, work: number}|null}} data
   */
  show(data) {
    this.data = data;
    if (this.queued) return;
    this.queued = true;
    requestAnimationFrame(() => {
      this.queued = false;
      this.render();
    });
  }

  render() {
    const { canvas, context } = this;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const size = surfaceSize(width, height, ratio);
    if (canvas.width !== size.width) canvas.width = size.width;
    if (canvas.height !== size.height) canvas.height = size.height;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    if (!this.data || !this.colours || width < 60) return;
    const { joints, now } = this.data;
    const end = Number.isFinite(now) ? now : SPAN_S;
    const area = { x: EDGE.left, width: width - EDGE.left - EDGE.right, from: end - SPAN_S, to: end };
    const each = (height - EDGE.bottom - EDGE.gap * (joints.length - 1)) / Math.max(joints.length, 1);
    joints.forEach((joint, i) => this.strip(joint, { ...area, y: i * (each + EDGE.gap) + EDGE.top, height: each - EDGE.top }));
    this.timeAxis(area, height);
  }

  strip(joint, area) {
    const { context: c, colours } = this;
    const rings = ["left", "right"].map((side) => this.data.history?.ring(`${side}_${joint}_deg`) ?? null);
    const marks = this.data.marks?.joint === joint ? this.data.marks : null;
    const limits = this.steady(joint, axisLimits(rangeOf(rings, area.from), marks ? [marks.rest, marks.work] : []));
    const at = {
      x: (time) => area.x + ((time - area.from) / SPAN_S) * area.width,
      y: (value) => area.y + area.height - ((value - limits.low) / (limits.high - limits.low)) * area.height,
    };
    this.title(joint, area);
    this.bands(area, at, marks !== null || this.data.joints[0] === joint);
    this.grid(area, at, limits);
    if (marks) this.thresholds(area, at, marks);
    c.save();
    c.beginPath();
    c.rect(area.x, area.y - 2, area.width + 4, area.height + 4);
    c.clip();
    rings.forEach((ring, i) => ring && this.curve(ring, area, at, i === 0 ? colours.left : colours.right));
    c.restore();
    this.values(rings, area, at);
  }

  /** Limits that grow at once and shrink never, within a run: an axis that jumps cannot be read. */
  steady(joint, wanted) {
    const held = this.limits.get(joint) ?? wanted;
    const limits = { low: Math.min(held.low, wanted.low), high: Math.max(held.high, wanted.high) };
    this.limits.set(joint, limits);
    return limits;
  }

  forget() {
    this.limits.clear();
    this.data = null;
    this.render();
  }

  title(joint, area) {
    const { context: c, colours } = this;
    c.font = `600 12px ${FONT}`;
    c.textAlign = "left";
    c.textBaseline = "alphabetic";
    c.fillStyle = colours.text;
    c.fillText(jointTitle(joint), area.x, area.y - 7);
    this.titleWidth = c.measureText(jointTitle(joint)).width;
  }

  bands(area, at, numbered) {
    const { context: c, colours } = this;
    for (const event of this.data.events) {
      if (!isRepetition(event) || event.end_s < area.from) continue;
      const [x1, x2] = [Math.max(at.x(event.start_s), area.x), Math.min(at.x(event.end_s), area.x + area.width)];
      if (x2 <= x1) continue;
      c.fillStyle = counts(event) ? colours.band : colours.bandPartial;
      c.beginPath();
      c.roundRect(x1, area.y, x2 - x1, area.height, 3);
      c.fill();
      // Beside the band of one at the edge there may be the title.
      const middle = (x1 + x2) / 2;
      if (!numbered || x2 - x1 < 12 || middle < area.x + this.titleWidth + 14) continue;
      c.font = `700 12px ${FONT}`;
      c.textAlign = "center";
      c.fillStyle = counts(event) ? colours.good : colours.warn;
      c.fillText(String(ordinalOf(event) ?? "·"), middle, area.y - 7);
    }
  }

  grid(area, at, limits) {
    const { context: c, colours } = this;
    const step = limits.high - limits.low > 100 || area.height < 56 ? 60 : 30;
    c.font = `11px ${FONT}`;
    c.textAlign = "right";
    c.textBaseline = "middle";
    c.lineWidth = 1;
    for (let v = Math.ceil(limits.low / step) * step; v <= limits.high; v += step) {
      const y = Math.round(at.y(v)) + 0.5;
      c.strokeStyle = colours.grid;
      c.beginPath();
      c.moveTo(area.x, y);
      c.lineTo(area.x + area.width, y);
      c.stroke();
      c.fillStyle = colours.muted;
      c.fillText(`${v}°`, area.x - 6, y);
    }
    c.textBaseline = "alphabetic";
  }

  thresholds(area, at, marks) {
    const { context: c, colours } = this;
    c.save();
    c.setLineDash([3, 4]);
    c.strokeStyle = colours.muted;
    for (const value of [marks.rest, marks.work]) {
      const y = Math.round(at.y(value)) + 0.5;
      c.beginPath();
      c.moveTo(area.x, y);
      c.lineTo(area.x + area.width, y);
      c.stroke();
    }
    c.restore();
  }

  curve(ring, area, at, colour) {
    const { context: c } = this;
    c.strokeStyle = colour;
    c.lineWidth = 2;
    c.lineJoin = "round";
    c.beginPath();
    let isDown = false;
    let last = -Infinity;
    ring.forEachSince(area.from - 1, (time, value) => {
      // No line over a missing reading: a gap in the line is a gap in the reading.
      if (Number.isNaN(value) || time - last > 1) isDown = false;
      if (!Number.isNaN(value)) {
        if (isDown) c.lineTo(at.x(time), at.y(value));
        else c.moveTo(at.x(time), at.y(value));
        isDown = true;
      }
      last = time;
    });
    c.stroke();
  }

  values(rings, area, at) {
    const { context: c, colours } = this;
    const told = rings
      .map((ring, i) => ({ value: ring?.lastValue, side: i === 0 ? "left" : "right", fresh: ring && this.data.now - ring.lastTime < 0.6 }))
      .filter((v) => v.fresh && Number.isFinite(v.value));
    const places = told.map((v) => at.y(v.value));
    if (places.length === 2 && Math.abs(places[0] - places[1]) < 14) {
      const middle = (places[0] + places[1]) / 2;
      const upper = told[0].value >= told[1].value ? 0 : 1;
      places[upper] = middle - 7;
      places[1 - upper] = middle + 7;
    }
    c.font = `600 12px ${FONT}`;
    c.textAlign = "left";
    c.textBaseline = "middle";
    told.forEach((v, i) => {
      c.fillStyle = colours[v.side];
      c.fillText(`${v.side === "left" ? "L" : "R"} ${Math.round(v.value)}°`, area.x + area.width + 8, places[i]);
    });
    c.textBaseline = "alphabetic";
  }

  timeAxis(area, height) {
    const { context: c, colours } = this;
    c.font = `11px ${FONT}`;
    c.fillStyle = colours.muted;
    for (const back of [20, 15, 10, 5, 0]) {
      c.textAlign = back === 20 ? "left" : back === 0 ? "right" : "center";
      c.fillText(back === 0 ? "now" : `−${back} s`, area.x + (1 - back / SPAN_S) * area.width, height - 3);
    }
  }
}
