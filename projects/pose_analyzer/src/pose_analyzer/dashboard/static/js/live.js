// The live view: what arrives of a stream goes to the picture, the numbers, the strips and the table.

import { ApiError, get, openSocket, post, remove, requestToken, token } from "../shared/js/api.js";
import { Cues, Sound, Voice } from "./cues.js";
import { byId, el, icon, saveAs, setText } from "../shared/js/dom.js";
import { EventsTable } from "./events-table.js";
import { Feedback } from "./feedback.js";
import { AUTO, eventsCsv, fileStem, title } from "./format.js";
import { jointOf, jointsOf } from "./geometry.js";
import { describe } from "./health.js";
import { Link } from "./link.js";
import { recall, remember } from "../shared/js/prefs.js";
import { Run } from "./run.js";
import { Score } from "./score.js";
import { Stage } from "./stage.js";
import { Status } from "./status.js";
import { Strips } from "./strips.js";
import { counts, isAdvice, isRepetition, sentenceOf } from "./tempo.js";
import { Webcam, cameraProblem } from "./webcam.js";

const seconds = () => performance.now() / 1000;

/** Runs the live view. */
export class Live {
  /** @param {{exercises: object, onSourceChanged: (kind: string|null) => void}} options */
  constructor({ exercises, onSourceChanged }) {
    Object.assign(this, { exercises, onSourceChanged });
    this.stage = new Stage({ box: byId("stage-box"), picture: byId("picture"), overlay: byId("overlay") });
    this.strips = new Strips(byId("strips"));
    this.score = new Score();
    this.table = new EventsTable();
    this.cues = new Cues(byId("cues"));
    this.sound = new Sound();
    this.voice = new Voice();
    this.feedback = new Feedback();
    this.stage.feedback = this.feedback;
    this.video = byId("webcam-video");
    this.run = new Run();
    this.source = null;
    this.link = { kind: "idle" };
    this.streamState = null;
    this.connection = null;
    this.webcam = null;
    this.owned = null;
    this.turn = 0;
    this.status = new Status({
      again: () => this.source && this.start(this.source),
      demo: () => this.start(exercises.demoSource()),
      retry: () => this.retry(),
    });
    this.stage.labels = recall("labels", true);
    setInterval(() => this.refreshState(), 250);
    addEventListener("online", () => this.retry());
    document.addEventListener("visibilitychange", () => document.hidden || this.retry());
    addEventListener("pagehide", () => this.letGo(true));
    addEventListener("pageshow", (event) => event.persisted && this.source && this.start(this.source));
  }

  // --- choosing a source ---------------------------------------------------------------------------

  /**
   * Show a source.
   * @param {{kind: "demo"|"webcam"|"rtsp"|"file"|"stream", exercise?: string|null, spec?: object, id?: string, label: string}} source
   */
  async start(source) {
    this.turn += 1;
    const turn = this.turn;
    this.letGo(false);
    this.source = source;
    this.clear();
    this.onSourceChanged(source.kind);
    this.link = { kind: "connecting" };
    this.stage.mirror = source.kind === "webcam" && recall("mirror", true);
    this.video.classList.toggle("is-mirrored", this.stage.mirror);
    byId("mirror").setAttribute("aria-pressed", String(this.stage.mirror));
    setText(byId("source-name"), source.label);
    this.refreshState();
    this.profile = await this.profileOf(source.exercise);
    if (turn !== this.turn) return;
    try {
      if (this.profile) this.setExercise({ ...this.profile, kind: this.exercises.kindOf(source.exercise) });
      if (source.kind === "webcam") await this.startWebcam(source);
      else await this.startStream(source, turn);
    } catch (error) {
      if (turn === this.turn) this.fail(source.kind === "webcam" ? cameraProblem(error) : error.told ?? error.message);
    }
  }

  async profileOf(exercise) {
    if (!exercise || exercise === AUTO) return null;
    try {
      return await get(`/v1/exercises/${encodeURIComponent(exercise)}`);
    } catch {
      return null; // The strips then show what the stream itself names.
    }
  }

