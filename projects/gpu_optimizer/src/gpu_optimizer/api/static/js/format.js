// Numbers as people read them.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** Bytes with three digits; a dash when there are none. */
export function bytes(count) {
  if (typeof count !== "number" || !Number.isFinite(count)) return "–";
  const size = Math.abs(count);
  const step = size < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(size) / 10));
  const value = count / 1024 ** step;
  const digits = step === 0 || Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${UNITS[step]}`;
}

/** A share as percent. */
export function percent(ratio, digits = 0) {
  return typeof ratio === "number" && Number.isFinite(ratio) ? `${(ratio * 100).toFixed(digits)} %` : "–";
}

/** A count with its thousand, million or billion. */
export function count(value) {
  if (typeof value !== "number" || !Number.isFinite(value)) return "–";
  for (const [size, unit] of [[1e12, " T"], [1e9, " G"], [1e6, " M"], [1e3, " k"]]) {
    if (Math.abs(value) >= size) return `${(value / size).toPrecision(3)}${unit}`;
  }
  return String(value);
}

/** A number of operations; a dash where none were counted. */
export function operations(value) {
  return value > 0 ? `${count(value)}${value < 1e3 ? " " : ""}FLOP` : "–";
}

/** A price in dollars: cents, or four digits where that says nothing. */
export function usd(value) {
  if (typeof value !== "number" || !Number.isFinite(value)) return "–";
  return value >= 0.1 ? value.toFixed(2) : value.toPrecision(2);
}

/** Seconds in the unit that fits. */
export function duration(seconds) {
  if (typeof seconds !== "number" || !Number.isFinite(seconds)) return "–";
  for (const [size, unit] of [[1, "s"], [1e-3, "ms"]]) if (seconds >= size) return `${(seconds / size).toPrecision(3)} ${unit}`;
  return seconds === 0 ? "0 s" : `${(seconds * 1e6).toPrecision(3)} µs`;
}

/** An identifier as words: `optimizer_state` is "optimizer state". */
export function words(identifier) {
  return String(identifier ?? "").replace(/_/g, " ");
}

/** Round steps for an axis: at most `most` of them up to `top`. */
export function ticks(top, most = 5) {
  if (!(top > 0)) return [0];
  const rough = top / most;
  const base = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((f) => f * base).find((s) => s >= rough) ?? rough;
  return Array.from({ length: Math.floor(top / step + 1e-9) + 1 }, (_, i) => i * step);
}
