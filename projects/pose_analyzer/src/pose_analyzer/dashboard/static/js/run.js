// One run of a stream as the page knows it: people, angles, events, counts. No drawing happens here.

import { EventLog } from "./event-log.js";
import { Health } from "./health.js";
import { AngleHistory } from "./series.js";

// A person out of sight this long no longer has a chip, seconds of the media clock.
const KEEP_S = 4;

/** The state of one run, fed with messages. */
export class Run {
  constructor() {
    this.log = new EventLog();
    this.reset(null);
  }

  reset(id) {
    this.id = id;
    this.log.clear();
    this.histories = new Map();
    this.health = new Health();
    this.seenAt = new Map();
    this.repetitions = new Map();
    this.holdStart = new Map();
    this.frame = null;
    this.time = -Infinity;
    this.selected = null;
    this.picked = false;
    this.emptySince = null;
  }

  /**
   * Take in a greeting. A stream that has started anew since the last one begins from nothing.
   * @returns {boolean} whether it is another run than before
   */
  greet(hello) {
    // A page's own pictures begin a new run with each greeting; other streams are known by when they were made.
    const isOwn = hello.stream.kind === "push";
    const id = `${hello.stream.id}|${hello.stream.created_at}`;
    const isNew = isOwn || id !== this.id;
    if (isNew) this.reset(id);
    this.stream = hello.stream;
    this.skeleton = hello.skeleton;
    this.exercise = hello.exercise;
    this.log.add(hello.history?.events);
    for (const [track, rows] of samplesOf(hello.history?.series)) {
      for (const [time, angles] of rows) this.historyOf(track).push(time, angles);
    }
    return isNew;
  }

  /**
   * Take in a measured picture.
   * @param {object} message of type frame
   * @param {number} now seconds of a clock that only grows
   * @returns {{fresh: object[], isNew: boolean}} events not known before, and whether the picture is newer than the last
   */
  take(message, now) {
    this.health.note(now, message);
    const fresh = this.log.add(message.events);
    // A camera that was lost may come back with a clock that begins again.
    if (message.timestamp_s < this.time - 1) this.restartClock();
    const isNew = message.timestamp_s > this.time;
    if (isNew) {
      this.time = message.timestamp_s;
      this.frame = message;
      for (const person of message.people) this.see(person);
      this.forgetAbsent();
      this.choose();
      this.emptySince = message.people.length === 0 ? (this.emptySince ?? now) : null;
    }
    return { fresh, isNew };
  }

  restartClock() {
    this.time = -Infinity;
    this.histories.clear();
    this.seenAt.clear();
    this.holdStart.clear();
  }

  see(person) {
    if (person.track_id < 0) return;
    this.seenAt.set(person.track_id, this.time);
    this.historyOf(person.track_id).push(this.time, person.angles ?? {});
    if (!person.repetition) return;
    this.repetitions.set(person.track_id, person.repetition);
    if (person.repetition.phase === "hold") {
      if (!this.holdStart.has(person.track_id)) this.holdStart.set(person.track_id, this.time);
    } else this.holdStart.delete(person.track_id);
  }

  historyOf(trackId) {
    if (!this.histories.has(trackId)) this.histories.set(trackId, new AngleHistory());
    return this.histories.get(trackId);
  }

  forgetAbsent() {
    for (const [track, time] of this.seenAt) {
      if (this.time - time > KEEP_S && track !== this.selected) this.seenAt.delete(track);
    }
  }

  /** Keep looking at the chosen person; else at who has most repetitions, then at the largest. */
  choose() {
    if (this.selected !== null && this.time - (this.seenAt.get(this.selected) ?? -Infinity) <= KEEP_S) return;
    const people = (this.frame?.people ?? []).filter((p) => p.track_id >= 0);
    if (people.length === 0) return;
    const size = (p) => (p.box[2] - p.box[0]) * (p.box[3] - p.box[1]) || 0;
    const best = people.reduce((a, b) => {
      const more = (b.repetition?.count ?? 0) - (a.repetition?.count ?? 0);
      return more > 0 || (more === 0 && size(b) > size(a)) ? b : a;
    });
    this.selected = best.track_id;
    this.picked = false;
  }

  select(trackId) {
    this.selected = trackId;
    this.picked = true;
  }

  /** Track ids with a chip, in order. */
  get people() {
    return [...this.seenAt.keys()].sort((a, b) => a - b);
  }

  /** The person who is looked at, as in the last picture; null when out of sight. */
  get person() {
    return this.frame?.people.find((p) => p.track_id === this.selected) ?? null;
  }

  get repetition() {
    return this.person?.repetition ?? this.repetitions.get(this.selected) ?? null;
  }

  /** Seconds that a hold has lasted so far. */
  get held() {
    const start = this.holdStart.get(this.selected);
    return start === undefined ? 0 : this.time - start;
  }
}

/** Track id and its [time, angles] rows out of the history of a greeting. */
function* samplesOf(series) {
  for (const [track, own] of Object.entries(series ?? {})) {
    const times = own.timestamp_s ?? [];
    const names = Object.keys(own.angles ?? {});
    yield [Number(track), times.map((time, i) => [time, Object.fromEntries(names.map((n) => [n, own.angles[n][i]]))])];
  }
}
