// Shows a speech while it sounds: waveform, mouth, sentences, figures.

import { RATE_HZ } from "./sovits-live.js";
import { Transcript } from "./transcript.js";
import { Waveform } from "./waveform.js";

const MOUTH_CLOSED = 1.5;
const MOUTH_OPEN = 17;
const RELEASE = 0.35; // of the way to closed per report: mouths open faster than they close

export class Stage {
  #mouth;
  #waveform;
  #figures;
  #openness = 0;
  #stopAt = null;
  #isCut = false;

  /** `figures` maps first-packet, first-sound, rtf, lead, underruns, bitrate, stopped to elements. */
  constructor({ mouth, wave, transcript, figures = {} }) {
    this.#mouth = mouth.querySelector("ellipse");
    this.#waveform = wave ? new Waveform(wave) : null;
    this.transcript = new Transcript(transcript);
    this.#figures = figures;
    this.speech = null;
    this.received = 0; // samples
  }

  /** Show this speech from now on. */
  attach(speech, latencyMs = 0) {
    this.speech = speech;
    this.received = 0;
    this.#stopAt = null;
    this.#isCut = false;
    this.transcript.clear();
    this.#waveform?.clear();
    for (const name of Object.keys(this.#figures)) this.#show(name, null);
    const late = (latencyMs / 1000) * RATE_HZ;
    const on = (type, handle) =>
      speech.addEventListener(type, (event) => this.speech === speech && handle(event.detail));
    on("segment", (segment) => {
      this.transcript.begin(segment);
      this.#waveform?.mark(segment.pts);
    });
    on("segmentdone", (segment) => this.transcript.finish(segment));
    on("timing", (timing) => this.transcript.time(timing));
    on("packet", () => this.#showPackets(speech.figures));
    on("samples", (samples) => {
      this.received += samples.length;
      this.#waveform?.add(samples);
    });
    on("position", (position) => this.#follow(position, Math.max(0, position.played - late)));
    on("done", ({ timings }) => this.#show("rtf", timings.rtf.toFixed(timings.rtf < 0.1 ? 3 : 2)));
    on("over", () => this.#close(speech));
    // The server knows best what was heard; it answers after the sound has gone.
    on("cancelled", (message) => {
      this.#isCut = true;
      this.transcript.cut(message.text_spoken);
    });
  }

  /** The user wants silence now. */
  noteStop() {
    this.#stopAt = performance.now();
  }

  #showPackets({ firstPacketMs, firstSoundMs, bytes }) {
    this.#show("first-packet", Math.round(firstPacketMs), "ms");
    if (firstSoundMs !== null) this.#show("first-sound", Math.round(firstSoundMs), "ms");
    const seconds = this.received / RATE_HZ;
    if (seconds > 0.5) this.#show("bitrate", ((bytes * 8) / seconds / 1000).toFixed(0), "kbit/s");
  }

  #follow({ buffered, underruns, level, state }, heard) {
    this.#open(Math.max(level, this.#openness * (1 - RELEASE)));
    this.#waveform?.seek(heard);
    if (state === "playing") this.transcript.seek(heard);
    this.#show("lead", (buffered / RATE_HZ).toFixed(1), "s");
    this.#show("underruns", underruns, "", underruns > 0);
    this.#showPackets(this.speech.figures);
  }

  #close(speech) {
    this.#open(0);
    if (!speech.isCancelled) {
      this.transcript.close();
      return;
    }
    if (!this.#isCut) this.transcript.cut();
    this.#waveform?.cut();
    this.#show("lead", "0.0", "s");
    if (this.#stopAt !== null) {
      this.#show("stopped", Math.round(performance.now() - this.#stopAt), "ms");
    }
  }

  /** How far the mouth is open, 0 to 1. */
  get openness() {
    return this.#openness;
  }

  #open(openness) {
    this.#openness = openness < 0.02 ? 0 : openness;
    const height = MOUTH_CLOSED + (MOUTH_OPEN - MOUTH_CLOSED) * this.#openness;
    this.#mouth.setAttribute("ry", height.toFixed(1));
    this.#mouth.setAttribute("rx", (15 - 3 * this.#openness).toFixed(1));
  }

  #show(name, value, unit = "", isBad = false) {
    const element = this.#figures[name];
    if (!element) return;
    element.classList.toggle("bad", isBad);
    if (value === null || Number.isNaN(value)) {
      element.textContent = "–";
      return;
    }
    const small = document.createElement("small");
    small.textContent = unit && ` ${unit}`;
    element.replaceChildren(String(value), small);
  }

  /** Colours changed. */
  refresh() {
    this.#waveform?.refresh();
  }
}
