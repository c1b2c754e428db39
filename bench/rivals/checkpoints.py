"""The same random full-size files for everybody: GPT-SoVITS v2, HuBERT, a reference recording.

Random networks do not know when a sentence is over. This GPT does: what its layers add is small, so
the last of them still tells the position, and the end token's row is solved for a step there. Every
package stops by itself at the same place, whatever it calls its limit. Speed does not depend on it.
"""

from __future__ import annotations

import json
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.official_files import (
    FULL_SOVITS,
    GptSizes,
    fill,
    gpt_shapes,
    write_gpt,
    write_hubert,
    write_sovits,
    write_speaker,
)
from engine.types import TOKEN_HZ, Array, FloatArray

REFERENCE_S = 4.0
REFERENCE_TEXT = "The lamps along the river came on before it was dark."
_PROMPT_PAD_S = 0.6  # upstream's; who pads less has a shorter prompt and makes more tokens
_RATE_HZ = 32000
_SPAN = 400  # positions the step is solved for
_BEFORE, _AFTER = -12.0, 30.0  # logits of the end token; the others' largest is about 7
_LAYER_GAIN = 0.05


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Where the files are, as everybody is given them."""

    folder: Path

    @property
    def gpt(self) -> Path:
        """GPT .ckpt."""
        return self.folder / "random-e15.ckpt"

    @property
    def sovits(self) -> Path:
        """SoVITS v2 .pth."""
        return self.folder / "random_e8_s216.pth"

    @property
    def hubert(self) -> Path:
        """transformers folder."""
        return self.folder / "chinese-hubert-base"

    @property
    def bert(self) -> Path:
        """transformers folder of one layer: English needs none, yet some load it."""
        return self.folder / "chinese-roberta-wwm-ext-large"

    @property
    def speaker(self) -> Path:
        """ERes2NetV2, which v2 does not need, yet some load it."""
        return self.folder / "sv" / "pretrained_eres2netv2w24s4ep4.ckpt"

    @property
    def reference(self) -> Path:
        """The recording all imitate, 32 kHz."""
        return self.folder / "reference.wav"


def write_checkpoints(folder: Path, tokens: int) -> Checkpoints:
    """Write what is not there yet; a sentence has `tokens` tokens after upstream's prompt."""
    files = Checkpoints(folder)
    mark = folder / "checkpoints.json"
    made = {"tokens": tokens, "reference_s": REFERENCE_S}
    if mark.is_file() and json.loads(mark.read_text()) == made:
        return files
    folder.mkdir(parents=True, exist_ok=True)
    end_at = round(TOKEN_HZ * (REFERENCE_S + _PROMPT_PAD_S)) + tokens - 1
    write_gpt(files.gpt, GptSizes(), replaced=gpt_that_ends(end_at))
    write_sovits(files.sovits, FULL_SOVITS)
    if not files.hubert.is_dir():
        write_hubert(files.hubert)
        _write_feature_extractor(files.hubert)
    if not files.bert.is_dir():
        _write_bert(files.bert)
    files.speaker.parent.mkdir(exist_ok=True)
    write_speaker(files.speaker)
    write_recording(files.reference, speech_like(REFERENCE_S))
    mark.write_text(json.dumps(made))
    return files


def gpt_that_ends(end_at: int, sizes: GptSizes | None = None) -> dict[str, Array]:
    """Return the tensors that make a GPT draw its end token at an audio position, from 0."""
    sizes = sizes or GptSizes()
    row = end_row(end_at, sizes.dim)
    unit = row / np.linalg.norm(row)
    tensors: dict[str, Array] = {}
    for name, shape in gpt_shapes(sizes).items():
        end = name.rpartition(".")[2]
        if ".norm" in name:
            tensors[name] = np.full(shape, 1.0 if end == "weight" else 0.0, np.float32)
        elif ".out_proj." in name or ".linear2." in name:
            small = _LAYER_GAIN * fill(name, shape)
            # Nothing a layer adds may be seen by the end token's row.
            tensors[name] = small - np.multiply.outer(unit, unit @ small)
        elif name.endswith("audio_embedding.word_embeddings.weight"):
            embeddings = 0.5 * fill(name, shape)
            tensors[name] = embeddings - np.multiply.outer(embeddings @ unit, unit)
        elif name.endswith("position.alpha"):
            tensors[name] = np.ones(shape, np.float32)
        elif name.endswith("predict_layer.weight"):
            head = 0.1 * fill(name, shape) / np.std(fill(name, shape))
            head[sizes.vocab - 1] = row
            tensors[name] = head
    return tensors


