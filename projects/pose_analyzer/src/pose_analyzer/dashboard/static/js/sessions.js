// Earlier sessions: the list, with the progress of those still running.

import { get, remove } from "../shared/js/api.js";
import { byId, el, icon, setText, showDialog } from "../shared/js/dom.js";
import { clock, moment, number, title, wait } from "./format.js";

const STATES = { queued: "Waiting", running: "Analysing", done: "Ready", failed: "Failed", cancelled: "Cancelled" };
const POLL_MS = 1000;

/** Ask before something is deleted; resolves with whether to. */
export async function confirmDelete(name, isRunning) {
  setText(byId("confirm-title"), isRunning ? "Stop this analysis?" : "Delete this session?");
  setText(byId("confirm-text"), `“${name}” with its video, numbers and plot is removed from the server. This cannot be undone.`);
  setText(byId("confirm-go"), isRunning ? "Stop and delete" : "Delete");
  return (await showDialog(byId("confirm-dialog"))) === "go";
}

/** Progress of an analysis in words: share, speed, time left. */
export function progressText(view) {
  if (view.state === "queued") return "Waiting for its turn";
  const p = view.progress ?? {};
  const parts = [];
  if (typeof p.fraction === "number") parts.push(`${Math.round(p.fraction * 100)} %`);
  else if (p.frames) parts.push(`${p.frames} pictures`);
  if (p.time_left_s) parts.push(`${wait(p.time_left_s)} left`);
  if (p.frames_per_second) parts.push(`${Math.round(p.frames_per_second)} pictures/s`);
  if (p.repetitions) parts.push(`${p.repetitions} repetitions so far`);
  return parts.join(" · ") || "Starting …";
}

/** The bar of an analysis; without a known length it only moves. */
export function progressBar(view) {
  const bar = el("progress", { max: "1", data: { testid: "progress" }, "aria-label": "Analysis" });
  showProgress(bar, view);
  return bar;
}

/** Bring a bar up to date. */
export function showProgress(bar, view) {
  const fraction = view.progress?.fraction;
  if (typeof fraction === "number") bar.value = fraction;
  else bar.removeAttribute("value");
}

/** The list of sessions. */
export class Sessions {
  constructor() {
    this.box = byId("sessions-list");
    this.isOpen = false;
    this.items = [];
    this.more = null;
    this.timer = null;
  }

  async open() {
    this.isOpen = true;
    if (this.items.length === 0) this.box.replaceChildren(el("p", { class: "empty", text: "Loading …" }));
    await this.refresh();
  }

  close() {
    this.isOpen = false;
    clearTimeout(this.timer);
  }

  async refresh() {
    clearTimeout(this.timer);
    try {
      const page = await get("/v1/analyses?limit=50");
      if (!this.isOpen) return;
      // Pages loaded further down stay; what is on the first one is told anew.
      const first = new Set(page.items.map((v) => v.id));
      const rest = this.isDeep ? this.items.filter((v) => !first.has(v.id) && v.created_at < (page.items.at(-1)?.created_at ?? "")) : [];
      this.items = [...page.items, ...rest];
      if (!this.isDeep) this.more = page.next_cursor;
      this.render();
      if (this.items.some((v) => v.state === "running" || v.state === "queued")) this.timer = setTimeout(() => this.refresh(), POLL_MS);
    } catch (error) {
      if (!this.isOpen) return;
      this.box.replaceChildren(this.problem(error));
      if (error.status === 0) this.timer = setTimeout(() => this.refresh(), 3000);
    }
  }

  problem(error) {
    return el("div", { class: "card blank" }, icon("warn"), el("h2", { text: "The sessions cannot be listed" }), el("p", { text: error.told ?? error.message, role: "alert" }), el("button", { type: "button", class: "secondary", text: "Try again", on: { click: () => this.refresh() } }));
  }

  async loadMore() {
    const page = await get(`/v1/analyses?limit=50&cursor=${encodeURIComponent(this.more)}`);
    this.items.push(...page.items);
    this.more = page.next_cursor;
    this.isDeep = true;
    this.render();
  }

  render() {
    if (this.items.length === 0) {
      this.box.replaceChildren(
        el("div", { class: "card blank", data: { testid: "sessions-empty" } }, icon("sessions"), el("h2", { text: "No sessions yet" }), el("p", { text: "Upload a recording of a set. You get it back with the skeleton drawn in, every repetition timed, and all joint angles." }), el("button", { type: "button", class: "primary", text: "Upload a recording", on: { click: () => byId("new-upload").click() } })),
      );
      return;
    }
    const focused = this.box.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const rows = this.items.map((view) => this.row(view));
    const more = this.more ? el("button", { type: "button", class: "secondary more", text: "Show older ones", on: { click: () => this.loadMore() } }) : null;
    this.box.replaceChildren(el("ul", { class: "session-rows card" }, ...rows), ...(more ? [more] : []));
    if (focused) this.box.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  row(view) {
    const isBusy = view.state === "running" || view.state === "queued";
    const s = view.summary;
    const facts = [view.exercise ? title(view.exercise) : "Angles only", moment(view.created_at)];
    if (s) facts.push(clock(s.duration_s));
    const body = el(
      "div",
      { class: "session-body" },
      el("a", { href: `#/sessions/${view.id}`, class: "session-name", text: view.name || "Recording", data: { key: `open-${view.id}`, testid: "session-open" } }),
      el("p", { class: "session-facts", text: facts.join(" · ") }),
    );
    if (isBusy) body.append(progressBar(view), el("p", { class: "session-facts", text: progressText(view) }));
    if (view.state === "failed") body.append(el("p", { class: "problem", text: view.error || "The recording could not be analysed." }));
    const count = el("div", { class: "session-count" }, el("strong", { text: s ? number(s.repetitions) : "–" }), el("span", { text: "reps" }));
    return el(
      "li",
      { class: "session-row", data: { testid: "session-row", id: view.id, state: view.state } },
      count,
      body,
      el("span", { class: "badge", data: { state: view.state }, text: STATES[view.state] ?? view.state }),
      el("button", { type: "button", class: "tool", "aria-label": `Delete ${view.name || "recording"}`, title: "Delete", data: { key: `delete-${view.id}`, testid: "session-delete" }, on: { click: () => this.delete(view) } }, icon("trash")),
    );
  }

  async delete(view) {
    if (!(await confirmDelete(view.name || "Recording", view.state === "running" || view.state === "queued"))) return;
    try {
      await remove(`/v1/analyses/${view.id}`);
      this.items = this.items.filter((v) => v.id !== view.id);
      setText(byId("announcer"), "Session deleted.");
    } catch (error) {
      setText(byId("announcer"), error.told ?? error.message);
    }
    await this.refresh();
  }
}
