// Plays streams of 48 kHz samples through one long-lived AudioContext.
//
// One context and one node for everything: what a source opens and closes per sentence stutters,
// in OBS above all. Without AudioWorklet (a page over plain HTTP from another machine has none) the
// same mixer runs in a ScriptProcessorNode.

import { Mixer, RATE_HZ } from "./mixer.js";

const FALLBACK_SAMPLES = 1024;

export class Player {
  /** Where the stream's "over" reports, positions and levels go: (report) => void, by stream id. */
  #listeners = new Map();

  constructor(context) {
    this.context = context;
    this.output = context.createGain();
    this.output.connect(context.destination);
    this.prebufferMs = 80;
    this.isWorklet = false;
  }

  /** Return a player. It is silent until `resume` is called in a user's gesture. */
  static async create() {
    const context = new AudioContext({ sampleRate: RATE_HZ, latencyHint: "interactive" });
    const player = new Player(context);
    if (context.audioWorklet) await player.#startWorklet();
    else player.#startFallback();
    return player;
  }

  async #startWorklet() {
    await this.context.audioWorklet.addModule(new URL("player-worklet.js", import.meta.url));
    const options = { numberOfInputs: 0, outputChannelCount: [1] };
    const node = new AudioWorkletNode(this.context, "stream-player", options);
    node.port.onmessage = (event) => this.#deliver(event.data);
    node.connect(this.output);
    this.isWorklet = true;
    this.send = (command, transfer = []) => node.port.postMessage(command, transfer);
  }

  #startFallback() {
    const node = this.context.createScriptProcessor(FALLBACK_SAMPLES, 0, 1);
    const mixer = new Mixer((report) => this.#deliver(report));
    node.onaudioprocess = (event) => {
      const output = event.outputBuffer.getChannelData(0);
      output.fill(0);
      mixer.render(output);
    };
    node.connect(this.output);
    this.node = node; // a reference, or it is collected
    this.send = (command) => mixer.receive(command);
  }

  #deliver({ streams, prebuffer }) {
    this.prebufferMs = (prebuffer / RATE_HZ) * 1000;
    for (const stream of streams) {
      this.#listeners.get(stream.id)?.(stream);
      if (stream.state === "over") this.#listeners.delete(stream.id);
    }
  }

  /** How far behind `played` the loudspeaker is, in ms. */
  get latencyMs() {
    return (this.context.outputLatency || this.context.baseLatency || 0) * 1000;
  }

  /** Call in a user's gesture: browsers keep a page silent until then. */
  async resume() {
    if (this.context.state !== "running") await this.context.resume();
  }

  /** Listen to the reports of a stream, until it is over. */
  listen(id, listener) {
    this.#listeners.set(id, listener);
  }

  /** Append samples (Float32Array, handed over). */
  push(id, samples) {
    this.send({ type: "push", id, samples }, [samples.buffer]);
  }

  /** Say where the last finished sentence ends: silence after it is no underrun. */
  expect(id, until) {
    this.send({ type: "expect", id, until });
  }

  /** No more samples; `total` is the exact length, unknown: what was pushed. */
  end(id, total) {
    this.send({ type: "end", id, total });
  }

  /** Fade out in 12 ms and drop the rest. */
  stop(id) {
    this.send({ type: "stop", id });
  }
}
