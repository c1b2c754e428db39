// The page: reads the form, speaks, shows.

import { SAMPLES, language, preferredLanguage, setLanguage, t } from "./i18n.js";
import { keepOpen } from "./keeper.js";
import { runOverlay } from "./overlay.js";
import { SovitsLive } from "./sovits-live.js";
import { Stage } from "./stage.js";
import { typeOut } from "./typing.js";
import { offerVoiceForm } from "./voice-form.js";
import { listVoices } from "./voices.js";

const RETRY_MS = 1000;
const FORMATS = {
  opus: { codec: "opus", rate: 24000 },
  opus48: { codec: "opus", rate: 48000, bitrate: 64000 },
  pcm: { codec: "pcm_s16le", rate: 24000 },
};

const $ = (id) => document.getElementById(id);
const params = new URLSearchParams(location.search);
const isOverlay = params.has("overlay");
const token = () => sessionStorage.getItem("sovits.key") ?? "";
const live = new SovitsLive({ token: token(), decoder: params.get("decoder") ?? "auto" });
const FIGURES = ["first-packet", "first-sound", "rtf", "lead", "underruns", "bitrate", "stopped"];
const stage = new Stage({
  mouth: $("mouth"),
  wave: isOverlay ? null : $("wave"),
  transcript: $("transcript"),
  figures: Object.fromEntries(FIGURES.map((name) => [name, $(name)])),
});
let speech = null;
let typing = null; // AbortController of the text being typed
let voices = [];
let sampleIndex = 0;
let needsKey = false; // the server refused what we have

globalThis.sovits = { live, stage }; // for scripts of the browser source, and tests

// --- state ---

let state = "connecting";
let problem = "";

function show(next, why = "") {
  state = next;
  problem = why;
  const isBad = problem || next === "offline";
  $("status").dataset.state = isBad ? "bad" : next === "connecting" ? "" : next;
  const name = { connecting: "connecting", ready: "connected", speaking: "speaking", offline: "offline" };
  const about = [live.ready?.model, live.ready?.notice].filter(Boolean).join(", ");
  const isDetailed = next === "ready" && about;
  $("status-text").textContent = problem || t(name[next]) + (isDetailed ? ` · ${about}` : "");
  $("stop").disabled = next !== "speaking";
}

function localise(code) {
  localStorage.setItem("sovits.language", code);
  const wasSample = Object.values(SAMPLES).some((list) => list.includes($("text").value));
  setLanguage(code);
  if (wasSample || !$("text").value) $("text").value = SAMPLES[language()][sampleIndex];
  show(state, problem);
}

// --- voices ---

async function loadVoices(chosen = localStorage.getItem("sovits.voice")) {
  try {
    voices = await listVoices(token());
  } catch (error) {
    needsKey = error.status === 401;
    if (needsKey) {
      show("offline", t("needsKey"));
      $("connection").open = true;
      $("key").focus();
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS)); // it is starting
    return loadVoices(chosen);
  }
  needsKey = false;
  const label = ({ id, description }) => (description ? `${id} – ${description}` : id);
  $("voice").replaceChildren(...voices.map((voice) => new Option(label(voice), voice.id)));
  if (voices.some(({ id }) => id === chosen)) $("voice").value = chosen;
  showStyles();
}

function showStyles() {
  const styles = voices.find(({ id }) => id === $("voice").value)?.styles ?? [];
  $("style-field").hidden = styles.length < 2;
  $("style").replaceChildren(...styles.map((style) => new Option(style, style)));
}

function settings() {
  const chosen = { lang: $("lang").value, speed: Number($("speed").value) };
  if ($("voice").value) chosen.voice = $("voice").value;
  if (!$("style-field").hidden) chosen.style = $("style").value;
  return { ...chosen, format: FORMATS[$("codec").value], timings: ["char"] };
}

// --- speaking ---