  async startStream(source, turn) {
    let id = source.id;
    if (!id) {
      const made = await post("/v1/streams", { source: source.spec, exercise: source.exercise ?? null, name: source.label });
      if (turn !== this.turn) {
        remove(`/v1/streams/${made.id}`).catch(() => {});
        return;
      }
      id = made.id;
      this.owned = id;
    }
    const width = Math.min(1280, Math.max(480, Math.ceil((this.stage.overlay.width || 960) / 160) * 160));
    const path = `/v1/streams/${encodeURIComponent(id)}`;
    this.connection = new Link({
      open: () => openSocket(`${path}/live?images=1&width=${width}`),
      probe: () => this.probe(path, source),
      isQuiet: () => this.streamState?.state !== "live" || document.hidden,
      onStatus: (status) => this.onStatus(status),
      onMessage: (message, picture) => this.receive(message, picture),
    });
    this.connection.start();
  }

  async startWebcam(source) {
    this.webcam = new Webcam({
      video: this.video,
      exercise: source.exercise ?? null,
      probe: () => this.probe("/v1/exercises", source),
      onStatus: (status) => this.onStatus(status),
      onMessage: (message, picture) => this.receive(message, picture),
    });
    this.video.hidden = false;
    await this.webcam.start();
    this.connection = this.webcam.link;
  }

  /** Ask why a connection did not open: the browser does not tell. */
  async probe(path, source) {
    const used = token();
    try {
      await get(path, { quiet: true });
      return "retry";
    } catch (error) {
      if (!(error instanceof ApiError) || error.status === 0 || error.status >= 500) return "retry";
      if (error.status === 401) return (await requestToken(true, used)) ? "again" : { fatal: "The server needs a token." };
      if (error.status === 404 && source.spec && source === this.source) {
        // The server has started anew and forgotten the stream that this page had it make.
        this.owned = null;
        const turn = this.turn;
        setTimeout(() => turn === this.turn && this.start(source), 1000);
        return { fatal: "The server has started anew. Opening the source again …" };
      }
      if (error.status !== 404) return { fatal: error.told };
      return { fatal: source.kind === "demo" ? "This server offers no demo. Choose another source." : "This stream no longer exists." };
    }
  }

  /** Stop what this page runs on the server and in the browser. */
  letGo(isLeaving) {
    this.webcam?.close();
    this.connection?.close();
    this.webcam = this.connection = null;
    this.video.hidden = true;
    if (this.owned) remove(`/v1/streams/${this.owned}`, { keepalive: isLeaving, quiet: true }).catch(() => {});
    this.owned = null;
  }

  stop() {
    this.turn += 1;
    this.letGo(false);
    this.link = { kind: "idle" };
    this.streamState = this.source ? { state: "stopped", reason: "You stopped this source." } : null;
    this.onSourceChanged(null);
    this.refreshState();
  }

  retry() {
    if (this.link.kind === "waiting") this.connection?.retryNow();
  }

  fail(reason) {
    this.letGo(false);
    this.link = { kind: "failed", reason };
    this.refreshState();
  }

  /** Measure another exercise with the same source. */
  changeExercise(exercise) {
    if (!this.source || this.source.kind === "stream") return;
    if (this.source.kind === "demo") this.start(this.exercises.demoSource(exercise));
    else this.start({ ...this.source, exercise });
  }

  // --- what arrives --------------------------------------------------------------------------------

  clear() {
    this.run.reset(null);
    this.streamState = null;
    this.stage.clear();
    this.strips.forget();
    this.cues.clear();
    this.feedback.clear();
    this.voice.hush();
    this.table.reset([], false);
    setText(byId("source-facts"), "");
    this.profile = null;
    this.setExercise(this.source?.exercise ? { name: this.source.exercise, kind: this.exercises.kindOf(this.source.exercise) } : null);
  }

