// The live picture: a canvas for the picture, one above it for the skeleton, both placed by the same sums.

import { fit, surfaceSize } from "./geometry.js";
import { describePeople, drawPeople, plan } from "./overlay.js";

/** Draws pictures and the people in them. */
export class Stage {
  /** @param {{box: HTMLElement, picture: HTMLCanvasElement, overlay: HTMLCanvasElement}} parts */
  constructor({ box, picture, overlay }) {
    Object.assign(this, { box, picture, overlay });
    this.paint = picture.getContext("2d", { alpha: true });
    this.draw = overlay.getContext("2d");
    this.image = null;
    this.message = null;
    this.plan = null;
    this.skeleton = null;
    this.joints = [];
    this.selected = null;
    this.mirror = false;
    this.labels = true;
    this.feedback = null;
    this.queued = false;
    this.decoding = 0;
    this.shown = 0;
    this.describedAt = -Infinity;
    // A small surface; stretched over the box it is a soft backdrop for what the picture leaves free.
    this.ambient = new OffscreenCanvas(24, 14);
    new ResizeObserver(() => this.resize()).observe(box);
    // A window that moves to another screen changes its pixel ratio without changing its size.
    this.watchRatio();
    this.resize();
  }

  watchRatio() {
    matchMedia(`(resolution: ${devicePixelRatio}dppx)`).addEventListener("change", () => {
      this.resize();
      this.watchRatio();
    }, { once: true });
  }

  resize() {
    this.ratio = devicePixelRatio || 1;
    const size = surfaceSize(this.box.clientWidth, this.box.clientHeight, this.ratio);
    for (const canvas of [this.picture, this.overlay]) {
      if (canvas.width !== size.width) canvas.width = size.width;
      if (canvas.height !== size.height) canvas.height = size.height;
    }
    this.render();
  }

  setSkeleton(skeleton) {
    this.skeleton = skeleton;
    this.plan = skeleton ? plan(skeleton) : null;
  }

  /**
   * Show a measured picture. Pictures are decoded beside the page's work; one that is overtaken is not drawn.
   * @param {object} message of type frame
   * @param {Blob|ImageBitmap|null} picture exactly what was measured
   */
  async show(message, picture) {
    this.decoding += 1;
    const turn = this.decoding;
    let image = picture;
    if (picture instanceof Blob) {
      try {
        image = await createImageBitmap(picture);
      } catch {
        return; // A damaged picture costs itself.
      }
    }
    if (turn < this.shown) {
      image?.close?.();
      return;
    }
    this.shown = turn;
    if (image && image !== this.image) {
      this.image?.close?.();
      this.image = image;
    }
    this.message = message;
    this.queue();
  }

  queue() {
    if (this.queued) return;
    this.queued = true;
    requestAnimationFrame(() => {
      this.queued = false;
      this.render();
    });
  }

  /** Where the picture lies, in device px. */
  get placed() {
    const source = this.message ?? { width: 0, height: 0 };
    return fit(source, this.overlay, this.mirror);
  }

  render() {
    const { paint, draw, message } = this;
    const box = this.overlay;
    draw.clearRect(0, 0, box.width, box.height);
    paint.clearRect(0, 0, box.width, box.height);
    if (!message) return;
    const placed = this.placed;
    if (this.image) this.renderPicture(placed);
    if (this.plan) {
      drawPeople(draw, placed, message.people, {
        plan: this.plan,
        joints: this.joints,
        selected: this.selected,
        ratio: this.ratio,
        labels: this.labels,
        marks: this.feedback?.marks(performance.now() / 1000),
      });
    }
    this.describe(message);
  }

  renderPicture(placed) {
    const { paint, image } = this;
    const { width, height } = this.picture;
    if (placed.x > 1 || placed.y > 1) {
      const soft = this.ambient.getContext("2d");
      soft.drawImage(image, 0, 0, this.ambient.width, this.ambient.height);
      paint.imageSmoothingQuality = "high";
      paint.drawImage(this.ambient, 0, 0, width, height);
      paint.fillStyle = "rgba(8, 12, 18, 0.72)";
      paint.fillRect(0, 0, width, height);
    }
    paint.save();
    if (placed.mirror) {
      paint.translate(placed.x + placed.width, placed.y);
      paint.scale(-1, 1);
      paint.drawImage(image, 0, 0, placed.width, placed.height);
    } else paint.drawImage(image, placed.x, placed.y, placed.width, placed.height);
    paint.restore();
  }

  describe(message) {
    const now = performance.now();
    if (now - this.describedAt < 2000) return;
    this.describedAt = now;
    this.overlay.setAttribute("aria-label", describePeople(message.people, this.joints));
  }

  clear() {
    this.shown = this.decoding + 1;
    this.decoding += 1;
    this.image?.close?.();
    this.image = null;
    this.message = null;
    this.render();
    this.overlay.setAttribute("aria-label", "Live picture. Nothing is shown yet.");
  }
}
