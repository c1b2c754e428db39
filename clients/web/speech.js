// One text and its sound: what is said of it to the server, decoded and played.

import { createDecoder } from "./decoders.js";
import { RATE_HZ } from "./mixer.js";

const DISCONT = 32;
const ACK_MS = 200; // the protocol asks for 100 to 500
const SEND_MS = 30; // text that comes faster is joined: servers count messages
const LEVEL_FLOOR_DB = -50;
const LEVEL_RANGE_DB = 38;

/** Return how far a mouth is open, 0 to 1, for the RMS of what sounds. */
export function mouthLevel(rms) {
  const db = 20 * Math.log10(Math.max(rms, 1e-6));
  return Math.min(1, Math.max(0, (db - LEVEL_FLOOR_DB) / LEVEL_RANGE_DB));
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
  #sentText = []; // code points, for a server that did not get them
  #sentMarks = [];
  #segment = -1; // the last that began
  #timer = null;
  #lastSend = -Infinity;
  #lastAck = -Infinity;

  constructor(live, id, settings) {
    super();
    this.#live = live;
    this.id = id;
    this.settings = settings;
    this.lastSeq = -1; // of the last packet that arrived
    this.isServed = false; // nothing more comes from the server
    this.isOver = false; // nothing more is heard
    this.played = 0;
    this.figures = { sentAt: null, firstPacketMs: null, firstSoundMs: null, bytes: 0, packets: 0 };
    this.over = new Promise((resolve) => (this.#finish = resolve));
    // Playback is known by this page alone: ids of contexts may come again in another session.
    this.streamId = `${id}-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
    live.player.listen(this.streamId, (report) => this.#report(report));
    const { preempt, ...rest } = settings;
    const options = { resume_ok: true, ...(preempt ? { preempt } : {}), ...rest };
    live.send({ type: "context.open", ctx: id, ...options });
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
    if (this.isCancelled || this.isServed || !this.#live.isWhole) return;
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
    if (count) this.#sendText(this.#waiting.splice(0, count));
    let isMarked = false;
    while (this.#marks[0]?.at === this.#sent) {
      const mark = this.#marks.shift();
      this.#sentMarks.push(mark);
      this.#live.send({ type: mark.type, ctx: this.id });
      isMarked = true;
    }
    if ((count || isMarked) && this.#waiting.length) this.#pump();
  }

  #sendText(chars) {
    this.#live.send({ type: "text", ctx: this.id, text: chars.join("") });
    for (const char of chars) this.#sentText.push(char);
    this.#sent += chars.length;
    this.#lastSend = performance.now();
    this.figures.sentAt ??= this.#lastSend;
  }

  /** Go on over another socket, from what the server received. */
  goOn(received, isEnded) {
    if (this.isCancelled) {
      const played_ms = (this.played / RATE_HZ) * 1000;
      this.#live.send({ type: "cancel", ctx: this.id, played_ms });
    } else if (!isEnded) {
      this.#waiting = this.#sentText.splice(received).concat(this.#waiting);
      this.#sent = received;
      this.#marks = this.#sentMarks.filter((mark) => mark.at >= received).concat(this.#marks);
      this.#sentMarks = this.#sentMarks.filter((mark) => mark.at < received);
      this.#pump();
    }
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
        if (message.seg <= this.#segment) break; // sent again
        this.#segment = message.seg;
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
    const last = frame.seq + frame.payloads.length - 1;
    if (this.isCancelled || last <= this.lastSeq) return;
    this.lastSeq = last;
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
