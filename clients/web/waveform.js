// A waveform that grows while audio arrives: what was played, what waits, where sentences begin.

import { RATE_HZ } from "./sovits-live.js";

const BAR_SAMPLES = 1920; // 40 ms a bar
const BAR_PX = 3; // with a gap of one
const PLAYHEAD = 0.62; // of the width, once the text is longer

export class Waveform {
  #canvas;
  #bars = [];
  #partial = { peak: 0, count: 0 };
  #marks = [];
  #played = 0;
  #isDirty = true;

  constructor(canvas) {
    this.#canvas = canvas;
    const redraw = () => (this.#isDirty = true);
    new ResizeObserver(redraw).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    const draw = () => {
      if (this.#isDirty) this.#draw();
      requestAnimationFrame(draw);
    };
    requestAnimationFrame(draw);
  }

  /** Start over. */
  clear() {
    this.#bars = [];
    this.#partial = { peak: 0, count: 0 };
    this.#marks = [];
    this.#played = 0;
    this.#isDirty = true;
  }

  /** Colours changed. */
  refresh() {
    this.#isDirty = true;
  }

  /** Append samples that arrived. */
  add(samples) {
    const part = this.#partial;
    for (let i = 0; i < samples.length; i++) {
      const size = Math.abs(samples[i]);
      if (size > part.peak) part.peak = size;
      if (++part.count === BAR_SAMPLES) {
        this.#bars.push(part.peak);
        part.peak = part.count = 0;
      }
    }
    this.#isDirty = true;
  }

  /** Note that a sentence begins at `pts`. */
  mark(pts) {
    this.#marks.push(pts);
  }

  /** Playback is at `samples`. */
  seek(samples) {
    this.#played = samples;
    this.#isDirty = true;
  }

  /** Drop what was not played. */
  cut() {
    this.#bars.length = Math.min(this.#bars.length, Math.ceil(this.#played / BAR_SAMPLES));
    this.#isDirty = true;
  }

  #draw() {
    this.#isDirty = false;
    const canvas = this.#canvas;
    const scale = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width) return;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const ink = canvas.getContext("2d");
    ink.scale(scale, scale);
    const style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(name).trim();
    const middle = height / 2;
    const now = (this.#played / BAR_SAMPLES) * BAR_PX;
    const offset = Math.max(0, now - width * PLAYHEAD);
    ink.fillStyle = colour("--line");
    ink.fillRect(0, Math.round(middle) - 0.5, width, 1);
    for (const pts of this.#marks) {
      const x = Math.round((pts / BAR_SAMPLES) * BAR_PX - offset);
      ink.fillRect(x, 6, 1, height - 12);
    }
    const first = Math.max(0, Math.floor(offset / BAR_PX));
    const last = Math.min(this.#bars.length, Math.ceil((offset + width) / BAR_PX));
    for (let i = first; i < last; i++) {
      const half = Math.max(1, Math.sqrt(this.#bars[i]) * (middle - 4));
      ink.fillStyle = colour(i * BAR_PX < now ? "--accent" : "--waiting");
      ink.fillRect(i * BAR_PX - offset, middle - half, BAR_PX - 1, 2 * half);
    }
    if (this.#played) {
      ink.fillStyle = colour("--ink");
      ink.fillRect(Math.round(now - offset), 2, 1, height - 4);
    }
    canvas.dataset.seconds = (this.#played / RATE_HZ).toFixed(2);
  }
}
