// One session: its progress while it is analysed, then the replay with video, plot and repetitions in step.

import { call, get, remove, token } from "../shared/js/api.js";
import { byId, el, icon, saveAs, setText } from "../shared/js/dom.js";
import { rowOf } from "./events-table.js";
import { AUTO, clock, eventsCsv, fileStem, moment, title } from "./format.js";
import { jointOf, jointsOf, sideOf } from "./geometry.js";
import { Player } from "./player.js";
import { dropPlot, drawPlot, positionOf } from "./plots.js";
import { confirmDelete, progressBar, progressText, showProgress } from "./sessions.js";
import { isRepetition, summaryOf } from "./tempo.js";

const POLL_MS = 500;

/** The page of one session. */
export class Replay {
  /** @param {{go: (hash: string) => void}} options */
  constructor({ go }) {
    this.go = go;
    this.box = byId("view-replay");
    this.turn = 0;
  }

  async open(id) {
    this.close();
    const turn = this.turn;
    this.id = id;
    this.box.replaceChildren(el("p", { class: "empty", text: "Loading …" }));
    try {
      const view = await get(`/v1/analyses/${encodeURIComponent(id)}`);
      if (turn !== this.turn) return;
      if (view.state === "running" || view.state === "queued") this.watch(view, turn);
      else if (view.state === "done") await this.show(view, turn);
      else this.tellFailure(view);
    } catch (error) {
      if (turn === this.turn) this.tellProblem(error);
    }
  }

  close() {
    this.turn += 1;
    clearTimeout(this.timer);
    this.player?.close();
    this.player = null;
    if (this.plot) dropPlot(this.plot);
    this.plot = null;
    if (this.videoUrl) URL.revokeObjectURL(this.videoUrl);
    this.videoUrl = null;
    this.box.replaceChildren();
  }

  head(view, ...more) {
    const facts = [view.exercise ? title(view.exercise) : "Angles only", moment(view.created_at)];
    if (view.summary) facts.push(clock(view.summary.duration_s), `${view.summary.people} ${view.summary.people === 1 ? "person" : "people"}`);
    return el(
      "header",
      { class: "page-head" },
      el(
        "div",
        { class: "with-back" },
        el("a", { href: "#/sessions", class: "tool", "aria-label": "Back to the sessions" }, icon("back")),
        el("div", {}, el("h1", { id: "replay-title", tabindex: "-1", text: view.name || "Recording" }), el("p", { text: facts.join(" · ") })),
      ),
      ...more,
    );
  }

  deleteButton(view, label) {
    return el("button", { type: "button", class: "secondary", data: { testid: "replay-delete" }, on: { click: () => this.delete(view) } }, icon("trash"), el("span", { text: label }));
  }

  async delete(view) {
    if (!(await confirmDelete(view.name || "Recording", view.state !== "done"))) return;
    try {
      await remove(`/v1/analyses/${view.id}`);
      this.go("#/sessions");
    } catch (error) {
      this.tellProblem(error);
    }
  }

  // --- while it is analysed --------------------------------------------------------------------------

  watch(view, turn) {
    const text = el("p", { class: "progress-line", data: { testid: "progress-text" }, text: progressText(view) });
    const bar = progressBar(view);
    this.box.replaceChildren(
      this.head(view, this.deleteButton(view, "Stop")),
      el("div", { class: "card working" }, el("div", { class: "spinner", "aria-hidden": "true" }), el("h2", { text: "Analysing your recording" }), bar, text, el("p", { class: "hint", text: "You may leave this page. The session will be in the list when it is ready." })),
    );
    const poll = async () => {
      try {
        const now = await get(`/v1/analyses/${view.id}`);
        if (turn !== this.turn) return;
        if (now.state === "running" || now.state === "queued") {
          showProgress(bar, now);
          setText(text, progressText(now));
        } else {
          setText(byId("announcer"), now.state === "done" ? "The analysis is ready." : "The analysis failed.");
          this.open(view.id);
          return;
        }
      } catch (error) {
        if (turn !== this.turn) return;
        if (error.status !== 0) {
          this.tellProblem(error);
          return;
        }
        setText(text, "The server does not answer. Still trying …");
      }
      this.timer = setTimeout(poll, POLL_MS);
    };
    this.timer = setTimeout(poll, POLL_MS);
  }

