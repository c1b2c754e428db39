// Text the way a language model writes it: a token at a time, at an even pace.

const TOKEN = /\p{Script=Han}{1,2}|[\p{Script=Hiragana}\p{Script=Katakana}]{1,3}|\s?[\p{L}\p{N}]{1,5}|[\s\S]/gu;

/** Return the tokens of a text; joined they are the text. */
export function tokensOf(text) {
  return text.match(TOKEN) ?? [];
}

/** Hand `text` to `onToken` at `perSecond` tokens a second; resolves to true, false if aborted. */
export async function typeOut(text, perSecond, onToken, signal) {
  const started = performance.now();
  for (const [index, token] of tokensOf(text).entries()) {
    const due = started + (index * 1000) / perSecond;
    const wait = due - performance.now();
    if (wait > 1) await new Promise((resolve) => setTimeout(resolve, wait));
    if (signal.aborted) return false;
    onToken(token);
  }
  return true;
}
