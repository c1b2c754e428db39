// The server's voices: listed, and added where the server lets one.

export class HttpError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

function headers(token) {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function answerOf(response) {
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  throw new HttpError(response.status, body.error?.message ?? `HTTP ${response.status}`);
}

/** Return [{id, language, styles, description}]; an HttpError has the status. */
export async function listVoices(token) {
  const body = await answerOf(await fetch("v1/voices", { headers: headers(token) }));
  return body.voices;
}

/** True if the server takes new voices here: it says so without being sent one. */
export async function canAddVoices(token) {
  const options = { method: "OPTIONS", headers: headers(token) };
  const response = await fetch("v1/voices", options).catch(() => null);
  return response?.headers.get("Allow")?.includes("POST") ?? false;
}

/** Add a voice from a recording. */
export async function addVoice(token, { file, name, language, transcript, consent }) {
  const body = new FormData();
  body.append("name", name);
  body.append("lang", language);
  body.append("text", transcript);
  body.append("consent", consent);
  body.append("audio", file, file.name);
  return answerOf(await fetch("v1/voices", { method: "POST", headers: headers(token), body }));
}
