// A memory snapshot: upload, sums, the map of segments, who holds what, and what to change.

import { sendFile } from "../shared/js/api.js";
import { byId, el, showProblem } from "../shared/js/dom.js";
import { legend, tableCard } from "./cards.js";
import { drawSegments } from "./chart.js";
import { bytes, percent } from "./format.js";
import { follow } from "./jobs.js";

let redraw = () => {};

/** Make the view work. */
export function startSnapshots() {
  const [zone, input] = [byId("dropzone"), byId("snapshot-file")];
  input.addEventListener("change", () => input.files[0] && run(input.files[0]));
  for (const type of ["dragenter", "dragover"]) zone.addEventListener(type, (e) => (e.preventDefault(), zone.classList.add("over")));
  for (const type of ["dragleave", "drop"]) zone.addEventListener(type, () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files[0]) run(event.dataTransfer.files[0]);
  });
  addEventListener("resize", () => redraw());
}

/** Draw again, when the view is shown or the theme changes. */
export function refreshSnapshots() {
  redraw();
}

async function run(file) {
  showProblem(byId("snapshot-problem"), null);
  try {
    const job = await sendFile(`/v1/snapshots?name=${encodeURIComponent(file.name.slice(0, 200))}`, file);
    const result = await follow(`/v1/snapshots/${job.id}`, byId("snapshot-job"));
    if (result) show(result, file.name);
  } catch (error) {
    showProblem(byId("snapshot-problem"), error);
  } finally {
    byId("snapshot-file").value = "";
  }
}

function show(report, name) {
  const figures = [
    ["Reserved", bytes(report.reserved_bytes), name],
    ["Held by tensors", bytes(report.allocated_bytes), percent(report.allocated_bytes / report.reserved_bytes)],
    ["Largest free block", bytes(report.largest_free_bytes), `of ${bytes(report.free_bytes)} free`],
    ["Fragmentation", percent(report.fragmentation_ratio), `${bytes(report.inactive_split_bytes)} cannot be given back`],
  ];
  const canvas = el("canvas", { class: "chart", role: "img", "data-testid": "segments", "aria-label": `Map of ${report.segments.length} segments; the tables below say the same.` });
  redraw = () => canvas.offsetWidth && drawSegments(canvas, report.segments);
  byId("snapshot-result").replaceChildren(
    el("div", { class: "tiles small" }, ...figures.map(([title, figure, fact]) => el("article", { class: "card tile" }, el("h3", { text: title }), el("div", { class: "figure", text: figure }), el("div", { class: "facts" }, el("span", { text: fact }))))),
    advice(report.advice),
    el("section", { class: "card" }, el("header", { class: "card-head" }, el("h2", { text: report.segments_left_out ? `The ${report.segments.length} largest segments` : "Segments" }), legend([["in use", 0], ["waiting for a stream", 2], ["free", 7]])), canvas),
    tableCard(
      "Pools",
      [["Pool", "path", (p) => p.name], ["Segments", "n", (p) => String(p.segments)], ["Reserved", "n", (p) => bytes(p.reserved_bytes)], ["In use", "n", (p) => bytes(p.active_bytes)], ["Largest free", "n", (p) => bytes(p.largest_free_bytes)], ["Fragmentation", "n", (p) => percent(p.fragmentation_ratio)]],
      report.pools,
      "pools",
    ),
    tableCard("Who holds it", [["Where", "path", (h) => h.where], ["Blocks", "n", (h) => String(h.blocks)], ["Bytes", "n", (h) => bytes(h.size_bytes)]], report.holders, "holders"),
  );
  redraw();
}

function advice(rows) {
  const items = rows.map((row) => el("li", {}, el("strong", { text: row.title }), row.gain_bytes ? el("span", { class: "gain", text: `about ${bytes(row.gain_bytes)} less reserved` }) : null, el("span", { text: row.reason }), row.setting ? el("code", { text: row.setting }) : null));
  return el("section", { class: "card", "data-testid": "advice" }, el("header", { class: "card-head" }, el("h2", { text: "What to change" })), items.length ? el("ul", { class: "advice" }, ...items) : el("p", { class: "empty", text: "Nothing stands out." }));
}
