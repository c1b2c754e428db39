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

import { createDecoder, opusSupport, prepareOpus } from "./decoders.js";
import { RATE_HZ } from "./mixer.js";
import { Player } from "./player.js";

export { RATE_HZ };
export const SUBPROTOCOL = "sovits.tts.v1";

const PATH = "v1/tts/ws";
const HEADER_BYTES = 16;
const BATCH = 16;
const DISCONT = 32;
const ACK_MS = 200; // the protocol asks for 100 to 500
const SEND_MS = 30; // text that comes faster is joined: servers count messages
const OPEN_TIMEOUT_MS = 10000;
const LEVEL_FLOOR_DB = -50;
const LEVEL_RANGE_DB = 38;

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

/** Return how far a mouth is open, 0 to 1, for the RMS of what sounds. */
export function mouthLevel(rms) {
  const db = 20 * Math.log10(Math.max(rms, 1e-6));
  return Math.min(1, Math.max(0, (db - LEVEL_FLOOR_DB) / LEVEL_RANGE_DB));
}

/** Return the address of the native socket for a page's or a server's address, under a prefix too. */
export function socketUrl(url) {
  const parsed = new URL(url, globalThis.location?.href);
  parsed.protocol = { "http:": "ws:", "https:": "wss:" }[parsed.protocol] ?? parsed.protocol;
  parsed.pathname = parsed.pathname.replace(/\/(?:[^/]*\.html)?$/, `/${PATH}`);
  parsed.search = parsed.hash = "";
  return parsed.href;
}

