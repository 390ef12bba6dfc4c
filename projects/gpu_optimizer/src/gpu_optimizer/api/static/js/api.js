// Calls of the service: the token, and errors in the service's own words.

import { byId, setText } from "./dom.js";

const KEY = "gpu-optimizer.token";
let kept = null;
let asking = null;

/** An error with the service's own words. */
export class ApiError extends Error {
  constructor(status, problem = {}) {
    super(problem.detail || problem.title || (status === 0 ? "The service does not answer." : `The service answered ${status}.`));
    this.status = status;
  }
}

/** The token of this tab, or null. */
export function token() {
  if (kept !== null) return kept;
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/** Ask for a token; several askers share one dialog. Resolves with whether one was given. */
export function requestToken() {
  asking ??= new Promise((resolve) => {
    const dialog = byId("token-dialog");
    setText(byId("token-text"), token() ? "That token is not the right one. Try again." : "This service asks for a token. Whoever runs it can tell you.");
    byId("token-input").value = "";
    dialog.returnValue = "";
    dialog.addEventListener("close", () => {
      const given = byId("token-input").value.trim();
      asking = null;
      if (dialog.returnValue === "go" && given) keep(given);
      resolve(dialog.returnValue === "go" && given !== "");
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

function keep(value) {
  kept = value;
  try {
    sessionStorage.setItem(KEY, value);
  } catch {
    // Without storage the token lasts as long as the page.
  }
}

/**
 * Call the service.
 * @returns {Promise<any>} its JSON; null where there is none
 * @throws {ApiError}
 */
export async function call(path, { method = "GET", json, body } = {}) {
  const headers = token() ? { Authorization: `Bearer ${token()}` } : {};
  if (json !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: json === undefined ? body : JSON.stringify(json) });
  } catch {
    throw new ApiError(0);
  }
  if (response.status === 401 && (await requestToken())) return call(path, { method, json, body });
  const text = await response.text();
  let answer = null;
  try {
    answer = text ? JSON.parse(text) : null;
  } catch {
    // Not JSON: the status says enough.
  }
  if (!response.ok) throw new ApiError(response.status, answer ?? {});
  return answer;
}
