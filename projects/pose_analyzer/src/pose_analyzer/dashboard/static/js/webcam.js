// The visitor's own camera: pictures go out as JPEG, measurements come back; nothing is kept on the way.

import { openSocket } from "../shared/js/api.js";
import { Link } from "./link.js";

const WIDEST = 640;
const IN_FLIGHT = 2;
const QUALITY = 0.8;
// An answer that does not come within this time will not come, ms.
const PATIENCE_MS = 3000;

/** Which pictures are under way, so that no more go out than the server answers. */
export class Window {
  /** @param {number} most pictures without an answer */
  constructor(most = IN_FLIGHT) {
    this.most = most;
    this.sent = new Map();
    this.nextId = 1;
  }

  get isFull() {
    return this.sent.size >= this.most;
  }

  /** Note a picture that goes out; returns its number. */
  send(now, picture = null) {
    const id = this.nextId;
    this.nextId += 1;
    this.sent.set(id, { now, picture });
    return id;
  }

  /** Note an answer: it stands for its picture and for all before it, which were replaced by newer ones. */
  answer(id) {
    const own = this.sent.get(id) ?? null;
    for (const [other, entry] of this.sent) {
      if (other > id) continue;
      if (other !== id) entry.picture?.close?.();
      this.sent.delete(other);
    }
    return own;
  }

  /** Give up pictures that were never answered. */
  expire(now, patience = PATIENCE_MS) {
    for (const [id, entry] of this.sent) {
      if (now - entry.now <= patience) continue;
      entry.picture?.close?.();
      this.sent.delete(id);
    }
  }

  clear() {
    for (const entry of this.sent.values()) entry.picture?.close?.();
    this.sent.clear();
    this.nextId = 1;
  }
}

/** Why the camera cannot be used, in words that help. */
export function cameraProblem(error) {
  if (!window.isSecureContext) return "Browsers give a page the camera only over https or on this machine (localhost). Open the page that way.";
  const told = {
    NotAllowedError: "The browser was told not to give this page the camera. Allow it in the address bar, then try again.",
    NotFoundError: "No camera was found. Connect one, then try again.",
    NotReadableError: "The camera is in use by another program. Close that, then try again.",
    OverconstrainedError: "The camera offers no picture that fits.",
  };
  return told[error?.name] ?? `The camera cannot be used: ${error?.message ?? error}`;
}

/** Sends a camera's pictures for measuring, over a link that comes back by itself. */
export class Webcam {
  /**
   * @param {{video: HTMLVideoElement, exercise: string|null, probe: Function, onMessage: Function, onStatus: Function}} options
   */
  constructor({ video, exercise, probe, onMessage, onStatus }) {
    Object.assign(this, { video, exercise, onMessage, onStatus });
    this.window = new Window();
    this.canvas = document.createElement("canvas");
    this.stream = null;
    this.isEncoding = false;
    this.closed = false;
    this.link = new Link({
      open: () => openSocket("/v1/live"),
      probe,
      onStatus,
      isQuiet: () => document.hidden || this.window.sent.size === 0,
      onOpen: (socket) => {
        this.window.clear();
        socket.send(JSON.stringify({ type: "start", exercise: this.exercise, max_people: 2, mirror: false }));
        this.pump();
      },
      onMessage: (message) => this.receive(message),
    });
  }

  /** Ask for the camera, then connect. Rejects with the browser's error. */
  async start() {
    const wanted = { video: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } }, audio: false };
    if (!navigator.mediaDevices?.getUserMedia) throw new DOMException("no camera here", "SecurityError");
    const stream = await navigator.mediaDevices.getUserMedia(wanted);
    if (this.closed) {
      for (const track of stream.getTracks()) track.stop();
      return;
    }
    this.stream = stream;
    stream.getVideoTracks()[0]?.addEventListener("ended", () => this.onStatus({ kind: "failed", reason: "The camera was unplugged or taken away." }));
    this.video.srcObject = stream;
    await this.video.play();
    this.link.start();
    const onPicture = () => {
      if (this.closed) return;
      this.pump();
      if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(onPicture);
      else setTimeout(onPicture, 33);
    };
    onPicture();
  }

  /** Send the present picture, if there is room for one more on the way. */
  async pump() {
    const socket = this.link.socket;
    this.window.expire(performance.now());
    if (this.isEncoding || this.window.isFull || socket?.readyState !== WebSocket.OPEN || this.video.readyState < 2) return;
    this.isEncoding = true;
    try {
      const scale = Math.min(1, WIDEST / this.video.videoWidth);
      this.canvas.width = Math.round(this.video.videoWidth * scale);
      this.canvas.height = Math.round(this.video.videoHeight * scale);
      const time = performance.now();
      this.canvas.getContext("2d").drawImage(this.video, 0, 0, this.canvas.width, this.canvas.height);
      const [jpeg, picture] = await Promise.all([
        new Promise((resolve) => this.canvas.toBlob(resolve, "image/jpeg", QUALITY)),
        createImageBitmap(this.canvas),
      ]);
      if (!jpeg || this.link.socket !== socket || socket.readyState !== WebSocket.OPEN) {
        picture.close();
        return;
      }
      const id = this.window.send(time, picture);
      socket.send(JSON.stringify({ type: "frame", frame_id: id, timestamp_s: time / 1000 }));
      socket.send(jpeg);
    } finally {
      this.isEncoding = false;
    }
  }

  receive(message) {
    if (message.type !== "frame") {
      this.onMessage(message, null);
      return;
    }
    const sent = this.window.answer(message.frame_id);
    // The picture that was measured is drawn with its measurements, so that they lie exactly upon each other.
    this.onMessage({ ...message, age_s: sent ? (performance.now() - sent.now) / 1000 : message.age_s }, sent?.picture ?? null);
    this.pump();
  }

  setExercise(exercise) {
    this.exercise = exercise;
    const socket = this.link.socket;
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: "start", exercise, max_people: 2, mirror: false }));
  }

  close() {
    this.closed = true;
    const socket = this.link.socket;
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: "stop" }));
    this.link.close();
    this.window.clear();
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.video.srcObject = null;
  }
}
