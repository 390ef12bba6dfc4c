// What a set was like: tempo and range of repetitions, out of the events that tell them.

const REPETITIONS = new Set(["rep_completed", "rep_partial", "rep_abandoned", "hold_completed"]);

/** Whether an event ends a repetition or a hold. */
export function isRepetition(event) {
  return REPETITIONS.has(event.type);
}

/** Whether an event tells somebody what to do better. */
export function isAdvice(event) {
  return event.type === "form_deviation" || event.type === "camera_misplaced";
}

/** Whether an event counts. */
export function counts(event) {
  return event.type === "rep_completed" || event.type === "hold_completed";
}

/** Times and range of one repetition; null where the event does not tell. */
export function tempoOf(event) {
  const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);
  const data = event.data ?? {};
  return {
    down_s: number(data.eccentric_s),
    pause_s: number(data.pause_s),
    up_s: number(data.concentric_s),
    range_deg: number(data.range_deg),
    form: number(data.form_score),
    duration_s: event.end_s - event.start_s,
  };
}

/** The number that an event gives its repetition; null for one that does not count. */
export function ordinalOf(event) {
  if (event.type === "hold_completed") return event.data?.ordinal ?? null;
  return event.type === "rep_completed" && typeof event.value === "number" ? event.value : null;
}

/**
 * A set in numbers.
 * @param {object[]} events of one person, oldest first
 * @returns {{count: number, form: number|null, partial: number, last: object|null, range_deg: number|null, duration_s: number|null, steadiness: number|null}}
 *   means over what counted; steadiness is 1 minus the coefficient of variation of the durations
 */
export function summaryOf(events) {
  const counted = events.filter(counts).map(tempoOf);
  const mean = (values) => (values.length ? values.reduce((sum, v) => sum + v, 0) / values.length : null);
  const ranges = counted.map((t) => t.range_deg).filter((v) => v !== null);
  const durations = counted.map((t) => t.duration_s);
  const typical = mean(durations);
  let steadiness = null;
  if (durations.length >= 3 && typical > 0) {
    const variance = mean(durations.map((d) => (d - typical) ** 2));
    steadiness = Math.max(0, 1 - Math.sqrt(variance) / typical);
  }
  return {
    count: counted.length,
    form: mean(events.filter(counts).map((e) => tempoOf(e).form).filter((v) => v !== null)),
    partial: events.filter((e) => e.type === "rep_partial").length,
    last: counted.at(-1) ?? null,
    range_deg: mean(ranges),
    duration_s: typical,
    steadiness,
  };
}

/** One sentence about an event, for those who hear the page. */
export function sentenceOf(event) {
  const tempo = tempoOf(event);
  const range = tempo.range_deg === null ? "" : `, range ${Math.round(tempo.range_deg)} degrees`;
  const number = ordinalOf(event);
  if (event.type === "rep_completed") return `Repetition ${number ?? ""}, ${tempo.duration_s.toFixed(1)} seconds${range}`;
  if (event.type === "rep_partial") return `Partial repetition${range}`;
  return event.message || event.type.replace(/_/g, " ");
}
