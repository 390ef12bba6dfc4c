// Choosing what to watch: the row of sources, their dialogs, and the exercise.

import { get, upload } from "../shared/js/api.js";
import { byId, el, icon, setText, showDialog } from "../shared/js/dom.js";
import { AUTO, bytes, title } from "./format.js";
import { recall, remember } from "../shared/js/prefs.js";

const DEMO_EXERCISE = "squat";

/** The exercises that the server knows, in both pickers. */
export class Exercises {
  constructor() {
    this.list = [];
    this.select = byId("exercise");
  }

  async load() {
    this.list = await get("/v1/exercises");
    for (const select of [this.select, byId("upload-exercise")]) {
      const chosen = select.value || recall("exercise", DEMO_EXERCISE);
      const group = (label, kind) => el("optgroup", { label }, ...this.list.filter((e) => e.kind === kind).map((e) => el("option", { value: e.name, text: title(e.name), title: e.description })));
      select.replaceChildren(el("option", { value: AUTO, text: "Recognise it" }), group("Counted", "repetitions"), group("Timed", "hold"), el("option", { value: "", text: "None, angles only" }));
      select.value = chosen === AUTO || this.list.some((e) => e.name === chosen) ? chosen : "";
    }
  }

  get chosen() {
    return this.select.value || null;
  }

  show(name) {
    if (name === AUTO || this.list.some((e) => e.name === name)) this.select.value = name;
  }

  kindOf(name) {
    return this.list.find((e) => e.name === name)?.kind ?? "repetitions";
  }

  /** The demo as a source; it squats, so another exercise needs a stream of its own. */
  demoSource(exercise = DEMO_EXERCISE) {
    this.show(exercise ?? "");
    if (!exercise) this.select.value = "";
    const own = exercise === DEMO_EXERCISE ? { id: "demo" } : { spec: { kind: "demo" } };
    return { kind: "demo", label: "Demo athlete", exercise, ...own };
  }
}

/** The row of sources and what its buttons open. */
export class Sources {
  /** @param {{live: object, exercises: Exercises, go: (hash: string) => void}} options */
  constructor({ live, exercises, go }) {
    Object.assign(this, { live, exercises, go });
    for (const button of document.querySelectorAll("[data-source]")) button.addEventListener("click", () => this.choose(button.dataset.source));
    exercises.select.addEventListener("change", () => {
      remember("exercise", exercises.chosen);
      live.changeExercise(exercises.chosen);
    });
    this.uploads = new UploadDialog({ exercises, onDone: (view) => go(`#/sessions/${view.id}`) });
    byId("new-upload").addEventListener("click", () => this.uploads.open());
    this.acceptDrops();
  }

  /** Mark which source is shown. */
  mark(kind) {
    for (const button of document.querySelectorAll("[data-source][aria-pressed]")) {
      button.setAttribute("aria-pressed", String(button.dataset.source === (kind === "stream" ? "rtsp" : kind)));
    }
  }

  choose(kind) {
    const { live, exercises } = this;
    if (kind === "upload") return this.uploads.open();
    if (kind === "sessions") return this.go("#/sessions");
    this.go("#/live");
    if (kind === "demo") return live.start(exercises.demoSource());
    if (kind === "webcam") return live.start({ kind: "webcam", label: "Webcam", exercise: exercises.chosen });
    if (kind === "rtsp") return this.chooseCamera();
    return this.chooseFile();
  }

  async chooseCamera() {
    const running = await get("/v1/streams").then((page) => (page.items ?? page).filter((s) => s.kind === "rtsp" || s.kind === "webcam"), () => []);
    const dialog = byId("camera-dialog");
    byId("camera-running").replaceChildren(
      ...(running.length ? [el("h3", { text: "Running now" })] : []),
      ...running.map((stream) =>
        el(
          "button",
          {
            type: "button",
            class: "pick-row",
            data: { testid: "running-stream" },
            on: {
              click: () => {
                dialog.close("watch");
                this.live.start({ kind: "stream", id: stream.id, label: stream.name || stream.source, exercise: null });
              },
            },
          },
          icon("camera"),
          el("span", { text: stream.name || stream.source }),
          el("small", { text: stream.state }),
        ),
      ),
    );
    if ((await showDialog(dialog)) !== "go") return;
    const address = byId("camera-url").value.trim();
    this.live.start({ kind: "rtsp", label: cameraLabel(address), exercise: this.exercises.chosen, spec: { kind: "rtsp", url: address } });
    byId("camera-url").value = ""; // It may hold a password.
  }

