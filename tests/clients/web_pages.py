"""The web page in a headless browser, served by a real server with the fake engine's tones."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np

from engine.backends.fake import FakeScript
from engine.config import EngineConfig
from engine.thread_engine import ThreadEngine
from tests.clients.chromium import Page, browse
from tests.server.live import Live, serve

SCRIPT = FakeScript(step_s=0.001, tokens_per_phoneme=1)  # 40 ms a letter, far faster than speech
# What the page lets scripts reach is `sovits`; the probe listens where the loudspeaker does. All
# its times are the output's own, so they are the same however late the page comes to look.
PROBE = """(() => {
  const { context, output } = sovits.live.player;
  const listen = (fftSize) => {
    const analyser = context.createAnalyser();
    analyser.fftSize = fftSize;
    analyser.smoothingTimeConstant = 0;
    output.connect(analyser);
    return analyser;
  };
  const [analyser, memory] = [listen(4096), listen(32768)];
  globalThis.probe = () => {
    const samples = new Float32Array(analyser.fftSize);
    analyser.getFloatTimeDomainData(samples);
    const bins = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(bins);
    const rms = Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length);
    return { rms, hz: (bins.indexOf(Math.max(...bins)) * context.sampleRate) / analyser.fftSize };
  };
  // The loudest of all windows so far: one may have begun before the sound, or hold a pause.
  globalThis.loudest = { rms: 0, hz: 0 };
  globalThis.listen = () => {
    const now = probe();
    if (now.rms > loudest.rms) loudest = now;
    return loudest;
  };
  // When the last sample sounded that is not zero; at least 0.7 s ago if there is none.
  globalThis.lastSound = () => {
    const samples = new Float32Array(memory.fftSize);
    memory.getFloatTimeDomainData(samples);
    const last = samples.findLastIndex((x) => Math.abs(x) > 1e-4);
    return context.currentTime - (samples.length - 1 - last) / context.sampleRate;
  };
})()"""


@asynccontextmanager
async def served(*settings: str, script: FakeScript = SCRIPT) -> AsyncIterator[Live]:
    """Run the server."""
    engine = ThreadEngine(EngineConfig(backend="fake", fake=script))
    async with serve(*settings, engine=engine) as live:  # type: ignore[arg-type]
        yield live


@asynccontextmanager
async def opened(
    chromium: str, path: str = "/", *, script: FakeScript = SCRIPT
) -> AsyncIterator[Page]:
    """Open the page in English, connected, with its voices."""
    async with served("audio.voice=fake", script=script) as live, browse(chromium) as page:
        await page.open(live.http + path)
        await page.until("globalThis.sovits?.live.isConnected")
        yield page


async def imported(page: Page, script: str) -> object:
    """Run the body of an async function that has the page's modules as names."""
    return await page.run(
        f"""(async () => {{
          const {{ Mixer }} = await import("/web/mixer.js");
          const {{ Upsampler }} = await import("/web/decoders.js");
          const {{ SovitsLive, parseFrame, mouthLevel, socketUrl }} =
            await import("/web/sovits-live.js");
          const {{ tokensOf }} = await import("/web/typing.js");
          const encode = (samples) => {{
            const bytes = new Uint8Array(samples.buffer);
            let text = "";
            for (let i = 0; i < bytes.length; i += 8192) {{
              text += String.fromCharCode(...bytes.subarray(i, i + 8192));
            }}
            return btoa(text);
          }};
          {script}
        }})()"""
    )


def samples_of(encoded: object) -> np.ndarray:
    """Return what the page gave as `encode(Float32Array)`."""
    assert isinstance(encoded, str)
    return np.frombuffer(base64.b64decode(encoded), np.float32)
