// The sovits.tts.v1 client for browsers: text in as it is written, speech out of the loudspeaker.
//
//   import { SovitsLive } from "./sovits-live.js";
//   const live = new SovitsLive({ url: "ws://127.0.0.1:8080" });
//   await live.resume();                      // in a click or key handler
//   const speech = await live.open({ voice: "default" });
//   speech.addEventListener("segment", (event) => console.log(event.detail.text));
//   speech.send("Hello, "); speech.send("world."); speech.end();
//   await speech.over;                        // played out, stopped or failed
//
// Events of a Speech, each with `detail`: started, segment {seg, text, start, end, pts}, segmentdone,
// timing, packet, warning, done and cancelled (the server's messages), failed {code, message},
// position {played, buffered, state, underruns, rms, level} every 20 ms in step with the sound, and
// over. Times are samples at 48 kHz of the speech; `start` and `end` count code points of the text.
//
// A connection that breaks is made again, and speeches go on where they were: packets that were
// missed come again, text that did not arrive is sent again. Meanwhile what is buffered plays on.

import { opusSupport, prepareOpus } from "./decoders.js";
import { RATE_HZ } from "./mixer.js";
import { Player } from "./player.js";
import { Speech } from "./speech.js";

export { RATE_HZ, Speech };
export { mouthLevel } from "./speech.js";
export const SUBPROTOCOL = "sovits.tts.v1";

const PATH = "v1/tts/ws";
const HEADER_BYTES = 16;
const BATCH = 16;
const OPEN_TIMEOUT_MS = 10000;
const BROKEN = 1006; // a socket nobody closed
const RESUME_DELAYS_MS = [0, 500, 1000, 2000, 4000, 8000]; // the server waits for 30 s

/** Return {flags, alias, seq, pts, duration, seg, payloads} of a binary message. */
export function parseFrame(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength < HEADER_BYTES || view.getUint8(0) !== 1) {
    throw new Error(`no h16 frame of version 1: ${buffer.byteLength} bytes`);
  }
  const flags = view.getUint8(1);
  const header = {
    flags,
    alias: view.getUint16(2),
    seq: view.getUint32(4),
    pts: view.getUint32(8),
    duration: view.getUint16(12),
    seg: view.getUint16(14),
  };
  const payloads = [];
  if (!(flags & BATCH)) {
    payloads.push(new Uint8Array(buffer, HEADER_BYTES));
  } else {
    for (let at = HEADER_BYTES; at < buffer.byteLength; ) {
      const length = view.getUint16(at);
      if (at + 2 + length > buffer.byteLength) throw new Error("a batch is cut short");
      payloads.push(new Uint8Array(buffer, at + 2, length));
      at += 2 + length;
    }
  }
  return { ...header, payloads };
}

/** Return the address of the native socket for a page's or a server's address, under a prefix too. */
export function socketUrl(url) {
  const parsed = new URL(url, globalThis.location?.href);
  parsed.protocol = { "http:": "ws:", "https:": "wss:" }[parsed.protocol] ?? parsed.protocol;
  parsed.pathname = parsed.pathname.replace(/\/(?:[^/]*\.html)?$/, `/${PATH}`);
  parsed.search = parsed.hash = "";
  return parsed.href;
}

/** One session. Events: ready, warning, goingaway, resuming, sessionresumed, closed {code, reason}. */
export class SovitsLive extends EventTarget {
  #socket = null;
  #connecting = null;
  #speeches = new Map(); // by ctx
  #aliases = new Map();
  #pongs = new Map();
  #numbers = 0;
  #torn = null; // the token of a session whose socket broke, until it goes on or is given up
  #resumed = null; // takes the answer to session.resume

  /** `decoder`: "auto", "webcodecs" or "wasm"; `token`: API key. */
  constructor({ url = globalThis.location.href, token = "", decoder = "auto" } = {}) {
    super();
    this.url = socketUrl(url);
    this.token = token;
    this.decoder = decoder;
    this.ready = null;
    this.player = null;
  }

  get isConnected() {
    return this.#socket?.readyState === WebSocket.OPEN && this.ready !== null;
  }

  /** Make the player and let it sound. Call it in a user's gesture. */
  async resume() {
    await this.prepare();
    await this.player.resume();
  }

  /** Make the player; what it plays waits until it may sound. */
  async prepare() {
    this.preparing ??= Player.create();
    this.player = await this.preparing;
  }

  /** Connect, unless that was done; resolves to the server's `ready`. */
  async connect() {
    if (this.isConnected) return this.ready;
    this.#connecting ??= this.#open().finally(() => (this.#connecting = null));
    return this.#connecting;
  }