  tellFailure(view) {
    this.box.replaceChildren(
      this.head(view, this.deleteButton(view, "Delete")),
      el("div", { class: "card blank" }, icon("warn"), el("h2", { text: view.state === "cancelled" ? "This analysis was cancelled" : "This recording could not be analysed" }), el("p", { class: "problem", role: "alert", text: view.error || "No reason was given." })),
    );
  }

  tellProblem(error) {
    const text = error.status === 404 ? "There is no such session. It may have been deleted." : (error.told ?? error.message);
    this.box.replaceChildren(
      el("div", { class: "card blank" }, icon("warn"), el("h1", { id: "replay-title", text: "This session cannot be shown" }), el("p", { class: "problem", role: "alert", text }), el("a", { href: "#/sessions", class: "secondary", text: "Back to the sessions" })),
    );
  }

  // --- the replay ------------------------------------------------------------------------------------

  async show(view, turn) {
    const base = `/v1/analyses/${encodeURIComponent(view.id)}`;
    const [result, profile] = await Promise.all([get(`${base}/result`), view.exercise && view.exercise !== AUTO ? get(`/v1/exercises/${encodeURIComponent(view.exercise)}`).catch(() => null) : null]);
    if (turn !== this.turn) return;
    this.view = view;
    this.events = result.events ?? [];
    this.person = mainPerson(result);
    const video = el("video", { playsinline: true, preload: "auto", data: { testid: "replay-video" }, "aria-label": "Recording with skeleton" });
    this.cursor = el("div", { class: "plot-cursor", "aria-hidden": "true", hidden: true });
    this.plot = el("div", { class: "plot", id: "plot", data: { testid: "plot" } });
    this.plotNote = el("p", { class: "empty", text: "Drawing …" });
    this.rows = el("tbody", { data: { testid: "replay-events" } });
    this.player = new Player({ video, events: this.ownRepetitions(), onTime: (time) => this.follow(time) });
    this.box.replaceChildren(
      this.head(view, this.exports(view, base)),
      ...(view.notes ?? result.notes ?? []).map((note) => el("p", { class: "note" }, icon("info"), el("span", { text: note }))),
      el(
        "div",
        { class: "replay-grid" },
        el("section", { class: "card player", "aria-label": "Recording" }, this.player.element),
        el("section", { class: "card reps", "aria-label": "Repetitions" }, this.repsHead(result), el("div", { class: "table-box", tabindex: "0", role: "region", "aria-label": "Events" }, table(this.rows))),
        el("section", { class: "card plot-card", "aria-label": "Joint angles" }, el("header", { class: "card-head" }, el("h2", { text: "Joint angles" }), legend()), el("div", { class: "plot-box" }, this.plot, this.cursor, this.plotNote)),
      ),
    );
    this.showRows();
    await Promise.all([this.loadVideo(video, base, turn), this.loadPlot(base, profile, turn)]);
  }

  ownRepetitions() {
    return this.events.filter((e) => isRepetition(e) && (this.person === null || e.track_id === this.person));
  }