async function speak() {
  const text = $("text").value;
  if (!text.trim()) {
    show(state, t("empty"));
    $("text").focus();
    return;
  }
  silence();
  const resumed = live.resume();
  const request = (typing = new AbortController());
  try {
    const mine = await live.open(settings());
    if (request.signal.aborted) return void mine.cancel();
    speech = mine;
    follow(mine);
    const append = (token) => {
      stage.transcript.append(token);
      mine.send(token);
    };
    if (!$("typing").checked) append(text);
    else if (!(await typeOut(text, Number($("tokens").value) || 20, append, request.signal))) return;
    mine.end();
    await resumed;
  } catch (error) {
    show("offline", t("failed", { why: error.message }));
  }
}

function follow(mine) {
  stage.attach(mine, live.player.latencyMs);
  show("speaking");
  mine.addEventListener("failed", ({ detail }) => {
    typing?.abort();
    show("ready", t("failed", { why: detail.message ?? detail.code }));
  });
  mine.over.then(() => {
    if (speech !== mine) return;
    speech = null;
    typing?.abort();
    show(live.isConnected ? "ready" : "offline", problem);
  });
  setTimeout(() => {
    if (live.player.context.state !== "running") show("speaking", t("silentPage"));
  }, RETRY_MS);
}

function silence() {
  typing?.abort();
  if (!speech) return;
  stage.noteStop();
  speech.cancel();
}

// --- the page ---

function listenToForm() {
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    speak();
  });
  $("stop").addEventListener("click", silence);
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") silence();
    else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) speak();
  });
  $("sample").addEventListener("click", () => {
    sampleIndex = (sampleIndex + 1) % SAMPLES[language()].length;
    $("text").value = SAMPLES[language()][sampleIndex];
  });
  $("speed").addEventListener("input", () => {
    $("speed-value").textContent = `${Number($("speed").value).toFixed(2)}×`;
  });
  $("voice").addEventListener("change", () => {
    localStorage.setItem("sovits.voice", $("voice").value);
    showStyles();
  });
  $("key").value = token();
  $("key").addEventListener("change", () => {
    sessionStorage.setItem("sovits.key", $("key").value);
    live.token = $("key").value;
    loadVoices();
    live.connect().then(() => show("ready"), () => show("offline"));
  });
}

function listenToTools() {
  $("language").addEventListener("click", () => localise(language() === "zh" ? "en" : "zh"));
  const root = document.documentElement;
  $("theme").addEventListener("click", () => {
    const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
    const now = root.dataset.theme ?? (isDark ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    localStorage.setItem("sovits.theme", root.dataset.theme);
    stage.refresh();
  });
  const theme = localStorage.getItem("sovits.theme");
  if (theme) root.dataset.theme = theme;
}

function startPage() {
  listenToForm();
  listenToTools();
  localise(preferredLanguage());
  loadVoices();
  keepOpen(live, (next) => {
    if (needsKey && next !== "ready") show("offline", t("needsKey"));
    else if (next !== "ready" || !speech) show(next, next === "connecting" ? problem : "");
  });
  offerVoiceForm({
    elements: {
      section: $("add-voice"),
      form: $("voice-form"),
      drop: $("drop"),
      file: $("voice-file"),
      fileName: $("voice-file-name"),
      name: $("voice-name"),
      language: $("voice-lang"),
      transcript: $("voice-transcript"),
      consent: $("voice-consent"),
      status: $("voice-status"),
    },
    token,
    onAdded: loadVoices,
  });
}

function startOverlay() {
  document.documentElement.classList.add("overlay");
  document.body.replaceChildren($("mouth"), $("transcript"));
  const wanted = ["voice", "style", "lang"].filter((name) => params.has(name));
  const chosen = Object.fromEntries(wanted.map((name) => [name, params.get(name)]));
  keepOpen(live, () => {});
  runOverlay(live, stage, { timings: ["char"], ...chosen });
}

if (isOverlay) startOverlay();
else startPage();
