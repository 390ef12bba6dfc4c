// The numbers beside the picture: counter, ring, phase, tempo, range, and the set as bars.

import { byId, setText } from "../shared/js/dom.js";
import { clock, number, title } from "./format.js";
import { surfaceSize } from "./geometry.js";
import { FONT } from "./overlay.js";
import { counts, summaryOf, tempoOf } from "./tempo.js";

const PHASES = { top: "Top", bottom: "Bottom", down: "Going down", up: "Coming up", hold: "Holding", rest: "At rest" };
const MOST_BARS = 24;

/** Shows one person's repetitions. */
export class Score {
  constructor() {
    for (const id of ["counter", "count-unit", "phase", "ring", "score-title", "tempo-down", "tempo-up", "range", "form", "set-text"]) {
      this[id] = byId(id);
    }
    this.canvas = byId("set");
    this.bars = [];
    this.shownCount = null;
    new ResizeObserver(() => this.drawBars()).observe(this.canvas);
  }

  /** @param {object|null} exercise as the stream tells it */
  setExercise(exercise) {
    this.isHold = exercise?.kind === "hold";
    setText(this["score-title"], exercise ? title(exercise.name) : "No exercise chosen");
    setText(this["count-unit"], this.isHold ? "held" : "repetitions");
    this.counter.setAttribute("aria-label", this.isHold ? "Time held" : "Repetitions");
  }

  /** What changes with every picture. */
  update(repetition, held) {
    const phase = repetition?.phase ?? "";
    setText(this.phase, PHASES[phase] ?? (phase ? title(phase) : "–"));
    this.phase.dataset.phase = phase;
    const progress = Math.min(1, Math.max(0, repetition?.progress ?? 0));
    this.ring.classList.toggle("is-empty", progress < 0.01);
    this.ring.style.strokeDasharray = `${(progress * 100).toFixed(1)} 100`;
    const text = this.isHold ? clock(held) : String(repetition?.count ?? 0);
    if (text === this.shownCount) return;
    const isMore = !this.isHold && this.shownCount !== null && Number(text) === Number(this.shownCount) + 1;
    this.shownCount = text;
    setText(this.counter, text);
    this.counter.classList.toggle("is-long", text.length > 2);
    if (isMore) {
      this.counter.classList.remove("is-new");
      void this.counter.offsetWidth; // so that the animation starts anew
      this.counter.classList.add("is-new");
    }
  }

  /** What changes with events. @param {object[]} events of the person, oldest first */
  setEvents(events) {
    const summary = summaryOf(events);
    const { last } = summary;
    this.showMetric("tempo-down", last?.down_s, 1);
    this.showMetric("tempo-up", last?.up_s, 1);
    this.showMetric("range", last?.range_deg, 0);
    this.showMetric("form", last?.form, 0);
    const parts = [];
    if (summary.range_deg !== null) parts.push(`mean ${Math.round(summary.range_deg)}°`);
    if (summary.duration_s !== null) parts.push(`${summary.duration_s.toFixed(1)} s each`);
    if (summary.form !== null) parts.push(`form ${Math.round(summary.form)}`);
    if (summary.partial) parts.push(`${summary.partial} partial`);
    setText(this["set-text"], parts.join(" · "));
    this.bars = events.filter((e) => counts(e) || e.type === "rep_partial").slice(-MOST_BARS);
    this.canvas.setAttribute("aria-label", this.describe());
    this.drawBars();
  }

  showMetric(id, value, digits) {
    const text = number(value, digits);
    setText(this[id], text);
    this[id].parentElement.classList.toggle("is-none", text === "–");
  }

  describe() {
    if (this.bars.length === 0) return "No repetition yet.";
    const told = this.bars.map((e) => `${Math.round(this.sizeOf(e))}`).join(", ");
    return this.isHold ? `Seconds of each hold: ${told}.` : `Range of each repetition in degrees: ${told}.`;
  }

  sizeOf(event) {
    return this.isHold ? event.end_s - event.start_s : (tempoOf(event).range_deg ?? 0);
  }

  drawBars() {
    const { canvas } = this;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (width < 20 || height < 20) return;
    const size = surfaceSize(width, height, ratio);
    canvas.width = size.width;
    canvas.height = size.height;
    const c = canvas.getContext("2d");
    c.scale(ratio, ratio);
    const style = getComputedStyle(canvas);
    const read = (name) => style.getPropertyValue(name);
    const n = Math.max(this.bars.length, 8);
    const step = width / n;
    const bar = Math.min(step - 5, 30);
    const most = Math.max(...this.bars.map((e) => this.sizeOf(e)), this.isHold ? 10 : 60);
    const room = height - 18;
    c.fillStyle = read("--grid");
    for (let i = 0; i < n; i += 1) roundBar(c, i * step + (step - bar) / 2, height - 4, bar, 3);
    c.font = `600 11px ${FONT}`;
    c.textAlign = "center";
    this.bars.forEach((event, i) => {
      const tall = Math.max(4, (this.sizeOf(event) / most) * room);
      const x = i * step + (step - bar) / 2;
      const isLast = i === this.bars.length - 1;
      c.globalAlpha = isLast ? 1 : 0.62;
      c.fillStyle = counts(event) ? read("--accent") : read("--warn");
      roundBar(c, x, height - tall, bar, tall);
      c.globalAlpha = 1;
      c.fillStyle = isLast ? read("--text") : read("--muted");
      if (step >= 24) c.fillText(String(Math.round(this.sizeOf(event))), x + bar / 2, height - tall - 5);
    });
  }
}

function roundBar(context, x, y, width, height) {
  context.beginPath();
  context.roundRect(x, y, width, height, Math.min(5, height / 2));
  context.fill();
}