  onStatus(status) {
    this.link = status;
    if (status.kind === "open" && this.webcam) this.streamState = { state: "live" };
    if (status.kind === "failed") this.letGo(false);
    this.refreshState();
  }

  receive(message, picture) {
    if (message.type === "hello") this.greet(message);
    else if (message.type === "frame") this.take(message, picture);
    else if (message.type === "state") {
      this.streamState = { state: message.state, reason: message.reason };
      const fresh = this.run.log.add(message.events);
      if (fresh.length) this.tell(fresh);
      this.refreshState();
    } else if (message.type === "error") this.cues.show({ text: message.detail ?? "The server reports a problem.", level: "bad" });
  }

  greet(hello) {
    const isNew = this.run.greet(hello);
    // One's own pictures are live as soon as they may be sent.
    this.streamState = { state: this.webcam ? "live" : hello.stream.state, reason: hello.stream.error };
    this.stage.setSkeleton(hello.skeleton);
    this.setExercise(hello.exercise);
    if (isNew) {
      this.strips.forget();
      this.table.reset(this.run.log.events, false);
    }
    if (!this.source.exercise && hello.exercise) this.adoptExercise(hello.exercise.name);
    this.showPerson();
    this.refreshState();
  }

  async adoptExercise(name) {
    const turn = this.turn;
    const profile = await this.profileOf(name);
    if (turn !== this.turn) return;
    this.profile = profile;
    this.exercises.show(name);
    this.setExercise(this.exercise);
  }

  /** The stream has found out what is done: show that exercise's joints and name; the choice stays "recognise it". */
  async recognise(name) {
    const turn = this.turn;
    const profile = await this.profileOf(name);
    if (turn !== this.turn || !profile) return;
    this.profile = profile;
    this.cues.show({ text: title(name), level: "good" });
    this.setExercise({ ...profile, kind: this.exercises.kindOf(name) });
  }

  setExercise(exercise) {
    this.exercise = exercise;
    const signal = exercise?.signal_angle ? jointOf(exercise.signal_angle) : null;
    this.joints = jointsOf(this.profile, signal);
    const cue = this.profile?.cues?.[0];
    const rest = exercise?.rest_deg ?? cue?.rest_deg;
    const work = exercise?.work_deg ?? cue?.work_deg;
    this.marks = typeof rest === "number" && typeof work === "number" ? { joint: this.joints[0], rest, work } : null;
    this.stage.joints = this.joints;
    this.score.setExercise(exercise);
    this.showPerson();
  }

  take(message, picture) {
    const before = this.run.selected;
    const { fresh, isNew } = this.run.take(message, seconds());
    if (isNew) {
      this.stage.selected = this.run.selected;
      this.stage.show(message, picture);
      this.score.update(this.run.repetition, this.run.held);
      this.showFacts(message);
      this.showStrips();
      byId("stage-box").style.setProperty("--ratio", `${message.width} / ${message.height}`);
      if (this.run.selected !== before) this.showPerson();
      this.showChips();
    } else picture?.close?.();
    if (fresh.length) this.tell(fresh);
    this.refreshState();
  }

  /** Events of now: a row each, and what they make to be heard. Those of earlier are shown, not told. */
  tell(events) {
    this.table.add(events, this.run.people.length > 1);
    for (const event of events) {
      this.cues.fromEvent(event);
      this.feedback.take(event, seconds());
      const isOurs = event.track_id === this.run.selected || this.run.selected === null;
      if (event.type === "exercise_recognized" && isOurs) this.recognise(event.data.exercise);
      if (isAdvice(event) && isOurs) {
        this.sound.warn();
        this.voice.say(event.message);
      }
      if (counts(event) && isOurs) this.sound.tick(event.value);
      if ((isRepetition(event) && isOurs) || isAdvice(event) || event.type.startsWith("stream_")) {
        setText(byId("announcer"), sentenceOf(event));
      }
    }
    this.showPerson();
  }

