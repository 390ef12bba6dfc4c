// When to try again: waits that double, with chance in them so that many pages do not knock at once.

/** Waits between tries: from `least` doubling to `most`, each between half and all of it. */
export class Backoff {
  /**
   * @param {{least?: number, most?: number, random?: () => number}} options seconds, and a source of chance in 0..1
   */
  constructor({ least = 0.5, most = 15, random = Math.random } = {}) {
    this.least = least;
    this.most = most;
    this.random = random;
    this.attempt = 0;
  }

  /** Seconds to wait before the next try. */
  next() {
    const whole = Math.min(this.most, this.least * 2 ** this.attempt);
    this.attempt += 1;
    return whole * (0.5 + 0.5 * this.random());
  }

  /** Forget the failures, after a success. */
  reset() {
    this.attempt = 0;
  }
}
