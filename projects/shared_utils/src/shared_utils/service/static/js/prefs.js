// What the visitor has chosen, kept by the browser; a browser that keeps nothing is fine, too.

/** Name under which the browser keeps something of this page: services on one host do not mix theirs up. */
export function keyOf(name) {
  return `${globalThis.document?.documentElement?.dataset.app ?? "page"}.${name}`;
}

/** A choice of earlier, or the fallback. */
export function recall(name, fallback) {
  try {
    const text = localStorage.getItem(keyOf(name));
    return text === null ? fallback : JSON.parse(text);
  } catch {
    return fallback;
  }
}

/** Keep a choice. */
export function remember(name, value) {
  try {
    localStorage.setItem(keyOf(name), JSON.stringify(value));
  } catch {
    // Private windows may refuse; the choice then lasts as long as the page.
  }
}
