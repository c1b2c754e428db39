// The mixer on the audio thread.

import { Mixer } from "./mixer.js";

class StreamPlayer extends AudioWorkletProcessor {
  constructor() {
    super();
    this.mixer = new Mixer((report) => this.port.postMessage(report));
    this.port.onmessage = (event) => this.mixer.receive(event.data);
  }

  process(inputs, outputs) {
    this.mixer.render(outputs[0][0]);
    return true;
  }
}

registerProcessor("stream-player", StreamPlayer);
