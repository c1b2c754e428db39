// The text being spoken, with the sentence that sounds now filled as far as it has sounded.

import { RATE_HZ } from "./sovits-live.js";

const GUESSED_S = 0.2; // of a character, until the sentence's end is known

export class Transcript {
  #element;
  #chars = []; // code points of the text
  #segments = new Map();
  #tail;
  #current = null;

  constructor(element) {
    this.#element = element;
    this.clear();
  }

  /** The sentence that sounds now, or null. */
  get current() {
    return this.#current;
  }

  clear() {
    this.#chars = [];
    this.#segments.clear();
    this.#current = null;
    this.#tail = document.createElement("span");
    this.#tail.className = "tail";
    this.#element.replaceChildren(this.#tail);
  }

  /** Text was sent. */
  append(text) {
    this.#chars.push(...text);
    this.#showTail();
  }

  #showTail() {
    const ends = [...this.#segments.values()].map((segment) => segment.end);
    this.#tail.textContent = this.#chars.slice(Math.max(0, ...ends)).join("");
  }

  /** A sentence begins. */
  begin({ seg, start, end, pts }) {
    const span = document.createElement("span");
    span.className = "sentence";
    span.dataset.seg = seg;
    span.textContent = this.#chars.slice(start, end).join("");
    const guess = pts + (end - start) * GUESSED_S * RATE_HZ;
    this.#segments.set(seg, { span, start, end, pts, ptsEnd: guess, chars: null });
    this.#element.insertBefore(span, this.#tail);
    this.#showTail();
  }

  /** The sentence's audio ends at `pts_end`. */
  finish({ seg, pts_end: ptsEnd }) {
    const segment = this.#segments.get(seg);
    if (segment) segment.ptsEnd = ptsEnd;
  }

  /** When its characters sound: rows of [start, end, t0, t1], some at a time. */
  time({ seg, chars }) {
    const segment = this.#segments.get(seg);
    if (segment && chars?.length) segment.chars = [...(segment.chars ?? []), ...chars];
  }

  /** The listener hears `samples` now. */
  seek(samples) {
    let current = null;
    for (const segment of this.#segments.values()) {
      if (segment.pts <= samples && (!current || segment.pts >= current.pts)) current = segment;
    }
    for (const segment of this.#segments.values()) {
      const isPast = current !== null && segment.pts < current.pts;
      segment.span.classList.toggle("past", isPast);
      segment.span.classList.toggle("now", segment === current);
    }
    if (!current) return;
    current.span.style.setProperty("--done", `${(100 * share(current, samples)).toFixed(1)}%`);
    if (current !== this.#current) keepVisible(this.#element, current.span);
    this.#current = current;
  }

  /** Everything was heard. */
  close() {
    for (const { span } of this.#segments.values()) span.className = "sentence past";
    this.#current = null;
  }

  /** Nothing more will be heard: what was is `spoken`, or as far as was played. */
  cut(spoken) {
    let heard = spoken === undefined ? 0 : [...spoken].length;
    if (spoken === undefined && this.#current) {
      const { start, end, span } = this.#current;
      heard = start + Math.round(((end - start) * parseFloat(span.style.getPropertyValue("--done"))) / 100);
    }
    const [past, lost] = [document.createElement("span"), document.createElement("del")];
    past.className = "sentence past";
    past.textContent = this.#chars.slice(0, heard).join("");
    lost.textContent = this.#chars.slice(heard).join("");
    this.#element.replaceChildren(past, lost);
    this.#current = null;
  }
}

function keepVisible(box, span) {
  const isAbove = span.offsetTop < box.scrollTop;
  const isBelow = span.offsetTop + span.offsetHeight > box.scrollTop + box.clientHeight;
  if (isAbove || isBelow) box.scrollTop = span.offsetTop - box.clientHeight / 3;
}

/** Return how much of a sentence has sounded, 0 to 1, in characters. */
function share({ start, end, pts, ptsEnd, chars }, samples) {
  if (!chars) return Math.min(1, (samples - pts) / Math.max(1, ptsEnd - pts));
  const ms = (samples / RATE_HZ) * 1000;
  const spoken = chars.filter(([, , t0]) => t0 <= ms).at(-1);
  if (!spoken) return 0;
  const [from, to, t0, t1] = spoken;
  const within = Math.min(1, (ms - t0) / Math.max(1, t1 - t0));
  return (from + (to - from) * within - start) / Math.max(1, end - start);
}