  repsHead(result) {
    const own = this.ownRepetitions();
    const s = summaryOf(own);
    const facts = [];
    if (s.range_deg !== null) facts.push(["Mean range", `${Math.round(s.range_deg)}°`]);
    if (s.duration_s !== null) facts.push(["Per repetition", `${s.duration_s.toFixed(1)} s`]);
    if (s.steadiness !== null) facts.push(["Even tempo", `${Math.round(s.steadiness * 100)} %`]);
    if (s.partial) facts.push(["Partial", String(s.partial)]);
    const people = (result.people ?? []).map((p) => p.track_id);
    const chips =
      people.length > 1
        ? el("div", { class: "person-chips", role: "group", "aria-label": "Person" }, ...people.map((p) => el("button", { type: "button", class: "pick-person", "aria-pressed": String(p === this.person), data: { testid: "person-chip" }, text: `Person ${p}`, on: { click: () => this.selectPerson(p, result) } })))
        : null;
    this.summaryBox = el(
      "div",
      { class: "reps-head" },
      el("div", { class: "big" }, el("strong", { text: String(s.count), data: { testid: "replay-count" } }), el("span", { text: s.count === 1 ? "repetition" : "repetitions" })),
      el("dl", { class: "facts-list" }, ...facts.map(([name, value]) => el("div", {}, el("dt", { text: name }), el("dd", { text: value })))),
      chips,
    );
    return this.summaryBox;
  }

  async selectPerson(person, result) {
    this.person = person;
    this.summaryBox.replaceWith(this.repsHead(result));
    this.player.setEvents(this.ownRepetitions());
    this.showRows();
    await this.redrawPlot();
  }

  showRows() {
    const several = this.person !== null && new Set(this.events.map((e) => e.track_id).filter((t) => t >= 0)).size > 1;
    this.rowEvents = this.events.filter((e) => this.person === null || e.track_id === this.person || e.track_id === -1);
    this.rows.replaceChildren(...this.rowEvents.map((e) => rowOf(e, { several: several && this.person === null, onOpen: (event) => this.player.seek(event.start_s) })));
    if (this.rowEvents.length === 0) this.rows.replaceChildren(el("tr", {}, el("td", { colspan: "5", class: "empty", text: "Nothing was counted in this recording." })));
  }

  exports(view, base) {
    const stem = fileStem(view.name || view.id);
    const item = (label, testid, path, name) => el("button", { type: "button", class: "menu-item", data: { testid }, on: { click: (event) => this.export(event.currentTarget, path, name) } }, icon("down"), el("span", { text: label }));
    const csv = el("button", { type: "button", class: "menu-item", data: { testid: "export-events" }, on: { click: () => saveAs(new Blob([eventsCsv(this.events)], { type: "text/csv" }), `${stem}-events.csv`) } }, icon("down"), el("span", { text: "Events (CSV)" }));
    this.exportProblem = el("p", { class: "problem", role: "alert", hidden: true });
    return el(
      "div",
      { class: "head-actions" },
      el(
        "details",
        { class: "menu" },
        el("summary", { class: "secondary", data: { testid: "export" } }, icon("down"), el("span", { text: "Export" })),
        el(
          "div",
          { class: "menu-items card" },
          item("Video with overlay (MP4)", "export-video", `${base}/video`, `${stem}-overlay.mp4`),
          item("Plot (PNG)", "export-plot", `${base}/plot`, `${stem}-angles.png`),
          csv,
          item("Angles (CSV)", "export-csv", `${base}/series?format=csv`, `${stem}-series.csv`),
          item("All series (Parquet)", "export-parquet", `${base}/series?format=parquet`, `${stem}-series.parquet`),
          item("Result (JSON)", "export-result", `${base}/result`, `${stem}-result.json`),
          item("Range of motion (PNG)", "export-range", `${base}/drawings/range`, `${stem}-range.png`),
          item("Form by repetition (PNG)", "export-form", `${base}/drawings/form`, `${stem}-form.png`),
          item("Keypoints (COCO)", "export-coco", `${base}/export?format=coco`, `${stem}-coco.json`),
          item("Angles (OpenSim)", "export-opensim", `${base}/export?format=opensim-mot`, `${stem}-angles.mot`),
          item("Markers (OpenSim)", "export-trc", `${base}/export?format=trc`, `${stem}-markers.trc`),
          this.exportProblem,
        ),
      ),
      this.deleteButton(view, "Delete"),
    );
  }

