"""A voice on disk: `voice.json` (words and names) and `voice.safetensors` (numbers).

Features only: nothing from which the reference recording could be played again, unless its owner
asked to keep it (folder `references/`).
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from engine.client import VoiceInfo
from engine.errors import InvalidParameter, VoiceError
from engine.manifest import hash_file
from engine.pack import FILE_MODE, move_in_place
from engine.types import Array, FloatArray, Language, Style, Voice

FORMAT = 1
MANIFEST = "voice.json"
TENSORS = "voice.safetensors"
REFERENCES = "references"
ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
DEFAULT_STYLE = "default"
_REQUIRED = ("prompt_phoneme_ids", "prompt_tokens", "vector")
_OPTIONAL = ("prompt_bert", "speaker_embedding")


@dataclass(frozen=True, slots=True)
class VoiceRecord:
    """What `voice.json` says; enough to list a voice without reading its numbers."""

    id: str
    pack_name: str
    pack_fingerprint: str
    description: str
    consent: str
    tensors_sha256: str
    styles: Mapping[str, Mapping[str, Any]]

    def info(self) -> VoiceInfo:
        """Return what may be said of the voice to anybody."""
        return VoiceInfo(
            id=self.id,
            language=Language(self.styles[DEFAULT_STYLE]["language"]),
            styles=tuple(sorted(self.styles)),
            description=self.description,
        )


def check_id(field: str, value: str) -> str:
    """Return `value` if it may name a voice or a style.

    Raises:
        InvalidParameter: Otherwise; such a name never reaches the file system.
    """
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise InvalidParameter(
            field, value, "1 to 64 of a-z, 0-9, '_' and '-', beginning with a letter or digit"
        )
    return value


def read_record(folder: Path) -> VoiceRecord:
    """Read `voice.json`.

    Raises:
        VoiceError: Missing or damaged.
    """
    path = folder / MANIFEST
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']}, this program reads {FORMAT}")
        record = VoiceRecord(
            id=str(data["id"]),
            pack_name=str(data["pack"]["name"]),
            pack_fingerprint=str(data["pack"]["fingerprint"]),
            description=str(data["description"]),
            consent=str(data["consent"]),
            tensors_sha256=str(data["sha256"]),
            styles={str(name): dict(style) for name, style in data["styles"].items()},
        )
        record.info()
        for style in record.styles.values():
            Language(style["language"]), str(style["transcript"]), float(style["gain_db"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(folder, f"{MANIFEST}: {_reason(error)}") from None
    if record.id != folder.name:
        raise _damaged(folder, f"{MANIFEST} is that of voice {record.id!r:.80}")
    return record


def read_voice(folder: Path) -> Voice:
    """Read a voice, checking that its two files belong together.

    Raises:
        VoiceError: Missing, damaged or incomplete.
    """
    record = read_record(folder)
    path = folder / TENSORS
    try:
        if hash_file(path) != record.tensors_sha256:
            raise ValueError("its contents changed")
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        styles = {name: _style(name, data, tensors) for name, data in record.styles.items()}
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise _damaged(folder, f"{TENSORS}: {_reason(error)}") from None
    return Voice(record.id, record.pack_fingerprint, styles, record.description, record.consent)


def _style(name: str, data: Mapping[str, Any], tensors: Mapping[str, Array]) -> Style:
    parts = {key: tensors[f"{name}.{key}"] for key in _REQUIRED}
    floats: dict[str, FloatArray | None] = {
        key: tensors[f"{name}.{key}"] if f"{name}.{key}" in tensors else None for key in _OPTIONAL
    }
    return Style(
        prompt_phoneme_ids=parts["prompt_phoneme_ids"],
        prompt_tokens=parts["prompt_tokens"],
        vector=parts["vector"],
        language=Language(data["language"]),
        transcript=str(data["transcript"]),
        prompt_bert=floats["prompt_bert"],
        speaker_embedding=floats["speaker_embedding"],
        gain_db=float(data["gain_db"]),
    )


def write_voice(
    folder: Path,
    voice: Voice,
    pack_name: str,
    *,
    references: Mapping[str, bytes] | None = None,
    keep_references: bool = False,
    replace_existing: bool = False,
) -> None:
    """Write a voice to `folder`; it appears complete or not at all.

    Args:
        references: Recordings to keep, by file name.
        keep_references: Keep also those that the voice had before.

    Raises:
        InvalidParameter: A bad id or style name.
        VoiceError: The voice exists and `replace_existing` is off.
    """
    check_id("voice", voice.id)
    for name in voice.styles:
        check_id("style", name)
    assert folder.name == voice.id and DEFAULT_STYLE in voice.styles
    if folder.exists() and not replace_existing:
        raise VoiceError(
            f"voice {voice.id!r} exists; choose another name, or replace it with --replace",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    try:
        staging.chmod(0o755)
        _write_files(staging, voice, pack_name)
        if keep_references and (folder / REFERENCES).is_dir():
            shutil.copytree(folder / REFERENCES, staging / REFERENCES)
        _write_references(staging / REFERENCES, references or {})
        move_in_place(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write_files(staging: Path, voice: Voice, pack_name: str) -> None:
    tensors: dict[str, Array] = {}
    for name, style in voice.styles.items():
        for key in (*_REQUIRED, *_OPTIONAL):
            value = getattr(style, key)
            if value is not None:
                tensors[f"{name}.{key}"] = np.ascontiguousarray(value)
    save_file(tensors, staging / TENSORS)
    (staging / TENSORS).chmod(FILE_MODE)
    data = {
        "format": FORMAT,
        "id": voice.id,
        "description": voice.description,
        "consent": voice.consent,
        "pack": {"name": pack_name, "fingerprint": voice.pack_fingerprint},
        "sha256": hash_file(staging / TENSORS),
        "styles": {
            name: {
                "language": str(style.language),
                "transcript": style.transcript,
                "gain_db": round(style.gain_db, 3),
                "prompt_tokens": len(style.prompt_tokens),
            }
            for name, style in voice.styles.items()
        },
    }
    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    (staging / MANIFEST).write_text(text, encoding="utf-8")


def _write_references(folder: Path, recordings: Mapping[str, bytes]) -> None:
    for name, data in recordings.items():
        folder.mkdir(exist_ok=True)
        (folder / Path(name).name).write_bytes(data)


def with_style(voice: Voice, name: str, style: Style) -> Voice:
    """Return `voice` with one style more, or replaced.

    Raises:
        InvalidParameter: A bad style name.
    """
    check_id("style", name)
    return replace(voice, styles={**voice.styles, name: style})


def _damaged(folder: Path, reason: str) -> VoiceError:
    return VoiceError(
        f"voice {folder.name!r} is damaged ({reason}); remove it with "
        f"`sovits-live voice remove {folder.name}` and add it again",
    )


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or "cannot be read"
    return f"no {error}" if isinstance(error, KeyError) else str(error)
