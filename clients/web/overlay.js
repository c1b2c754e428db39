// ?overlay=1: the page as a browser source. It shows the sentence that sounds and a mouth, on
// nothing, and is told what to say
// - by events of its window, which obs-websocket can send into OBS's browser sources:
//   CallVendorRequest obs-browser/emit_event {event_name: "sovits.say", event_data: {text: "..."}}
// - or by ?text=, once.
// The detail of sovits.say: text, and if wanted ctx settings, `end` (default true: the text is
// whole; false: more of it follows) and `preempt` (default false: it waits for nothing and stops
// nothing). sovits.stop is silence at once.

/** Run the overlay; `settings` are what every speech starts from. */
export function runOverlay(live, stage, settings) {
  const root = document.documentElement;
  let open = null; // the speech that takes more text
  let queue = Promise.resolve();

  async function say({ text = "", end = true, ...own }) {
    if (!open) {
      const speech = await live.open({ ...settings, ...own });
      open = speech;
      stage.attach(speech, live.player.latencyMs);
      root.classList.add("speaking");
      speech.over.then(() => {
        if (stage.speech === speech) root.classList.remove("speaking");
        if (open === speech) open = null;
      });
    }
    stage.transcript.append(text);
    open.send(text);
    if (!end) return;
    const speech = open;
    open.end();
    open = null;
    await speech.over; // one after the other: their captions share the screen
  }

  function stop() {
    queue = Promise.resolve();
    open = null;
    stage.speech?.cancel();
  }

  addEventListener("sovits.say", (event) => {
    live.resume();
    queue = queue.then(() => say(event.detail)).catch((error) => console.error(error));
  });
  addEventListener("sovits.stop", stop);
  const text = new URLSearchParams(location.search).get("text");
  if (text) dispatchEvent(new CustomEvent("sovits.say", { detail: { text } }));
}
