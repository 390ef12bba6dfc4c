// What a model would need: a form, a timeline by category, who makes the peak, and every module.

import { get, post } from "../shared/js/api.js";
import { byId, el, showProblem } from "../shared/js/dom.js";
import { legend, tableCard } from "./cards.js";
import { drawStack } from "./chart.js";
import { bytes, count, duration, operations, percent, words } from "./format.js";
import { follow } from "./jobs.js";

const INK = { parameters: 0, gradients: 2, optimizer_state: 3, activations: 1, temporaries: 4, inputs: 5, buffers: 6 };
let redraw = () => {};

/** Make the view work. */
export function startEstimate() {
  const form = byId("estimate-form");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run(form, event.submitter?.value === "plan" ? "plan" : "estimate");
  });
  get("/v1/machines")
    .then((known) => byId("machines").replaceChildren(...known.map((m) => el("option", { value: m.machine, text: `${m.name}, ${bytes(m.memory_bytes)}` }))))
    .catch((error) => showProblem(byId("estimate-problem"), error));
  addEventListener("resize", () => redraw());
  get("/v1/models")
    .then((known) => byId("models").replaceChildren(...known.map(({ model, summary }) => el("option", { value: model, label: summary }))))
    .catch(() => {}); // The field takes any name; the service says what is wrong with it.
}

/** Draw again, when the view is shown or the theme changes. */
export function refreshEstimate() {
  redraw();
}

async function run(form, kind) {
  const fields = new FormData(form);
  const order = { model: fields.get("model").trim(), batch: Number(fields.get("batch")), precision: fields.get("precision"), optimizer: fields.get("optimizer"), target: fields.get("target") };
  if (kind === "plan") Object.assign(order, { budget: fields.get("budget").trim(), machine: fields.get("machine") });
  const buttons = form.querySelectorAll("button");
  for (const button of buttons) button.disabled = true;
  showProblem(byId("estimate-problem"), null);
  try {
    const job = await post(`/v1/${kind}s`, order);
    const result = await follow(`/v1/${kind}s/${job.id}`, byId("estimate-job"));
    if (result && kind === "plan") showPlan(result, order.model);
    else if (result) show(result);
  } catch (error) {
    showProblem(byId("estimate-problem"), error);
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

function show(result) {
  const canvas = el("canvas", { class: "chart", role: "img", "data-testid": "estimate-chart", "aria-label": `Memory over two steps; the peak of ${bytes(result.peak_bytes)} is in ${result.peak_phase}.` });
  const order = Object.keys(INK).filter((name) => result.timeline.categories[name]);
  const categories = Object.fromEntries(order.map((name) => [name, result.timeline.categories[name]]));
  redraw = () => canvas.offsetWidth && drawStack(canvas, { ...result.timeline, categories, ink: INK, peak: result.peak_bytes });
  const shares = Object.entries(result.by_category_bytes).filter(([, size]) => size > 0).sort((a, b) => b[1] - a[1]);
  const peak = el(
    "div",
    { class: "tiles small" },
    tile("Peak", bytes(result.peak_bytes), `in ${result.peak_phase} of step ${result.peak_step + 1}`, "peak"),
    tile("Parameters", count(result.parameters), bytes(result.by_category_bytes.parameters)),
    ...shares.slice(0, 2).filter(([name]) => name !== "parameters").map(([name, size]) => tile(words(name), bytes(size), `${percent(size / result.peak_bytes)} of the peak`)),
  );
  byId("estimate-result").replaceChildren(
    peak,
    el("section", { class: "card" }, el("header", { class: "card-head" }, el("h2", { text: `${result.model}, batch ${result.batch_size}: memory over two steps` }), legend(order.map((name) => [words(name), INK[name]]))), canvas),
    tableCard("Who makes the peak", [["Tensor", "path", (o) => o.name], ["For", "", (o) => words(o.category)], ["Shape", "dim", (o) => o.shape.join(" × ")], ["Bytes", "n", (o) => bytes(o.size_bytes)]], result.owners, "estimate-owners"),
    tableCard(
      "Modules",
      [["Module", "path", (m) => m.name || "(all)"], ["Kind", "dim", (m) => m.kind], ["Parameters", "n", (m) => bytes(m.parameter_bytes)], ["Kept for backward", "n", (m) => bytes(m.saved_bytes)], ["Forward", "n", (m) => operations(m.forward_flops)]],
      result.modules,
      "estimate-modules",
    ),
    el("div", { class: "notes" }, ...result.notes.map((note) => el("p", { text: note }))),
  );
  redraw();
}

function showPlan(plan, model) {
  redraw = () => {};
  const actions = plan.blocks.map((block) => [block.name, block.action === "recompute" ? "computed again" : "moved to the host", block.saved_bytes, block.time_s]);
  byId("estimate-result").replaceChildren(
    el(
      "div",
      { class: "tiles small" },
      tile("Peak", bytes(plan.predicted_peak_bytes), `of ${bytes(plan.budget_bytes)}, margin ${percent(plan.margin, 1)}`, "plan-peak"),
      tile("A step takes", duration(plan.predicted_s), `± ${percent(plan.time_error)} on ${plan.device}`),
      tile("Batch", `${plan.accumulation} × ${plan.micro_batch}`, `${plan.precision}, ${plan.optimizer}`),
      tile("Blocks", String(plan.blocks.length), plan.blocks.length ? "computed again or moved" : "nothing has to change"),
    ),
    tableCard(
      `${model}: ways to run the step`,
      [["Way", "", (a) => a.name], ["Micro-batches", "n", (a) => `${a.accumulation} × ${a.micro_batch}`], ["Format", "", (a) => a.precision], ["Computed again", "n", (a) => String(a.recomputed)], ["Moved", "n", (a) => String(a.offloaded)], ["Peak", "n", (a) => bytes(a.peak_bytes)], ["Time", "n", (a) => duration(a.time_s)], ["Fits", "", (a) => (a.fits ? "yes" : "no")]],
      plan.alternatives,
      "plan-ways",
    ),
    ...(actions.length ? [tableCard("What is done with which block", [["Block", "path", (a) => a[0]], ["", "", (a) => a[1]], ["Frees", "n", (a) => bytes(a[2])], ["Costs", "n", (a) => duration(a[3])]], actions, "plan-blocks")] : []),
    el("div", { class: "notes" }, ...plan.notes.map((note) => el("p", { text: note }))),
  );
}

function tile(title, figure, fact, id = null) {
  return el("article", { class: "card tile", "data-testid": id && `tile-${id}` }, el("h3", { text: title }), el("div", { class: "figure", text: figure }), el("div", { class: "facts" }, el("span", { text: fact })));
}
