// How it goes: the badge on the picture, the notice in its middle, and what can be done about it.

import { byId, el, icon, setText } from "../shared/js/dom.js";
import { title } from "./format.js";

// States that leave nothing to be seen, so that they are told in the middle of the picture.
const NOTICED = new Set(["connecting", "lost", "finished", "error", "idle"]);
const ICONS = { lost: "link", finished: "flag", idle: "play" };

/** Shows one state at a time. */
export class Status {
  /** @param {{again: () => void, demo: () => void, retry: () => void}} acts */
  constructor(acts) {
    this.acts = acts;
    this.shown = "";
    this.key = "";
  }

  /**
   * @param {{key: string, label: string, detail: string}} state from `describe`
   * @param {{kind: string|null, label: string, isWaiting: boolean, hasSeen: boolean, repetitions: number}} about what is shown
   */
  show(state, about) {
    const text = `${state.key}|${state.label}|${state.detail}|${about.label}`;
    if (text === this.shown) return;
    const isOther = this.key !== `${state.key}${about.isWaiting}`;
    this.shown = text;
    this.key = `${state.key}${about.isWaiting}`;
    const isNoticed = NOTICED.has(state.key);
    byId("state").dataset.state = state.key;
    setText(byId("state-label"), state.label);
    setText(byId("state-detail"), isNoticed ? "" : state.detail);
    byId("notice").hidden = !isNoticed;
    if (isNoticed) this.notice(state, about, isOther);
    if (isOther) setText(byId("announcer"), `${state.label}. ${state.detail}`);
  }

  notice(state, about, isOther) {
    setText(byId("notice-title"), headline(state.key, about));
    setText(byId("notice-text"), state.detail);
    if (!isOther) return; // Only the countdown has moved.
    const isBusy = state.key === "connecting";
    byId("notice-icon").className = isBusy ? "notice-icon is-busy" : "notice-icon";
    byId("notice-icon").replaceChildren(...(isBusy ? [] : [icon(ICONS[state.key] ?? "warn")]));
    byId("notice-actions").replaceChildren(...this.actions(state.key, about));
  }

  actions(key, about) {
    const button = (text, kind, testid, act) => el("button", { type: "button", class: kind, text, data: { testid }, on: { click: act } });
    const demo = button("Show the demo", "secondary", "to-demo", this.acts.demo);
    if (key === "lost" && about.isWaiting) return [button("Try now", "primary", "retry", this.acts.retry)];
    if (key === "finished") return [button("Play again", "primary", "again", this.acts.again), demo];
    if (key === "error") return [button("Try again", "primary", "retry", this.acts.again), demo];
    return [];
  }
}

function headline(key, about) {
  if (key === "connecting") return `Opening ${about.kind === "demo" ? "the demo" : about.label || "the source"}`;
  if (key === "lost" && !about.isWaiting) return "Camera lost";
  if (key === "lost") return about.hasSeen ? "Connection lost" : "Not connected";
  if (key === "error") return about.label ? `${title(about.label)} cannot be shown` : "Something went wrong";
  if (key === "idle") return "Choose a source";
  const n = about.repetitions;
  return n ? `Finished: ${n} ${n === 1 ? "repetition" : "repetitions"}` : "Finished";
}
