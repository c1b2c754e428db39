// Streams of samples to one output, sample by sample: prebuffer, underruns, fades, positions.
//
// No browser API in here: the AudioWorklet, its fallback and the tests run this same code.

export const RATE_HZ = 48000;

const FADE_SAMPLES = 576; // 12 ms: short enough to be "at once", long enough not to click
const START_SAMPLES = 3840; // 80 ms
const STEP_SAMPLES = 960; // 20 ms more after each underrun
const MAX_SAMPLES = 19200; // 400 ms
const REPORT_SAMPLES = 960;
// What an encoder may hold back at the end of a sentence: a frame of 60 ms and its delay.
const HELD_SAMPLES = 3840;
const DECAY = 0.98; // per sample, when samples run out: a ramp instead of a click

/** One stream. States: filling, playing, fading, over. */
class Stream {
  constructor() {
    this.state = "filling";
    this.played = 0;
    this.buffered = 0;
    this.underruns = 0;
    this.total = Infinity; // exact length, once known
    this.chunks = [];
    this.offset = 0; // in chunks[0]
    this.expected = Infinity; // where the last finished sentence ends: running dry there is no fault
    this.fadeLeft = 0;
    this.last = 0;
    this.squares = 0;
    this.counted = 0;
  }

  push(samples) {
    if (this.state === "fading" || this.state === "over" || !samples.length) return;
    this.chunks.push(samples);
    this.buffered += samples.length;
  }

  stop() {
    if (this.state === "playing") {
      this.state = "fading";
      this.fadeLeft = FADE_SAMPLES;
    } else if (this.state === "filling") {
      this.state = "over";
    }
  }

  isFinished() {
    return this.played >= this.total || (this.total < Infinity && this.buffered === 0);
  }

  /** Add this stream's next samples to `output`; return true if it ran dry too early. */
  render(output, prebuffer) {
    if (this.state === "filling") {
      if (this.isFinished()) this.state = "over";
      else if (this.buffered >= prebuffer || this.total < Infinity) this.state = "playing";
    }
    let at = 0;
    if (this.state === "playing" || this.state === "fading") at = this.#copy(output);
    for (let i = at; i < output.length && Math.abs(this.last) > 1e-4; i++) {
      output[i] += this.last *= DECAY;
    }
    if (at === output.length) return false;
    if (this.state === "fading" || (this.state === "playing" && this.isFinished())) {
      this.state = "over";
    } else if (this.state === "playing") {
      this.state = "filling";
      if (this.played + HELD_SAMPLES >= this.expected) return false;
      this.underruns += 1;
      return true;
    }
    return false;
  }

  #copy(output) {
    let at = 0;
    while (at < output.length && this.chunks.length && this.played < this.total) {
      const chunk = this.chunks[0];
      let count = Math.min(chunk.length - this.offset, output.length - at);
      count = Math.min(count, this.total - this.played);
      if (this.state === "fading") count = Math.min(count, this.fadeLeft);
      if (count <= 0) break;
      for (let i = 0; i < count; i++) {
        let sample = chunk[this.offset + i];
        if (this.state === "fading") sample *= (this.fadeLeft - i) / FADE_SAMPLES;
        output[at + i] += sample;
        this.squares += sample * sample;
        this.last = sample;
      }
      if (this.state === "fading") this.fadeLeft -= count;
      this.counted += count;
      this.played += count;
      this.buffered -= count;
      this.offset += count;
      at += count;
      if (this.offset === chunk.length) {
        this.chunks.shift();
        this.offset = 0;
      }
    }
    return at;
  }

  report(id) {
    const rms = this.counted ? Math.sqrt(this.squares / this.counted) : 0;
    this.squares = this.counted = 0;
    const { state, played, buffered, underruns } = this;
    return { id, state, played, buffered, underruns, rms };
  }
}

/** Mixes all streams. `report` gets {streams, prebuffer} about every 20 ms while there are any. */
export class Mixer {
  constructor(report) {
    this.prebuffer = START_SAMPLES;
    this.streams = new Map();
    this.sinceReport = 0;
    this.sendReport = report;
  }

  /** Take a command: push {samples}, expect {until}, end {total}, stop; all with the stream's id. */
  receive({ type, id, samples, until, total }) {
    let stream = this.streams.get(id);
    if (type === "push") {
      if (!stream) this.streams.set(id, (stream = new Stream()));
      stream.push(samples);
      return;
    }
    if (!stream) {
      if (type !== "end" && type !== "stop") return;
      this.streams.set(id, (stream = new Stream())); // ends without a sample: reported all the same
    }
    if (type === "expect") stream.expected = until;
    else if (type === "end") stream.total = total ?? stream.played + stream.buffered;
    else if (type === "stop") stream.stop();
  }

  /** Fill `output` (Float32Array of zeros) with what is next. */
  render(output) {
    for (const stream of this.streams.values()) {
      if (stream.render(output, this.prebuffer)) {
        this.prebuffer = Math.min(this.prebuffer + STEP_SAMPLES, MAX_SAMPLES);
      }
    }
    this.sinceReport += output.length;
    const isOver = [...this.streams.values()].some((stream) => stream.state === "over");
    if (!this.streams.size || (this.sinceReport < REPORT_SAMPLES && !isOver)) return;
    this.sinceReport = 0;
    const streams = [...this.streams].map(([id, stream]) => stream.report(id));
    this.sendReport({ streams, prebuffer: this.prebuffer });
    for (const [id, stream] of this.streams) if (stream.state === "over") this.streams.delete(id);
  }
}