def end_row(end_at: int, dim: int) -> FloatArray:
    """Return the row that is far below the others before a position and far above from it on."""
    first = max(0, end_at - _SPAN // 2)
    positions = np.arange(first, first + _SPAN)
    seen = sinusoids(positions, dim)
    wanted = np.where(positions < end_at, _BEFORE, _AFTER)
    weights = np.where(np.abs(positions - end_at) < 2, 0.2, 1.0)
    centred = seen - seen.mean(1, keepdims=True)  # the last layer norm takes the mean out
    normal = centred.T @ (centred * weights[:, None]) + np.eye(dim)
    row = np.linalg.solve(normal, centred.T @ (weights * wanted))
    row -= row.mean()
    result: FloatArray = row.astype(np.float32)
    return result


def sinusoids(positions: Array, dim: int) -> Array:
    """Return the position codes of the transformer paper: sines at even places, then cosines."""
    angles = positions[:, None] * np.exp(np.arange(0, dim, 2) * -(np.log(10000.0) / dim))
    codes = np.zeros((len(positions), dim))
    codes[:, 0::2], codes[:, 1::2] = np.sin(angles), np.cos(angles)
    return codes


def speech_like(seconds: float) -> FloatArray:
    """Return four bursts a second of a voiced spectrum."""
    t = np.arange(round(seconds * _RATE_HZ)) / _RATE_HZ
    phase = 2 * np.pi * 140 * np.cumsum(1 + 0.03 * np.sin(2 * np.pi * 0.7 * t)) / _RATE_HZ
    voiced = sum(np.sin(k * phase) / k for k in range(1, 25))
    samples = voiced * (0.02 + np.clip(np.sin(2 * np.pi * 4 * t), 0, None))
    result: FloatArray = (0.1 * samples / np.sqrt(np.mean(samples**2))).astype(np.float32)
    return result


def write_recording(path: Path, samples: FloatArray) -> None:
    """Write 16-bit mono."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE_HZ)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def _write_feature_extractor(folder: Path) -> None:
    facts: Mapping[str, Any] = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor", "feature_size": 1,
        "sampling_rate": 16000, "do_normalize": True, "padding_value": 0, "padding_side": "right",
        "return_attention_mask": False,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(facts))


def _old_bert(state: dict[str, Any]) -> dict[str, Any]:
    """Return the tensors as the published file has them; some packages know no others."""
    import torch

    places = state["bert.embeddings.position_embeddings.weight"].shape[0]
    return {
        **state,
        "bert.embeddings.position_ids": torch.arange(places)[None],
        "cls.predictions.decoder.weight": state["bert.embeddings.word_embeddings.weight"],
        "cls.predictions.decoder.bias": state["cls.predictions.bias"],
    }


def _write_bert(folder: Path) -> None:
    import torch
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertForMaskedLM

    size = 21128
    config = BertConfig(
        vocab_size=size, hidden_size=1024, num_hidden_layers=1, num_attention_heads=16,
        intermediate_size=4096,
    )  # fmt: skip
    torch.manual_seed(1)
    network: Any = BertForMaskedLM(config)
    network.half().save_pretrained(folder)
    torch.save(_old_bert(network.state_dict()), folder / "pytorch_model.bin")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = special + [f"w{i}" for i in range(size - len(special))]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    BertWordPieceTokenizer(str(folder / "vocab.txt")).save(str(folder / "tokenizer.json"))
    facts = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(facts))
