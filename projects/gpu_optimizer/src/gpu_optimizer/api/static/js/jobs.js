// Background work: begin it, show how far it is, stop it.

import { get, post } from "../shared/js/api.js";
import { el, setText } from "../shared/js/dom.js";

const FINAL = new Set(["done", "failed", "cancelled"]);

/**
 * Follow a job until it has ended.
 * @param {string} path of the job
 * @param {HTMLElement} box where its progress is shown
 * @returns {Promise<object|null>} its result; null when the visitor stopped it
 */
export async function follow(path, box) {
  const text = el("span", { role: "status" });
  const bar = el("progress", { max: "1", "aria-label": "Progress" });
  let stopped = false;
  const stop = el("button", { class: "secondary", type: "button", text: "Stop", on: { click: () => ((stopped = true), post(`${path}/cancel`).catch(() => {})) } });
  box.replaceChildren(el("div", { class: "card job" }, el("div", {}, text, bar), stop));
  box.hidden = false;
  try {
    for (;;) {
      const job = await get(path);
      if (job.state === "failed") throw new Error(job.error ?? "It failed.");
      if (FINAL.has(job.state) || stopped) return job.state === "done" ? job.result : null;
      setText(text, job.state === "queued" ? "Waiting for its turn …" : `${job.stage ?? "starting"} …`);
      if (job.progress === null) bar.removeAttribute("value");
      else bar.value = job.progress;
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  } finally {
    box.hidden = true;
  }
}
