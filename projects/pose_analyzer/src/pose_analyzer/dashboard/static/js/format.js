// Numbers and names as people read them.

/** Seconds as 1:05 or 1:02:03. */
export function clock(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const whole = Math.max(0, Math.floor(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n) => String(n).padStart(2, "0");
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** Seconds as 1:05.4, for places within a recording. */
export function fineClock(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const tenths = Math.max(0, Math.round(seconds * 10));
  return `${clock(Math.floor(tenths / 10))}.${tenths % 10}`;
}

/** A number with fixed digits; a dash when there is none. */
export function number(value, digits = 0, unit = "") {
  return typeof value === "number" && Number.isFinite(value) ? `${value.toFixed(digits)}${unit}` : "–";
}

/** A length of time still to wait, in words. */
export function wait(seconds) {
  if (typeof seconds !== "number" || !Number.isFinite(seconds)) return "";
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** Bytes as MB. */
export function bytes(count) {
  return count < 1e6 ? `${Math.max(1, Math.round(count / 1e3))} kB` : `${(count / 1e6).toFixed(count < 1e7 ? 1 : 0)} MB`;
}

/** Instead of an exercise: recognise it. */
export const AUTO = "auto";

/** An identifier as a title: `overhead_press` is "Overhead press". */
export function title(identifier) {
  if (identifier === AUTO) return "Any exercise";
  const words = String(identifier ?? "").replace(/_/g, " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** A time of the server (ISO 8601, UTC) as a date and time of here. */
export function moment(text) {
  const date = new Date(text ?? "");
  if (Number.isNaN(date.getTime())) return "–";
  return date.toLocaleString(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
}

/** A name that is safe as a file's name. */
export function fileStem(name) {
  return (
    String(name ?? "session")
      .replace(/\.[a-z0-9]{1,5}$/i, "")
      .replace(/[^\p{L}\p{N}_-]+/gu, "-")
      .replace(/^-+|-+$/g, "")
      .slice(0, 80) || "session"
  );
}

/** A cell of a CSV file; a text that a spreadsheet would run as a formula is quoted with an apostrophe. */
export function csvCell(value) {
  if (value === null || value === undefined || (typeof value === "number" && !Number.isFinite(value))) return "";
  let text = String(value);
  if (typeof value === "string" && /^[=+\-@\t]/.test(text)) text = `'${text}`;
  return /[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}

const EVENT_COLUMNS = ["type", "track_id", "start_s", "end_s", "value", "unit", "first_frame", "last_frame", "message"];

/** Events as a CSV file, with a column for each number or word they carry. */
export function eventsCsv(events) {
  const plain = (v) => typeof v === "number" || typeof v === "string";
  const extra = [...new Set(events.flatMap((e) => Object.keys(e.data ?? {}).filter((k) => plain(e.data[k]))))].sort();
  const rows = events.map((e) => [
    ...[e.type, e.track_id, e.start_s, e.end_s, e.value, e.unit, e.frames?.[0], e.frames?.at(-1), e.message],
    ...extra.map((key) => e.data?.[key]),
  ]);
  return [[...EVENT_COLUMNS, ...extra], ...rows].map((row) => `${row.map(csvCell).join(",")}\n`).join("");
}
