// Single-key shortcuts. They can be switched off, for those who speak to their computer.

import { recall, remember } from "../shared/js/prefs.js";

let isOn = recall("keys", true);

/** Whether shortcuts are on; switch them. */
export const shortcuts = {
  get on() {
    return isOn;
  },
  set on(value) {
    isOn = value;
    remember("keys", value);
  },
};

function isTyping(target) {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName));
}

/**
 * Listen for keys.
 * @param {(event: KeyboardEvent) => boolean} act returns whether it did something with the key
 */
export function onKey(act) {
  addEventListener("keydown", (event) => {
    if (!isOn || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const isRange = event.target instanceof HTMLInputElement && event.target.type === "range";
    if ((isTyping(event.target) && !isRange) || document.querySelector("dialog[open]")) return;
    if (act(event)) event.preventDefault();
  });
}
