// The video of a replay with its controls: play, scrub, step, jump from repetition to repetition.

import { el, icon, setText } from "../shared/js/dom.js";
import { fineClock } from "./format.js";
import { counts } from "./tempo.js";

const FRAME_S = 1 / 30;
const SPEEDS = [1, 0.5, 0.25];

/** A video and what steers it. */
export class Player {
  /** @param {{video: HTMLVideoElement, events: object[], onTime: (time: number) => void}} options */
  constructor({ video, events, onTime }) {
    Object.assign(this, { video, onTime });
    this.closed = false;
    this.speed = 0;
    this.problem = el("p", { class: "problem", role: "alert", hidden: true });
    this.marks = el("div", { class: "scrub-marks", "aria-hidden": "true" });
    this.range = el("input", { type: "range", min: "0", max: "1000", value: "0", step: "1", "aria-label": "Place in the recording", data: { testid: "scrub" }, on: { input: () => this.seek((Number(this.range.value) / 1000) * this.duration) } });
    this.clock = el("span", { class: "player-clock", data: { testid: "replay-time" }, text: "0:00.0" });
    this.playButton = this.button("play", "Play", "play", () => this.toggle());
    this.speedButton = el("button", { type: "button", class: "quiet", text: "1×", title: "Speed", "aria-label": "Speed: natural", data: { testid: "speed" }, on: { click: () => this.nextSpeed() } });
    this.element = el(
      "div",
      { class: "player-in" },
      el("div", { class: "player-box" }, video, this.problem),
      el("div", { class: "scrub" }, this.marks, this.range),
      el("div", { class: "player-bar" }, this.button("prev", "Repetition before", "prev-rep", () => this.jump(-1)), this.playButton, this.button("next", "Repetition after", "next-rep", () => this.jump(1)), this.clock, this.speedButton),
    );
    this.setEvents(events);
    for (const type of ["play", "pause", "ended"]) video.addEventListener(type, () => this.refresh());
    for (const type of ["seeked", "timeupdate", "loadeddata"]) video.addEventListener(type, () => this.tell());
    video.addEventListener("loadedmetadata", () => {
      this.element.style.setProperty("--ratio", `${video.videoWidth} / ${video.videoHeight}`);
      this.setEvents(this.events);
    });
    video.addEventListener("click", () => this.toggle());
    video.addEventListener("error", () => video.getAttribute("src") && this.tellProblem("The video cannot be played here. It can still be exported."));
    this.loop();
  }

  button(name, label, testid, act) {
    return el("button", { type: "button", class: "tool", "aria-label": label, title: label, data: { testid }, on: { click: act } }, icon(name));
  }

  get time() {
    return this.video.currentTime;
  }

  get duration() {
    return Number.isFinite(this.video.duration) ? this.video.duration : 0;
  }

  /** Where repetitions lie on the scrub bar, and what the jumps go to. */
  setEvents(events) {
    this.events = events;
    if (!this.duration) return;
    this.marks.replaceChildren(
      ...events.map((event) => {
        const mark = el("i", { class: counts(event) ? "" : "is-partial" });
        mark.style.left = `${(event.start_s / this.duration) * 100}%`;
        mark.style.width = `${((event.end_s - event.start_s) / this.duration) * 100}%`;
        return mark;
      }),
    );
    this.tell();
  }

  loop() {
    if (this.closed) return;
    if (!this.video.paused) this.tell();
    requestAnimationFrame(() => this.loop());
  }

  tell() {
    const { time, duration } = this;
    if (duration) this.range.value = String(Math.round((time / duration) * 1000));
    setText(this.clock, `${fineClock(time)} / ${fineClock(duration)}`);
    this.range.setAttribute("aria-valuetext", `${time.toFixed(1)} of ${duration.toFixed(1)} seconds`);
    this.onTime(time);
  }

  refresh() {
    const isPlaying = !this.video.paused && !this.video.ended;
    this.playButton.replaceChildren(icon(isPlaying ? "pause" : "play"));
    this.playButton.setAttribute("aria-label", isPlaying ? "Pause" : "Play");
    this.playButton.title = isPlaying ? "Pause" : "Play";
  }

  toggle() {
    if (this.video.paused) this.video.play().catch(() => {});
    else this.video.pause();
  }

  seek(time) {
    this.video.currentTime = Math.min(Math.max(0, time), this.duration || time);
    this.tell();
  }

  jump(direction) {
    const starts = this.events.map((e) => e.start_s).sort((a, b) => a - b);
    const found = direction > 0 ? starts.find((s) => s > this.time + 0.1) : starts.findLast((s) => s < this.time - 0.3);
    this.seek(found ?? (direction > 0 ? this.duration : 0));
  }

  nextSpeed() {
    this.speed = (this.speed + 1) % SPEEDS.length;
    this.video.playbackRate = SPEEDS[this.speed];
    setText(this.speedButton, `${["1", "½", "¼"][this.speed]}×`);
    this.speedButton.setAttribute("aria-label", `Speed: ${["natural", "half", "a quarter"][this.speed]}`);
  }

  tellProblem(text) {
    this.problem.hidden = false;
    setText(this.problem, text);
  }

  onKey(event) {
    const onControl = event.target instanceof HTMLElement && /^(BUTTON|A|SUMMARY)$/.test(event.target.tagName);
    if (event.key === " " && onControl) return false;
    const acts = {
      " ": () => this.toggle(),
      ArrowLeft: () => this.seek(this.time - (event.shiftKey ? 1 : FRAME_S)),
      ArrowRight: () => this.seek(this.time + (event.shiftKey ? 1 : FRAME_S)),
      "[": () => this.jump(-1),
      "]": () => this.jump(1),
    };
    if (!(event.key in acts)) return false;
    if (event.key.startsWith("Arrow")) this.video.pause();
    acts[event.key]();
    return true;
  }

  close() {
    this.closed = true;
    this.video.pause();
    this.video.removeAttribute("src");
    this.video.load();
  }
}
