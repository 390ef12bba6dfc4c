// Which joints of whom are shown in warning colours: what the last form events named, for a while.

const KEEP_S = 5;

/** Keeps what form feedback names, by person. */
export class Feedback {
  constructor() {
    this.clear();
  }

  clear() {
    this.active = [];
  }

  /**
   * Take in an event; only those about form count.
   * @param {object} event
   * @param {number} now seconds of a clock that only grows
   */
  take(event, now) {
    const keypoints = event.data?.keypoints;
    if (event.type !== "form_deviation" || !Array.isArray(keypoints) || keypoints.length === 0) return;
    this.active = this.active.filter((m) => m.until > now);
    this.active.push({ track: event.track_id, keypoints, until: now + KEEP_S });
  }

  /**
   * What to colour now.
   * @param {number} now
   * @returns {Map<number, Set<string>>} track id -> names of keypoints
   */
  marks(now) {
    const marks = new Map();
    for (const { track, keypoints, until } of this.active) {
      if (until <= now) continue;
      const names = marks.get(track) ?? new Set();
      for (const name of keypoints) names.add(name);
      marks.set(track, names);
    }
    return marks;
  }
}
