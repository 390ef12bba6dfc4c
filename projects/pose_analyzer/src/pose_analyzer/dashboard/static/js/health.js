// How the stream fares: told as one state with its reason.

const WINDOW_S = 3;

/** Watches the last seconds of messages and says when measuring falls behind, and why. */
export class Health {
  constructor() {
    this.samples = [];
    this.slow = null;
    this.slowSince = null;
    this.fineSince = null;
  }

  /**
   * Note a message.
   * @param {number} now seconds of a clock that only grows
   * @param {{skipped?: number, age_s?: number|null, fps?: number|null}} message
   */
  note(now, message) {
    this.samples.push({ now, skipped: message.skipped ?? 0, age: message.age_s ?? null });
    while (this.samples.length > 0 && this.samples[0].now < now - WINDOW_S) this.samples.shift();
    this.judge(now);
  }

  judge(now) {
    const reason = this.reason();
    if (reason) {
      this.fineSince = null;
      this.slowSince ??= now;
      // Two seconds of it, so that one hiccup does not flash.
      if (now - this.slowSince >= 2 || this.slow) this.slow = reason;
    } else {
      this.slowSince = null;
      this.fineSince ??= now;
      if (now - this.fineSince >= 2) this.slow = null;
    }
  }

  reason() {
    const n = this.samples.length;
    if (n < 4) return null;
    const span = this.samples[n - 1].now - this.samples[0].now;
    if (span < 1) return null;
    const rate = (n - 1) / span;
    const skipped = this.samples.reduce((sum, s) => sum + s.skipped, 0);
    const share = skipped / (skipped + n);
    const ages = this.samples.map((s) => s.age).filter((a) => a !== null).sort((a, b) => a - b);
    const age = ages.length ? ages[Math.floor(ages.length / 2)] : 0;
    if (age > 0.6) return `results arrive ${age.toFixed(1)} s late`;
    if (share > 0.3) return `${Math.round(share * 100)} % of the pictures are skipped`;
    if (rate < 8) return `only ${rate.toFixed(0)} pictures per second`;
    return null;
  }

  /** Messages per second over the window. */
  get rate() {
    const n = this.samples.length;
    return n < 2 ? 0 : (n - 1) / Math.max(this.samples[n - 1].now - this.samples[0].now, 1e-3);
  }
}

/**
 * The one state that the page shows.
 * @param {{link: object, stream: object|null, people: number, emptyFor: number, slow: string|null, seen: boolean, now: number}} facts
 *   `link` is {kind: "idle"|"connecting"|"open"|"waiting"|"closed"|"failed", retryAt?, reason?}, `stream` {state, reason}
 * @returns {{key: string, label: string, detail: string}}
 */
export function describe({ link, stream, people, emptyFor, slow, seen, now }) {
  const kind = stream?.state ?? null;
  if (link.kind === "failed") return { key: "error", label: "Problem", detail: link.reason ?? "" };
  if (kind === "finished") return { key: "finished", label: "Finished", detail: stream.reason || "The recording has ended." };
  if (kind === "stopped") return { key: "finished", label: "Stopped", detail: stream.reason || "This stream was stopped." };
  if (kind === "failed") return { key: "error", label: "Problem", detail: stream.reason || "The source cannot be read." };
  if (link.kind === "idle") return { key: "idle", label: "Ready", detail: "Choose a source." };
  if (link.kind === "waiting") {
    const left = Math.max(0, Math.ceil((link.retryAt ?? now) - now));
    return { key: "lost", label: "Lost", detail: `The server does not answer. ${left > 0 ? `Next try in ${left} s.` : "Trying now …"}` };
  }
  if (kind === "lost") return { key: "lost", label: "Camera lost", detail: stream.reason || "The server keeps trying to reach it." };
  if (link.kind === "connecting") return { key: "connecting", label: "Connecting", detail: link.reason ?? "Reaching the source …" };
  if (!seen) return { key: "connecting", label: "Connecting", detail: "Waiting for the first picture …" };
  if (slow) return { key: "slow", label: "Too slow", detail: `Measuring falls behind: ${slow}.` };
  if (people === 0 && emptyFor > 1) return { key: "nobody", label: "No person", detail: "Step into the picture, head to feet." };
  return { key: "live", label: "Live", detail: "" };
}
