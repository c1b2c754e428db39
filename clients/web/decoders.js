// Packets to 48 kHz samples: Opus by WebCodecs or WebAssembly, and 16-bit PCM.
//
// A decoder has decode(payload, pts), flush() (a promise: everything is out) and close(). Samples
// come to the function given, in order. Pre-skip and the end are the caller's to cut.

import { RATE_HZ } from "./mixer.js";

const OPUS_CONFIG = { codec: "opus", sampleRate: RATE_HZ, numberOfChannels: 1 };
const SINC_TAPS = 32; // per output sample, of the PCM resampler

/** Return "webcodecs" or "wasm", whichever decodes Opus here. */
export async function opusSupport() {
  if (globalThis.AudioDecoder) {
    const { supported } = await AudioDecoder.isConfigSupported(OPUS_CONFIG).catch(() => ({}));
    if (supported) return "webcodecs";
  }
  return "wasm";
}

/** Load what the first packet would otherwise wait for. */
export async function prepareOpus(support) {
  if (support === "wasm") await import("./vendor/opus-decoder.min.js");
}

/** Return a decoder for a context; `support` is what opusSupport said. */
export function createDecoder({ codec, rate }, support, onSamples) {
  if (codec === "pcm_s16le") return new PcmDecoder(rate, onSamples);
  if (codec !== "opus") throw new Error(`codec is ${codec}, valid: opus, pcm_s16le`);
  return support === "webcodecs" ? new WebCodecsOpus(onSamples) : new WasmOpus(onSamples);
}

class WebCodecsOpus {
  constructor(onSamples) {
    const output = (data) => {
      const samples = new Float32Array(data.numberOfFrames);
      data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
      data.close();
      onSamples(samples);
    };
    // Its own errors end the stream: what is missing then is heard, and said in the log.
    this.decoder = new AudioDecoder({ output, error: (error) => console.error(error) });
    this.decoder.configure(OPUS_CONFIG); // without a description: raw packets, nothing trimmed
  }

  decode(payload, pts) {
    const timestamp = Math.round((pts * 1e6) / RATE_HZ);
    this.decoder.decode(new EncodedAudioChunk({ type: "key", timestamp, data: payload }));
  }

  async flush() {
    if (this.decoder.state === "configured") await this.decoder.flush();
  }

  close() {
    if (this.decoder.state !== "closed") this.decoder.close();
  }
}

class WasmOpus {
  constructor(onSamples) {
    this.onSamples = onSamples;
    this.waiting = []; // packets that came before the decoder was compiled
    this.ready = this.#start();
  }

  async #start() {
    await import("./vendor/opus-decoder.min.js");
    const { OpusDecoder } = globalThis["opus-decoder"];
    const decoder = new OpusDecoder({ sampleRate: RATE_HZ, channels: 1, preSkip: 0 });
    await decoder.ready;
    this.decoder = decoder;
    if (this.isClosed) return this.close();
    for (const payload of this.waiting.splice(0)) this.#decode(payload);
  }

  #decode(payload) {
    const { channelData, samplesDecoded } = this.decoder.decodeFrame(payload);
    this.onSamples(channelData[0].slice(0, samplesDecoded));
  }

  decode(payload) {
    if (this.decoder) this.#decode(payload);
    else this.waiting.push(payload);
  }

  flush() {
    return this.ready;
  }

  close() {
    this.isClosed = true;
    this.waiting = [];
    this.decoder?.free();
    this.decoder = null;
  }
}

class PcmDecoder {
  constructor(rate, onSamples) {
    this.resampler = rate === RATE_HZ ? null : new Upsampler(rate);
    this.onSamples = onSamples;
  }

  decode(payload) {
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    const samples = new Float32Array(payload.byteLength >> 1);
    for (let i = 0; i < samples.length; i++) samples[i] = view.getInt16(2 * i, true) / 32768;
    this.onSamples(this.resampler ? this.resampler.process(samples) : samples);
  }

  async flush() {
    if (this.resampler) this.onSamples(this.resampler.process(new Float32Array(SINC_TAPS / 2)));
  }

  close() {}
}

/** Windowed-sinc resampling to 48 kHz with its state kept between packets. */
export class Upsampler {
  constructor(rate) {
    this.step = rate / RATE_HZ;
    this.history = new Float32Array(SINC_TAPS / 2); // the first taps see silence
    this.count = 0; // output samples so far
    this.start = -SINC_TAPS / 2; // input position of history[0]
  }

  process(samples) {
    const input = new Float32Array(this.history.length + samples.length);
    input.set(this.history);
    input.set(samples, this.history.length);
    const end = this.start + input.length;
    const output = [];
    for (;;) {
      const position = this.count * this.step;
      if (Math.floor(position) + SINC_TAPS / 2 >= end) break;
      output.push(this.#at(input, position));
      this.count += 1;
    }
    const keep = Math.max(0, Math.floor(this.count * this.step) - SINC_TAPS / 2 + 1 - this.start);
    this.history = input.slice(keep);
    this.start += keep;
    return Float32Array.from(output);
  }

  #at(input, position) {
    const first = Math.floor(position) - SINC_TAPS / 2 + 1;
    let sum = 0;
    for (let k = Math.max(0, this.start - first); k < SINC_TAPS; k++) {
      const x = position - (first + k);
      const window = Math.cos((Math.PI * x) / SINC_TAPS) ** 2; // Hann over the taps
      const sinc = x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
      sum += input[first + k - this.start] * sinc * window;
    }
    return sum;
  }
}
