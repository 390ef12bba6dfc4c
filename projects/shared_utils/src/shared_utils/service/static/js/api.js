// REST calls: the token, errors as the service words them, uploads with progress.

import { keyOf } from "./prefs.js";

let tokenInMemory = null;
let askForToken = async () => null;
let asking = null;

/** An error with the service's own words. */
export class ApiError extends Error {
  /** @param {number} status HTTP status, 0 when the service was not reached */
  constructor(status, problem = {}) {
    super(problem.detail || problem.title || (status === 0 ? "The service does not answer." : `The service answered ${status}.`));
    this.status = status;
    this.title = problem.title ?? "";
    this.requestId = problem.request_id ?? "";
    this.parts = problem.errors ?? [];
  }

  /** Everything worth telling, in one sentence or two. */
  get told() {
    const parts = this.parts.map((p) => `${p.location}: ${p.message}`).join("; ");
    return parts && !this.message.includes(this.parts[0].message) ? `${this.message} (${parts})` : this.message;
  }
}

/** The token of this tab, or null. */
export function token() {
  if (tokenInMemory !== null) return tokenInMemory;
  try {
    return sessionStorage.getItem(keyOf("token"));
  } catch {
    return null;
  }
}

function keepToken(value) {
  tokenInMemory = value;
  try {
    sessionStorage.setItem(keyOf("token"), value);
  } catch {
    // Without storage the token lasts as long as the page.
  }
}

/** Say how to ask for a token: a function that resolves with one, or null when the visitor gives none. */
export function onTokenNeeded(ask) {
  askForToken = ask;
}

/**
 * Ask for a token; several askers share one dialog, and who was refused with an older one than there is now just tries again.
 * @param {boolean} wasWrong whether a token was refused, rather than none given
 * @param {string | null} used the token that was refused
 */
export function requestToken(wasWrong, used = token()) {
  if (asking === null && token() !== used) return Promise.resolve(true);
  asking ??= askForToken(wasWrong).then((given) => {
    asking = null;
    if (given) keepToken(given);
    return Boolean(given);
  });
  return asking;
}

function headersWith(extra = {}) {
  const own = token();
  return own ? { ...extra, Authorization: `Bearer ${own}` } : { ...extra };
}

async function problemOf(response) {
  try {
    return await response.json();
  } catch {
    return {};
  }
}

/**
 * Call the service.
 * @returns {Promise<Response>} an answer that is fine
 * @throws {ApiError}
 */
export async function call(path, { method = "GET", json, body, keepalive = false, signal, quiet = false } = {}) {
  const options = { method, body, keepalive, signal, headers: headersWith(json === undefined ? {} : { "Content-Type": "application/json" }) };
  if (json !== undefined) options.body = JSON.stringify(json);
  let response;
  const used = token();
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0);
  }
  if (response.status === 401 && !quiet && (await requestToken(used !== null, used))) return call(path, { method, json, body, keepalive, signal });
  if (!response.ok) throw new ApiError(response.status, await problemOf(response));
  return response;
}

/** Call the service for JSON. */
export async function get(path, options) {
  return (await call(path, options)).json();
}

/** Send JSON, get JSON. */
export async function post(path, json) {
  return (await call(path, { method: "POST", json })).json();
}

/** Send a file as it is, get JSON. */
export async function sendFile(path, file) {
  return (await call(path, { method: "POST", body: file })).json();
}

/** Delete; that it is gone already is fine. */
export async function remove(path, options = {}) {
  try {
    await call(path, { ...options, method: "DELETE" });
  } catch (error) {
    if (error.status !== 404) throw error;
  }
}

/**
 * Send a file with its progress.
 * @param {string} path
 * @param {FormData} form
 * @param {(sent: number, total: number) => void} onProgress bytes
 * @param {AbortSignal} signal
 */
export function upload(path, form, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    for (const [name, value] of Object.entries(headersWith())) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (e) => e.lengthComputable && onProgress(e.loaded, e.total));
    request.addEventListener("load", () => {
      let body = {};
      try {
        body = JSON.parse(request.responseText);
      } catch {
        // Told below by its status.
      }
      if (request.status >= 200 && request.status < 300) resolve(body);
      else reject(new ApiError(request.status, body));
    });
    request.addEventListener("error", () => reject(new ApiError(0, { detail: "The connection broke while sending. Try again." })));
    request.addEventListener("abort", () => reject(new DOMException("Stopped.", "AbortError")));
    signal?.addEventListener("abort", () => request.abort(), { once: true });
    request.send(form);
  });
}

/** Open a WebSocket of this service, with the token as subprotocol where there is one. */
export function openSocket(path) {
  const address = new URL(path, location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const own = token();
  const socket = own ? new WebSocket(address, ["bearer", own]) : new WebSocket(address);
  socket.binaryType = "blob";
  return socket;
}
