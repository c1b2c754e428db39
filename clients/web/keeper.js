// Keeps a session open while the page is seen, so that a click speaks without connecting first.

const PING_MS = 5000; // servers end a session that says nothing for its first ten seconds
const FIRST_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 15000;

/** Connect, and again whenever the connection ends; `onState` gets connecting, ready or offline. */
export function keepOpen(live, onState) {
  let backoff = FIRST_BACKOFF_MS;
  let timer = null;

  async function connect() {
    clearTimeout(timer);
    timer = null;
    if (live.isConnected) return;
    onState("connecting");
    try {
      await live.connect();
      backoff = FIRST_BACKOFF_MS;
      onState("ready");
    } catch {
      onState("offline");
      later();
    }
  }

  function later() {
    if (document.visibilityState !== "visible") return;
    timer ??= setTimeout(connect, backoff);
    backoff = Math.min(2 * backoff, MAX_BACKOFF_MS);
  }

  live.addEventListener("closed", () => {
    onState("offline");
    later();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible" && !live.isConnected) connect();
  });
  setInterval(() => live.isConnected && live.ping(), PING_MS);
  return connect();
}