/** One session. Events: ready, warning, goingaway, closed {code, reason}. */
export class SovitsLive extends EventTarget {
  #socket = null;
  #connecting = null;
  #speeches = new Map(); // by ctx
  #aliases = new Map();
  #pongs = new Map();
  #numbers = 0;

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
    const [ready] = await Promise.all([this.#greeted(), prepareOpus(this.support)]);
    return ready;
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
    this.ready = null;
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

  /** Send a message of the protocol. */
  send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
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
    this.#socket?.close(1000);
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

/** One text and its sound; made by SovitsLive.open. */
export class Speech extends EventTarget {
  #live;
  #decoder = null;
  #skip = 0; // samples of the decoder's delay still to drop
  #sent = 0; // code points
  #spoken = 0; // code points of sentences that began
  #waiting = []; // code points not sent yet
  #marks = []; // flush and end, by the code point they come after
  #timer = null;
  #lastSend = -Infinity;
  #lastAck = -Infinity;

  constructor(live, id, settings) {
    super();
    this.#live = live;
    this.id = id;
    this.settings = settings;
    this.isServed = false; // nothing more comes from the server
    this.isOver = false; // nothing more is heard
    this.played = 0;
    this.figures = { sentAt: null, firstPacketMs: null, firstSoundMs: null, bytes: 0, packets: 0 };
    this.over = new Promise((resolve) => (this.#finish = resolve));
    // Playback is known by this page alone: ids of contexts may come again in another session.
    this.streamId = `${id}-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
    live.player.listen(this.streamId, (report) => this.#report(report));
    const { preempt, ...rest } = settings;
    live.send({ type: "context.open", ctx: id, ...(preempt ? { preempt } : {}), ...rest });
  }

  #finish;

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** Append text, exactly as it is. */
  send(text) {
    for (const char of text) this.#waiting.push(char);
    this.#pump();
  }

  /** Speak what was sent without waiting for its end. */
  flush() {
    this.#marks.push({ at: this.#sent + this.#waiting.length, type: "flush" });
    this.#pump();
  }

  /** No more text comes. */
  end() {
    this.#marks.push({ at: this.#sent + this.#waiting.length, type: "end" });
    this.#pump();
  }

  /** Fade out in 12 ms, drop the rest, stop the server. */
  cancel() {
    if (this.isOver) return this.over;
    this.isCancelled = true;
    this.#live.player.stop(this.streamId);
    clearTimeout(this.#timer);
    if (!this.isServed) {
      const played_ms = (this.played / RATE_HZ) * 1000;
      this.#live.send({ type: "cancel", ctx: this.id, played_ms });
    }
    this.#decoder?.close();
    return this.over;
  }

  /** Send what may be sent: text not more often than SEND_MS, nor more than the server buffers. */
  #pump() {
    if (this.isCancelled || this.isServed) return;
    const room = (this.#live.ready.limits.max_buffer_chars >> 1) - (this.#sent - this.#spoken);
    const until = this.#marks.length ? this.#marks[0].at - this.#sent : Infinity;
    const count = Math.max(0, Math.min(this.#waiting.length, room, until));
    const wait = this.#lastSend + SEND_MS - performance.now();
    if (count && wait > 0) {
      this.#timer ??= setTimeout(() => {
        this.#timer = null;
        this.#pump();
      }, wait);
      return;
    }
    if (count) this.#sendText(this.#waiting.splice(0, count).join(""), count);
    let isMarked = false;
    while (this.#marks[0]?.at === this.#sent) {
      this.#live.send({ type: this.#marks.shift().type, ctx: this.id });
      isMarked = true;
    }
    if ((count || isMarked) && this.#waiting.length) this.#pump();
  }

  #sendText(text, count) {
    this.#live.send({ type: "text", ctx: this.id, text });
    this.#sent += count;
    this.#lastSend = performance.now();
    this.figures.sentAt ??= this.#lastSend;
  }

  /** Take a message of the session. */
  receive(message) {
    switch (message.type) {
      case "context.started":
        this.started = message;
        this.#restart();
        this.#emit("started", message);
        break;
      case "segment.started":
        this.#spoken = Math.max(this.#spoken, message.end);
        this.#pump();
        this.#emit("segment", message);
        break;
      case "segment.done":
        this.#live.player.expect(this.streamId, message.pts_end);
        this.#emit("segmentdone", message);
        break;
      case "context.done":
        this.isServed = true;
        this.#playOut(message.total_samples48);
        this.#emit("done", message);
        break;
      case "context.cancelled":
        this.isServed = true;
        this.#live.player.stop(this.streamId);
        this.#emit("cancelled", message);
        break;
      case "error":
        this.#emit("failed", message);
        if (message.fatal || !this.started) this.fail(null);
        break;
      default:
        this.#emit(message.type.replaceAll(/[._]/g, ""), message);
    }
  }

  #restart() {
    this.#decoder?.close();
    this.#skip = this.started.pre_skip;
    this.#decoder = createDecoder(this.started, this.#live.support, (samples) => {
      const dropped = Math.min(this.#skip, samples.length);
      this.#skip -= dropped;
      const rest = dropped ? samples.slice(dropped) : samples;
      if (this.isCancelled || !rest.length) return;
      this.#emit("samples", rest);
      this.#live.player.push(this.streamId, rest);
    });
  }

  async #playOut(total) {
    if (this.isCancelled) return;
    await this.#decoder?.flush();
    this.#live.player.end(this.streamId, total);
    this.#decoder?.close();
  }

  /** Take a binary message of the session. */
  receiveAudio(frame) {
    if (this.isCancelled) return;
    this.figures.firstPacketMs ??= performance.now() - this.figures.sentAt;
    if (frame.flags & DISCONT) this.#restart();
    let pts = frame.pts;
    for (const payload of frame.payloads) {
      this.figures.bytes += payload.length;
      this.figures.packets += 1;
      if (payload.length) this.#decoder.decode(payload, pts);
      pts += frame.duration / frame.payloads.length;
    }
    this.#emit("packet", frame);
  }

  /** Give up: what came is played out. `why` is told, if there is something to tell. */
  fail(why) {
    this.isServed = true;
    if (why) this.#emit("failed", { ...why, fatal: true });
    this.#playOut(undefined);
  }

  #report(report) {
    const now = performance.now();
    if (report.played && this.figures.firstSoundMs === null) {
      this.figures.firstSoundMs = now - this.figures.sentAt + this.#live.player.latencyMs;
    }
    this.played = report.played;
    this.#emit("position", { ...report, level: mouthLevel(report.rms) });
    if (report.state === "over") {
      this.isOver = true;
      clearTimeout(this.#timer);
      this.#emit("over", report);
      this.#finish(report);
    } else if (!this.isServed && report.played && now - this.#lastAck >= ACK_MS) {
      this.#lastAck = now;
      const played_ms = (report.played / RATE_HZ) * 1000;
      this.#live.send({ type: "ack", ctx: this.id, played_ms });
    }
  }
}
