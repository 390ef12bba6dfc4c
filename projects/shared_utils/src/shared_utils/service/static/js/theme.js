// Dark or light: as the system says, unless the visitor says otherwise.

import { recall, remember } from "./prefs.js";

const ORDER = ["auto", "dark", "light"];

function chosen() {
  const value = recall("theme", "auto");
  return ORDER.includes(value) ? value : "auto";
}

/**
 * Let a button go through the themes, beginning with the one that was chosen last; its label tells which is in force.
 * @param {HTMLElement} button
 * @param {() => void} repaint called whenever what is in force may have changed
 * @returns {() => void} goes on to the next theme
 */
export function themeButton(button, repaint) {
  let now = chosen();
  const show = () => button.setAttribute("aria-label", `Theme: ${now === "auto" ? "as the system" : now}`);
  const next = () => {
    now = ORDER[(ORDER.indexOf(now) + 1) % ORDER.length];
    remember("theme", now);
    document.documentElement.dataset.theme = now;
    show();
  };
  show();
  button.addEventListener("click", next);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  new MutationObserver(repaint).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  return next;
}
