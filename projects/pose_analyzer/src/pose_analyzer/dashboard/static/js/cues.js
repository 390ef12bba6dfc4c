// What tells an athlete something at once: words on the picture, and a tick for each repetition.

import { el, icon } from "../shared/js/dom.js";
import { recall, remember } from "../shared/js/prefs.js";
import { isAdvice } from "./tempo.js";

const LEVELS = new Set(["info", "good", "warn", "bad"]);
const MOST = 3;

/** Words on the picture that go away by themselves. */
export class Cues {
  /** @param {HTMLElement} area a live region */
  constructor(area) {
    this.area = area;
  }

  /**
   * Show a cue.
   * @param {{text: string, level?: "info"|"good"|"warn"|"bad", seconds?: number}} cue
   * @returns {() => void} takes it away
   */
  show({ text, level = "info", seconds = 4 }) {
    const kind = LEVELS.has(level) ? level : "info";
    const same = [...this.area.children].find((c) => c.dataset.text === text);
    same?.remove();
    const cue = el("div", { class: "cue", data: { level: kind, text, testid: "cue" } }, icon(kind === "good" ? "check" : kind === "info" ? "info" : "warn"), el("span", { text }));
    this.area.append(cue);
    while (this.area.children.length > MOST) this.area.firstElementChild.remove();
    const timer = setTimeout(() => cue.remove(), seconds * 1000);
    return () => {
      clearTimeout(timer);
      cue.remove();
    };
  }

  clear() {
    this.area.replaceChildren();
  }

  /** Show what an event about form or the camera's place says. */
  fromEvent(event) {
    if (!isAdvice(event) || !event.message) return;
    this.show({ text: event.message, level: event.data?.level ?? "warn", seconds: event.type === "camera_misplaced" ? 9 : 5 });
  }
}

/** Says cues aloud, off until asked for. One at a time; what comes meanwhile is shown, not said. */
export class Voice {
  constructor() {
    this.isThere = "speechSynthesis" in globalThis;
    this.isOn = this.isThere && recall("voice", false);
  }

  toggle() {
    this.isOn = this.isThere && !this.isOn;
    remember("voice", this.isOn);
    if (this.isOn) this.say("Cues are spoken.");
    else this.hush();
    return this.isOn;
  }

  say(text) {
    if (!this.isOn || !text || speechSynthesis.speaking) return;
    // Figures in brackets and after the semicolon are for the eye.
    const words = new SpeechSynthesisUtterance(text.replace(/\([^)]*\)/g, "").split(";")[0]);
    words.lang = "en";
    speechSynthesis.speak(words);
  }

  hush() {
    if (this.isThere) speechSynthesis.cancel();
  }
}

/** Ticks, off until asked for. */
export class Sound {
  constructor() {
    this.isOn = recall("sound", false);
    this.context = null;
    // Browsers let a page be heard only once its visitor has touched it.
    if (this.isOn) addEventListener("pointerdown", () => this.wake(), { once: true });
  }

  toggle() {
    this.isOn = !this.isOn;
    remember("sound", this.isOn);
    if (this.isOn) {
      this.wake();
      this.tick();
    }
    return this.isOn;
  }

  wake() {
    this.context ??= new AudioContext();
    if (this.context.state === "suspended") this.context.resume();
  }

  /** A short tone; every tenth repetition sounds higher. */
  tick(ordinal = null) {
    this.tone(ordinal && ordinal % 10 === 0 ? 1320 : 880, 0);
  }

  /** Two tones, falling: something to do better. */
  warn() {
    this.tone(587, 0.16);
    this.tone(440, 0.32);
  }

  tone(pitch_hz, delay_s) {
    if (!this.isOn || !this.context) return;
    const now = this.context.currentTime + delay_s;
    const tone = this.context.createOscillator();
    const gain = this.context.createGain();
    tone.frequency.value = pitch_hz;
    gain.gain.setValueAtTime(0.0001, now);
    gain.gain.exponentialRampToValueAtTime(0.25, now + 0.008);
    gain.gain.exponentialRampToValueAtTime(0.0001, now + 0.14);
    tone.connect(gain).connect(this.context.destination);
    tone.start(now);
    tone.stop(now + 0.16);
  }
}
