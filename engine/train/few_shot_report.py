"""What a fine-tuning came to, as one HTML file: losses, curves, samples before and after."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path

import numpy as np
import soundfile

from engine.audio.resample import resample
from engine.backends.base import ReferenceEncoder
from engine.config import EngineConfig
from engine.pack import Pack
from engine.text.frontend import Frontend
from engine.thread_engine import ThreadEngine
from engine.train.curves import CURVES
from engine.train.early_stop import Outcome
from engine.train.few_shot import recorded
from engine.train.prepare import Skipped
from engine.train.store import Entry, FeatureStore
from engine.types import FloatArray, Language, SentenceJob, SynthesisParams

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "td,th{border:1px solid #ccc;padding:.2rem .6rem}table{border-collapse:collapse}"
    "img{max-width:100%}"
)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One text, recorded and spoken: float32 waves at the pack's rate."""

    text: str
    waves: Mapping[str, FloatArray]
    similarity: Mapping[str, float]  # to the recording, by the pack's own speaker network


def speak(
    pack: Pack, voices_dir: Path, voice: str, texts: Sequence[tuple[str, Language]]
) -> list[FloatArray]:
    """Speak texts with a pack by torch; float32 [N] each."""
    return asyncio.run(_speak(pack, voices_dir, voice, texts))


async def _speak(
    pack: Pack, voices_dir: Path, voice: str, texts: Sequence[tuple[str, Language]]
) -> list[FloatArray]:
    frontend = Frontend(pack.symbol_set)
    params = SynthesisParams(**asdict(pack.sampling))
    config = EngineConfig(
        backend="torch",
        pack=pack.path,
        voices_dir=voices_dir,
        num_slots=1,
        max_positions=min(1024, pack.config.t2s.max_positions),
    )
    engine = ThreadEngine(config)
    await engine.start()
    try:
        spoken = []
        for number, (text, language) in enumerate(texts):
            phonemes = frontend.phonemize(text, language)
            job = SentenceJob(number, f"sample-{number}", 0, phonemes, voice, params=params)
            async with engine.synthesize(job) as chunks:
                parts = [chunk.samples async for chunk in chunks]
            spoken.append(np.concatenate(parts))
        return spoken
    finally:
        await engine.close()


def samples(
    store: FeatureStore,
    chosen: Sequence[Entry],
    spoken: Mapping[str, Sequence[FloatArray]],
    reference: ReferenceEncoder,
    rate_hz: int,
) -> list[Sample]:
    """Put each recording beside what was spoken of its text."""
    found = []
    for number, entry in enumerate(chosen):
        waves = {"recording": recorded(store, entry), **{k: v[number] for k, v in spoken.items()}}
        embeddings = {k: _embedding(reference, wave, rate_hz) for k, wave in waves.items()}
        own = embeddings.pop("recording")
        similar = {
            k: round(_cosine(own, other), 3)
            for k, other in embeddings.items()
            if own is not None and other is not None
        }
        found.append(Sample(entry.text, waves, similar))
    return found


def _embedding(reference: ReferenceEncoder, wave: FloatArray, rate_hz: int) -> FloatArray | None:
    return reference.speaker_embedding(resample(wave, rate_hz, 16000))


def _cosine(a: FloatArray | None, b: FloatArray | None) -> float:
    assert a is not None and b is not None
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-9))


def write_report(
    work: Path,
    name: str,
    facts: Mapping[str, str],
    skipped: Sequence[Skipped],
    outcomes: Mapping[str, Outcome | None],
    found: Sequence[Sample],
    rate_hz: int,
) -> Path:
    """Write `report.html` into the work folder and return it."""
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(name)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(name)}</h1>",
        _table([[key, value] for key, value in facts.items()]),
        "<h2>Held-out loss</h2>",
        _table([_outcome_row(stage, outcome) for stage, outcome in outcomes.items()]),
    ]
    for stage in outcomes:
        if (picture := work / stage / CURVES).exists():
            data = base64.b64encode(picture.read_bytes()).decode()
            parts.append(f'<h2>{escape(stage)}</h2><img src="data:image/png;base64,{data}">')
    parts.append("<h2>Samples</h2>" + "".join(_sample(sample, rate_hz) for sample in found))
    if skipped:
        parts.append("<h2>Not used</h2>" + _table([[s.where, s.reason] for s in skipped]))
    path = work / "report.html"
    path.write_text("".join(parts) + "</html>\n", encoding="utf-8")
    return path


def _outcome_row(stage: str, outcome: Outcome | None) -> list[str]:
    if outcome is None:
        return [stage, "too few utterances to hold any back; the last weights are used"]
    change = f"{outcome.before:.4f} before, {outcome.best:.4f} at step {outcome.best_step}"
    return [stage, change + ("" if outcome.best_step else ": training did not help")]


def _sample(sample: Sample, rate_hz: int) -> str:
    rows = []
    for name, wave in sample.waves.items():
        packed = io.BytesIO()
        soundfile.write(packed, wave, rate_hz, format="FLAC")
        data = base64.b64encode(packed.getvalue()).decode()
        player = f'<audio controls preload="none" src="data:audio/flac;base64,{data}"></audio>'
        near = f"{sample.similarity[name]:.3f}" if name in sample.similarity else ""
        rows.append(f"<tr><td>{escape(name)}</td><td>{player}</td><td>{near}</td></tr>")
    return f"<p>{escape(sample.text)}</p><table>{''.join(rows)}</table>"


def _table(rows: Sequence[Sequence[str]]) -> str:
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table>{body}</table>"