  async #open() {
    this.support = this.decoder === "auto" ? await opusSupport() : this.decoder;
    await Promise.all([this.#greeted(), prepareOpus(this.support)]);
    if (this.#torn) await this.#takeUp();
    return this.ready;
  }

  #greeted() {
    const protocols = [SUBPROTOCOL, ...(this.token ? [`bearer.${this.token}`] : [])];
    const socket = new WebSocket(this.url, protocols);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => socket.close(), OPEN_TIMEOUT_MS);
      this.addEventListener("ready", () => resolve(this.ready), { once: true });
      socket.onmessage = (event) => {
        clearTimeout(timer);
        this.#receive(event.data);
      };
      socket.onclose = ({ code, reason }) => {
        clearTimeout(timer);
        reject(new Error(reason || `no session (${code})`));
        if (this.#socket === socket) this.#lost(code, reason);
      };
    });
  }

  #lost(code, reason) {
    const token = this.ready?.resume_token;
    this.ready = null;
    this.#resumed?.(undefined);
    if (this.#torn) return; // one attempt of several
    if (code === BROKEN && token && this.#speeches.size) {
      this.#torn = token;
      this.#retry(code, reason);
    } else {
      this.#end(code, reason);
    }
  }

  /** Connect again and again until the session goes on or is given up. */
  async #retry(code, reason) {
    this.#emit("resuming", { code });
    for (const delay of RESUME_DELAYS_MS) {
      await new Promise((resolve) => setTimeout(resolve, delay));
      if (this.#torn) await this.connect().catch(() => {});
      if (!this.#torn) return;
    }
    this.#torn = null;
    this.#end(code, reason);
  }

  /** Go on with the torn session over the new socket, before anything else is said on it. */
  async #takeUp() {
    const last = {};
    for (const [ctx, speech] of this.#speeches) if (speech.lastSeq >= 0) last[ctx] = speech.lastSeq;
    const token = this.#torn;
    const answer = await new Promise((resolve) => {
      this.#resumed = resolve;
      this.#socket.send(JSON.stringify({ type: "session.resume", token, last }));
    });
    this.#resumed = null;
    if (answer === undefined) throw new Error("the connection broke again");
    this.#torn = null;
    if (answer) this.ready = { ...this.ready, resume_token: token, session_id: answer.session_id };
    for (const [ctx, speech] of this.#speeches) {
      if (answer?.contexts.includes(ctx)) {
        speech.goOn(answer.received[ctx], answer.ended.includes(ctx));
      } else {
        speech.fail({ code: "session_lost", message: "the server did not keep the session" });
        this.#speeches.delete(ctx);
      }
    }
  }

  #end(code, reason) {
    for (const speech of this.#speeches.values()) {
      speech.fail({ code: "session_lost", message: reason || `the connection ended (${code})` });
    }
    this.#speeches.clear();
    this.#aliases.clear();
    this.#emit("closed", { code, reason });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** Open a context. `settings` are the protocol's: voice, lang, speed, style, format, preempt... */
  async open(settings = {}) {
    await Promise.all([this.prepare(), this.connect()]);
    const id = `c${++this.#numbers}`;
    const speech = new Speech(this, id, settings);
    this.#speeches.set(id, speech);
    return speech;
  }

  /** False while the socket is broken and the session may yet go on: nothing can be sent. */
  get isWhole() {
    return this.#torn === null;
  }

  /** Send a message of the protocol. */
  send(message) {
    if (this.isWhole && this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** Return the round trip in ms; also keeps an idle session open. */
  ping() {
    const t = performance.now();
    this.send({ type: "ping", t });
    return new Promise((resolve) => this.#pongs.set(t, resolve));
  }

  /** Stop all speech and end the session. */
  close() {
    for (const speech of [...this.#speeches.values()]) speech.cancel();
    const wasTorn = !this.isWhole;
    this.#torn = null;
    this.#socket?.close(1000);
    if (wasTorn) this.#end(1000, "");
  }

  #receive(data) {
    if (data instanceof ArrayBuffer) {
      const frame = parseFrame(data);
      this.#aliases.get(frame.alias)?.receiveAudio(frame);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "ready") {
      this.ready = message;
      this.#emit("ready", message);
    } else if (message.type === "pong") {
      this.#pongs.get(message.t)?.(performance.now() - message.t);
      this.#pongs.delete(message.t);
    } else if (message.ctx === undefined) {
      if (message.type === "session.resumed") this.#resumed?.(message);
      if (message.type === "error") this.#resumed?.(null);
      this.#emit(message.type.replaceAll(/[._]/g, ""), message);
    } else {
      this.#receiveOf(message);
    }
  }

  #receiveOf(message) {
    const speech = this.#speeches.get(message.ctx);
    if (!speech) return;
    if (message.type === "context.started") this.#aliases.set(message.alias, speech);
    speech.receive(message);
    if (speech.isServed) {
      this.#speeches.delete(message.ctx);
      for (const [alias, known] of this.#aliases) if (known === speech) this.#aliases.delete(alias);
    }
  }
}