  /** Show the button for files when the server offers some. */
  async findFiles() {
    try {
      const answer = await get("/v1/files", { quiet: true });
      this.files = (answer.items ?? answer).map((f) => (typeof f === "string" ? { name: f } : f));
    } catch {
      this.files = []; // A server without a folder of recordings offers none.
    }
    document.querySelector('[data-source="file"]').hidden = this.files.length === 0;
  }

  async chooseFile() {
    const dialog = byId("file-dialog");
    byId("file-list").replaceChildren(
      ...this.files.map((file) =>
        el(
          "button",
          { type: "button", class: "pick-row", data: { testid: "file-row" }, on: { click: () => dialog.close(`file:${file.name}`) } },
          icon("file"),
          el("span", { text: file.name }),
          file.size_bytes ? el("small", { text: bytes(file.size_bytes) }) : null,
        ),
      ),
    );
    const chosen = await showDialog(dialog);
    if (!chosen.startsWith("file:")) return;
    const name = chosen.slice(5);
    const spec = { kind: "file", name, ...(byId("file-loop").checked ? { loop: true } : {}) };
    this.live.start({ kind: "file", label: name, exercise: this.exercises.chosen, spec });
  }

  /** A recording may be dropped anywhere on the page. */
  acceptDrops() {
    const veil = byId("drop");
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    addEventListener("dragover", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      veil.hidden = document.querySelector("dialog[open]") !== null;
    });
    addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) veil.hidden = true;
    });
    addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      veil.hidden = true;
      this.uploads.open(event.dataTransfer.files[0] ?? null);
    });
  }
}

/** A camera's address as a name: host and path, never user or password. */
export function cameraLabel(address) {
  try {
    const url = new URL(address.replace(/^rtsps?:/i, "http:"));
    return `${url.host}${url.pathname === "/" ? "" : url.pathname}`;
  } catch {
    return "Camera";
  }
}

/** Choosing, sending and watching the sending of a recording. */
class UploadDialog {
  constructor({ exercises, onDone }) {
    Object.assign(this, { exercises, onDone });
    this.dialog = byId("upload-dialog");
    this.file = null;
    this.abort = null;
    byId("upload-input").addEventListener("change", (event) => this.setFile(event.target.files[0] ?? null));
    byId("upload-form").addEventListener("submit", (event) => {
      if (event.submitter?.value !== "go") return;
      event.preventDefault();
      this.send();
    });
    this.dialog.addEventListener("close", () => this.abort?.abort());
    const zone = byId("dropzone");
    for (const type of ["dragenter", "dragover"]) zone.addEventListener(type, () => zone.classList.add("is-over"));
    for (const type of ["dragleave", "drop"]) zone.addEventListener(type, () => zone.classList.remove("is-over"));
  }

  open(file = null) {
    byId("upload-exercise").value = this.exercises.chosen ?? "";
    byId("upload-problem").hidden = true;
    byId("upload-progress-box").hidden = true;
    byId("upload-name").value = "";
    byId("upload-input").value = "";
    this.setFile(file);
    if (!this.dialog.open) showDialog(this.dialog);
  }

  setFile(file) {
    this.file = file;
    setText(byId("upload-file-name"), file ? file.name : "Choose a video or drop it here");
    setText(byId("upload-file-size"), file ? bytes(file.size) : "MP4, MOV, MKV, WebM, AVI");
    byId("dropzone").classList.toggle("has-file", Boolean(file));
    byId("upload-go").disabled = !file;
  }

  async send() {
    const form = new FormData();
    const exercise = byId("upload-exercise").value;
    const name = byId("upload-name").value.trim();
    form.append("file", this.file);
    if (exercise) form.append("exercise", exercise);
    if (name) form.append("name", name);
    this.abort = new AbortController();
    byId("upload-go").disabled = true;
    byId("upload-problem").hidden = true;
    byId("upload-progress-box").hidden = false;
    try {
      const view = await upload("/v1/analyses", form, (sent, total) => this.show(sent, total), this.abort.signal);
      this.abort = null;
      this.dialog.close("done");
      this.onDone(view);
    } catch (error) {
      byId("upload-progress-box").hidden = true;
      byId("upload-go").disabled = false;
      if (error.name === "AbortError") return;
      byId("upload-problem").hidden = false;
      setText(byId("upload-problem"), error.told ?? error.message);
    }
  }

  show(sent, total) {
    const share = total ? sent / total : 0;
    byId("upload-progress").value = share;
    setText(byId("upload-progress-text"), share >= 1 ? "Sent. The server looks at it …" : `Sending ${bytes(sent)} of ${bytes(total)}`);
  }
}
