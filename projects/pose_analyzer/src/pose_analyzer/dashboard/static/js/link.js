// The connection to a stream: pairs each message with its picture, and comes back by itself when it breaks.

import { Backoff } from "../shared/js/backoff.js";

// A live stream that says nothing for this long has broken without telling (a laptop that slept, a cable), seconds.
const SILENCE_S = 10;
const ENDED = new Set(["finished", "stopped", "failed"]);

/** Puts text and binary messages together: a picture follows the message that announces it. */
export class Pairing {
  /** @param {(message: object, picture: Blob|null) => void} deliver */
  constructor(deliver) {
    this.deliver = deliver;
    this.announced = null;
  }

  text(message) {
    this.flush();
    if (message.type === "frame" && message.image) this.announced = message;
    else this.deliver(message, null);
  }

  picture(data) {
    const message = this.announced;
    this.announced = null;
    if (message) this.deliver(message, data);
  }

  flush() {
    if (this.announced) this.deliver(this.announced, null);
    this.announced = null;
  }
}

/**
 * A WebSocket that is kept open.
 *
 * `probe` is asked after a try that failed before it opened, as browsers do not say why: it resolves with
 * "retry", or with {fatal: text}.
 */
export class Link {
  /**
   * @param {{open: () => WebSocket, probe: () => Promise<string|object>, onMessage: Function, onStatus: Function,
   *   onOpen?: (socket: WebSocket) => void, isQuiet?: () => boolean, backoff?: Backoff, now?: () => number}} options
   */
  constructor({ open, probe, onMessage, onStatus, onOpen = () => {}, isQuiet = () => false, backoff = new Backoff(), now }) {
    Object.assign(this, { open, probe, onMessage, onStatus, onOpen, isQuiet, backoff });
    this.now = now ?? (() => performance.now() / 1000);
    this.socket = null;
    this.timer = null;
    this.closed = false;
    this.ended = false;
    this.heardAt = 0;
    this.watch = setInterval(() => this.checkSilence(), 1000);
  }

  start() {
    clearTimeout(this.timer);
    if (this.closed) return;
    this.onStatus({ kind: "connecting" });
    let socket;
    try {
      socket = this.open();
    } catch (error) {
      // A token with characters that a subprotocol cannot have, or a browser that forbids the address.
      this.fail(`The browser refuses the connection: ${error.message}`);
      return;
    }
    this.socket = socket;
    let opened = false;
    const pairing = new Pairing((message, picture) => this.deliver(message, picture));
    socket.addEventListener("open", () => {
      if (socket !== this.socket) return;
      opened = true;
      this.heardAt = this.now();
      this.onStatus({ kind: "open" });
      this.onOpen(socket);
    });
    socket.addEventListener("message", ({ data }) => {
      if (socket !== this.socket) return;
      this.heardAt = this.now();
      if (typeof data !== "string") pairing.picture(data);
      else pairing.text(JSON.parse(data));
    });
    socket.addEventListener("close", (event) => {
      if (socket === this.socket) this.lost(opened, event);
    });
  }

  deliver(message, picture) {
    if (message.type === "hello" || message.type === "frame") this.backoff.reset();
    const state = message.type === "state" ? message.state : message.type === "hello" ? message.stream?.state : null;
    if (state) this.ended = ENDED.has(state);
    this.onMessage(message, picture);
  }

  async lost(opened, event) {
    this.socket = null;
    if (this.closed) return;
    if (this.ended) {
      this.onStatus({ kind: "closed" });
      return;
    }
    if (!opened || event.code === 1008) {
      const answer = await this.probe(event);
      if (this.closed || this.socket) return;
      if (answer && answer.fatal) {
        this.fail(answer.fatal);
        return;
      }
      if (answer === "again") {
        this.start();
        return;
      }
    }
    this.waitAndRetry();
  }

  waitAndRetry() {
    const wait = this.backoff.next();
    this.onStatus({ kind: "waiting", retryAt: this.now() + wait, attempt: this.backoff.attempt });
    this.timer = setTimeout(() => this.start(), wait * 1000);
  }

  /** Try at once, for the impatient and for a network that has just come back. */
  retryNow() {
    if (!this.closed && !this.socket && !this.ended) this.start();
  }

  checkSilence() {
    if (this.socket?.readyState === WebSocket.OPEN && !this.isQuiet() && this.now() - this.heardAt > SILENCE_S) this.drop();
  }

  /** Give the present socket up and try again. */
  drop() {
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    if (!this.closed) this.waitAndRetry();
  }

  fail(reason) {
    this.ended = true;
    this.onStatus({ kind: "failed", reason });
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    clearInterval(this.watch);
    const socket = this.socket;
    this.socket = null;
    socket?.close(1000);
  }
}
