// Events as rows, newest first.

import { byId, el } from "../shared/js/dom.js";
import { fineClock, number, title } from "./format.js";
import { isAdvice, ordinalOf, tempoOf } from "./tempo.js";

const MOST_ROWS = 200;
const KINDS = {
  rep_completed: ["good", "Repetition"],
  hold_completed: ["good", "Hold"],
  rep_partial: ["warn", "Partial repetition"],
  rep_abandoned: ["warn", "Abandoned repetition"],
  form_deviation: ["warn", "Form"],
  camera_misplaced: ["warn", "Camera"],
  exercise_recognized: ["good", "Recognised"],
  stream_lost: ["bad", "Camera lost"],
  stream_resumed: ["good", "Camera is back"],
  source_damaged: ["bad", "Recording damaged"],
};

/** Which people's events are told: with several people, a repetition says whose it is. */
function whatOf(event, several) {
  const [, words] = KINDS[event.type] ?? ["", event.type.replace(/_/g, " ")];
  const ordinal = ordinalOf(event);
  const who = event.track_id >= 0 && several ? ` · person ${event.track_id}` : "";
  if (event.type === "exercise_recognized") return `${title(event.data?.exercise)}${who}`;
  if (event.type === "person_entered") return `Person ${event.track_id} in view`;
  if (event.type === "person_left") return `Person ${event.track_id} left`;
  if (event.type === "hold_completed") return `Hold of ${number(event.value, 1)} s${who}`;
  if (isAdvice(event)) return `${event.message || words}${who}`;
  return `${words}${ordinal === null ? "" : `\u00a0${ordinal}`}${who}`;
}

/** One row. */
export function rowOf(event, { several = false, onOpen = null } = {}) {
  const tempo = tempoOf(event);
  const what = whatOf(event, several);
  const label = el("span", { class: "what" }, el("i", { "aria-hidden": "true" }), onOpen ? el("button", { type: "button", class: "jump", text: what, on: { click: () => onOpen(event) } }) : el("span", { text: what }));
  const figures = isAdvice(event)
    ? [el("td", { colspan: "4" }, label)] // a sentence has no tempo, and needs the room
    : [
        el("td", {}, label),
        el("td", { class: "n", text: number(tempo.down_s, 1) }),
        el("td", { class: "n", text: number(tempo.up_s, 1) }),
        el("td", { class: "n", text: number(tempo.range_deg, 0, "°") }),
      ];
  return el(
    "tr",
    { data: { testid: "event-row", kind: KINDS[event.type]?.[0] ?? "", type: event.type }, title: event.message || null },
    el("td", { text: fineClock(event.end_s) }),
    ...figures,
  );
}

/** The live table. */
export class EventsTable {
  constructor() {
    this.body = byId("events");
    this.empty = byId("events-empty");
  }

  /** Show these and no others. @param {object[]} events oldest first */
  reset(events, several) {
    this.body.replaceChildren(...events.slice(-MOST_ROWS).reverse().map((e) => rowOf(e, { several })));
    this.empty.hidden = events.length > 0;
  }

  /** Add some on top. */
  add(events, several) {
    for (const event of events) {
      const row = rowOf(event, { several });
      row.classList.add("is-new");
      this.body.prepend(row);
    }
    while (this.body.children.length > MOST_ROWS) this.body.lastElementChild.remove();
    this.empty.hidden = this.body.children.length > 0;
  }
}
