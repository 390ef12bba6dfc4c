// Everything that happened in the run that is shown, each thing once.

const MOST = 500;

/** Which event it is, whatever message brought it. */
export function keyOf(event) {
  return `${event.type}|${event.track_id}|${event.start_s}|${event.end_s}|${event.value}`;
}

/** Events in the order in which they were told. */
export class EventLog {
  constructor() {
    this.clear();
  }

  clear() {
    this.events = [];
    this.keys = new Set();
  }

  /** Take events in; returns those that were not known yet. */
  add(events) {
    const fresh = [];
    for (const event of events ?? []) {
      const key = keyOf(event);
      if (this.keys.has(key)) continue;
      this.keys.add(key);
      this.events.push(event);
      fresh.push(event);
    }
    while (this.events.length > MOST) this.keys.delete(keyOf(this.events.shift()));
    return fresh;
  }

  /** Those of one person, and those that concern nobody in particular. */
  of(trackId) {
    return this.events.filter((e) => e.track_id === trackId || e.track_id === -1);
  }
}