  /** Fetched rather than linked, because a link cannot carry the token. */
  async export(button, path, name) {
    button.disabled = true;
    this.exportProblem.hidden = true;
    try {
      saveAs(await (await call(path)).blob(), name);
    } catch (error) {
      this.exportProblem.hidden = false;
      setText(this.exportProblem, error.told ?? error.message);
    } finally {
      button.disabled = false;
    }
  }

  async loadVideo(video, base, turn) {
    try {
      if (token() === null) {
        video.src = `${base}/video`;
        return;
      }
      const blob = await (await call(`${base}/video`)).blob();
      if (turn !== this.turn) return;
      this.videoUrl = URL.createObjectURL(blob);
      video.src = this.videoUrl;
    } catch (error) {
      if (turn === this.turn) this.player.tellProblem(error.told ?? error.message);
    }
  }

  async loadPlot(base, profile, turn) {
    if (this.person === null) {
      setText(this.plotNote, "Nobody was found in this recording.");
      return;
    }
    try {
      const joints = jointsOf(profile);
      const names = joints.flatMap((joint) => [`left_${joint}_deg`, `right_${joint}_deg`]);
      const columns = ["timestamp_s", "track_id", ...names].join(",");
      const answer = await get(`${base}/series?format=json&columns=${encodeURIComponent(columns)}`);
      if (turn !== this.turn) return;
      this.series = { columns: answer.columns, names };
      await this.redrawPlot();
    } catch (error) {
      if (turn !== this.turn) return;
      this.plotNote.hidden = false;
      setText(this.plotNote, error.told ?? error.message);
    }
  }

  async redrawPlot() {
    if (!this.series) return;
    const { columns, names } = this.series;
    const rows = (columns.track_id ?? []).flatMap((t, i) => (this.person === null || t === this.person ? [i] : []));
    const times = rows.map((i) => columns.timestamp_s[i]);
    const lines = names.map((name) => ({ name, joint: jointOf(name), side: sideOf(name), values: rows.map((i) => columns[name][i]) }));
    const filled = lines.filter((line) => line.values.some((v) => v !== null));
    const joints = [...new Set(filled.map((line) => line.joint))];
    this.plotNote.hidden = joints.length > 0;
    setText(this.plotNote, "No joint angle could be measured.");
    this.plot.hidden = joints.length === 0;
    if (joints.length === 0) return;
    await drawPlot(this.plot, { times, lines: filled, joints, events: this.ownRepetitions() }, (time) => this.player?.seek(time), () => this.follow(this.player?.time ?? 0));
    this.follow(this.player?.time ?? 0);
  }

  /** Keep the cursor of the plot and the marked row with the video. */
  follow(time) {
    if (!this.plot) return;
    const x = this.plot.data ? positionOf(this.plot, time) : null;
    this.cursor.hidden = x === null;
    if (x !== null) this.cursor.style.transform = `translateX(${x}px)`;
    const at = this.rowEvents.findIndex((e) => isRepetition(e) && time >= e.start_s - 0.05 && time < e.end_s);
    [...this.rows.children].forEach((row, i) => (i === at ? row.setAttribute("aria-current", "true") : row.removeAttribute("aria-current")));
  }

  onKey(event) {
    return this.player?.onKey(event) ?? false;
  }

  repaint() {
    this.redrawPlot();
  }
}

/** Who the session is about: most repetitions, then most frames; null when nobody was found. */
function mainPerson(result) {
  const people = [...(result.people ?? [])];
  people.sort((a, b) => b.repetitions - a.repetitions || (b.holds ?? 0) - (a.holds ?? 0) || b.frames - a.frames);
  return people[0]?.track_id ?? null;
}

function table(body) {
  const heads = [["Time"], ["What"], ["Down", "n"], ["Up", "n"], ["Range", "n"]];
  return el("table", {}, el("thead", {}, el("tr", {}, ...heads.map(([text, kind]) => el("th", { scope: "col", text, class: kind ?? null })))), body);
}

function legend() {
  return el("ul", { class: "legend" }, el("li", { class: "left", text: "Left" }), el("li", { class: "right", text: "Right" }), el("li", { class: "rep", text: "Repetition" }));
}
