// Dark or light: as the system says, unless the visitor says otherwise.

import { recall, remember } from "./prefs.js";

const ORDER = ["auto", "dark", "light"];

/** The choice: "auto", "dark" or "light". */
export function chosen() {
  const value = recall("theme", "auto");
  return ORDER.includes(value) ? value : "auto";
}

/** Put a choice into force. */
export function apply(value) {
  document.documentElement.dataset.theme = value;
}

/** Go on to the next choice. */
export function next() {
  const value = ORDER[(ORDER.indexOf(chosen()) + 1) % ORDER.length];
  remember("theme", value);
  apply(value);
  return value;
}

/** Call back whenever what is in force may have changed. */
export function onChange(callback) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", callback);
  new MutationObserver(callback).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
}