  // --- showing -------------------------------------------------------------------------------------

  showPerson() {
    const events = this.run.log.of(this.run.selected ?? -2);
    this.score.setEvents(events.filter(isRepetition));
    this.score.update(this.run.repetition, this.run.held);
    this.stage.selected = this.run.selected;
    this.showStrips();
    this.showChips();
  }

  showStrips() {
    this.strips.show({
      history: this.run.histories.get(this.run.selected) ?? null,
      now: this.run.time,
      joints: this.joints ?? jointsOf(null),
      events: this.run.log.of(this.run.selected ?? -2),
      marks: this.marks ?? null,
    });
  }

  showChips() {
    const people = this.run.people;
    const box = byId("people");
    const inView = new Set((this.run.frame?.people ?? []).map((p) => p.track_id));
    const key = people.length > 1 ? people.map((p) => `${p}${inView.has(p)}${p === this.run.selected}${this.run.repetitions.get(p)?.count ?? 0}`).join() : "";
    if (key === this.chipsKey) return;
    this.chipsKey = key;
    if (!key) {
      box.replaceChildren();
      return;
    }
    const hadFocus = box.contains(document.activeElement) ? document.activeElement.dataset.track : null;
    box.replaceChildren(
      ...people.map((track) =>
        el(
          "button",
          {
            type: "button",
            class: inView.has(track) ? "chip" : "chip is-away",
            "aria-pressed": String(track === this.run.selected),
            data: { testid: "person-chip", track: String(track) },
            on: { click: () => this.select(track) },
          },
          icon("person"),
          el("span", { text: `Person ${track} · ${this.run.repetitions.get(track)?.count ?? 0}` }),
        ),
      ),
    );
    if (hadFocus) box.querySelector(`[data-track="${CSS.escape(hadFocus)}"]`)?.focus();
  }

  select(track) {
    this.run.select(track);
    this.strips.limits.clear();
    this.showPerson();
    this.stage.queue();
  }

  nextPerson() {
    const people = this.run.people;
    if (people.length > 1) this.select(people[(people.indexOf(this.run.selected) + 1) % people.length]);
  }

  showFacts(message) {
    const now = seconds();
    if (now - (this.factsAt ?? 0) < 0.5) return;
    this.factsAt = now;
    const facts = [`${Math.round(this.run.health.rate)} fps`];
    if (typeof message.age_s === "number") facts.push(`${Math.round(message.age_s * 1000)} ms behind`);
    facts.push(`${message.width} × ${message.height}`);
    setText(byId("source-facts"), facts.join(" · "));
  }

  refreshState() {
    const now = seconds();
    const state = describe({
      link: this.link,
      stream: this.streamState,
      people: this.run.frame?.people.length ?? 0,
      emptyFor: this.run.emptySince === null ? 0 : now - this.run.emptySince,
      slow: this.run.health.slow,
      seen: this.run.frame !== null,
      now,
    });
    this.status.show(state, {
      kind: this.source?.kind ?? null,
      label: this.source?.label ?? "",
      isWaiting: this.link.kind === "waiting",
      hasSeen: this.run.frame !== null,
      repetitions: [...this.run.repetitions.values()].reduce((sum, r) => sum + r.count, 0),
    });
    byId("stop").disabled = !this.connection && !this.webcam;
  }

  saveEvents() {
    saveAs(new Blob([eventsCsv(this.run.log.events)], { type: "text/csv" }), `${fileStem(this.source?.label ?? "events")}-events.csv`);
  }

  toggleLabels() {
    this.stage.labels = !this.stage.labels;
    remember("labels", this.stage.labels);
    this.stage.queue();
    return this.stage.labels;
  }

  toggleMirror() {
    this.stage.mirror = !this.stage.mirror;
    if (this.webcam) remember("mirror", this.stage.mirror);
    this.video.classList.toggle("is-mirrored", this.stage.mirror);
    this.stage.queue();
    return this.stage.mirror;
  }
}
