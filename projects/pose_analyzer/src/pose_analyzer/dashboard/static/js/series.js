// What was measured lately: angle samples of the last seconds, in rings of fixed size.

/** Samples over time in a ring: the newest push out the oldest. NaN is a gap. */
export class Ring {
  /** @param {number} capacity most samples kept */
  constructor(capacity) {
    this.times = new Float64Array(capacity);
    this.values = new Float64Array(capacity);
    this.capacity = capacity;
    this.clear();
  }

  clear() {
    this.start = 0;
    this.length = 0;
  }

  /** Add a sample. One that is not later than the last is left out, so that nothing is drawn twice. */
  push(time, value) {
    if (!Number.isFinite(time) || (this.length > 0 && time <= this.lastTime)) return false;
    const at = (this.start + this.length) % this.capacity;
    this.times[at] = time;
    this.values[at] = value ?? NaN;
    if (this.length < this.capacity) this.length += 1;
    else this.start = (this.start + 1) % this.capacity;
    return true;
  }

  get lastTime() {
    return this.length === 0 ? -Infinity : this.times[(this.start + this.length - 1) % this.capacity];
  }

  get lastValue() {
    return this.length === 0 ? NaN : this.values[(this.start + this.length - 1) % this.capacity];
  }

  /** Call `visit(time, value)` for each sample from a time on, oldest first. */
  forEachSince(time, visit) {
    for (let i = 0; i < this.length; i += 1) {
      const at = (this.start + i) % this.capacity;
      if (this.times[at] >= time) visit(this.times[at], this.values[at]);
    }
  }
}

/** The rings of one person, one for each angle. */
export class AngleHistory {
  /** @param {number} capacity samples kept of each angle: 20 s at 60 pictures a second by default */
  constructor(capacity = 1200) {
    this.capacity = capacity;
    this.rings = new Map();
    this.lastTime = -Infinity;
  }

  push(time, angles) {
    if (!(time > this.lastTime)) return false;
    for (const [name, value] of Object.entries(angles)) {
      if (!this.rings.has(name)) this.rings.set(name, new Ring(this.capacity));
      this.rings.get(name).push(time, value);
    }
    this.lastTime = time;
    return true;
  }

  ring(name) {
    return this.rings.get(name) ?? null;
  }
}

/** Least and greatest value since a time over several rings; null when there is none. */
export function rangeOf(rings, since) {
  let low = Infinity;
  let high = -Infinity;
  for (const ring of rings) {
    ring?.forEachSince(since, (_, value) => {
      if (value < low) low = value;
      if (value > high) high = value;
    });
  }
  return low <= high ? { low, high } : null;
}

/** Round limits for an axis that hold the given range and the given marks, in steps of 30 degrees. */
export function axisLimits(range, marks = []) {
  const values = marks.filter((v) => Number.isFinite(v));
  if (range) values.push(range.low, range.high);
  if (values.length === 0) return { low: 0, high: 120 };
  const low = Math.floor((Math.min(...values) - 4) / 30) * 30;
  const high = Math.ceil((Math.max(...values) + 4) / 30) * 30;
  return { low, high: Math.max(high, low + 60) };
}
