"""Turns official GPT-SoVITS files into a model pack, after checking that they belong together.

Needs no torch: files are read by `engine/checkpoint.py`, names are mapped on numpy arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine.checkpoint import VERSION_TAGS, FileKind, OfficialFile, read_official
from engine.errors import CheckpointError
from engine.manifest import hash_file
from engine.model_config import (
    AcousticConfig,
    BertConfig,
    HifiGanConfig,
    ModelConfig,
    SpeakerConfig,
    SslConfig,
    SymbolSet,
    T2SConfig,
)
from engine.models import official_acoustic, official_reference, official_t2s
from engine.pack import Pack, PackInfo, Part, write_pack
from engine.types import Array, Language

LANGUAGES: Mapping[SymbolSet, tuple[Language, ...]] = {
    "v1": (Language.ZH, Language.EN, Language.JA),
    "v2": (Language.ZH, Language.EN, Language.JA, Language.KO, Language.YUE),
}
# v1's GPT has 512 phoneme rows of which it uses 322 (s1longer.yaml @48b1a01).
_GPT_SYMBOLS: Mapping[int, SymbolSet] = {322: "v1", 512: "v1", 732: "v2"}
_PLUS_KERNEL = 20  # of the first upsampling; 16 in all other versions

Weights = dict[str, Array]


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What to import, and as what.

    Attributes:
        out: The pack's folder.
        hubert, bert: transformers folders; without HuBERT no voice can be enrolled.
        speaker: ERes2NetV2 file, for v2Pro and v2ProPlus.
        notice: See `PackInfo`.
        licences: See `PackInfo`.
    """

    name: str
    out: Path
    gpt: Path
    sovits: Path
    hubert: Path | None = None
    bert: Path | None = None
    speaker: Path | None = None
    notice: str = ""
    licences: tuple[str, ...] = ()
    replace: bool = False


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The pack, and what its owner should know."""

    pack: Pack
    warnings: tuple[str, ...]


@dataclass(slots=True)
class _Parts:
    """What is gathered while importing."""

    weights: dict[Part, Weights] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add(self, part: Part, file: OfficialFile, weights: Weights) -> None:
        self.weights[part] = weights
        digest = "" if file.path.is_dir() else f" sha256:{hash_file(file.path)}"
        self.sources[part] = file.path.name + digest


def import_official(request: ImportRequest) -> ImportResult:
    """Read, check and write; nothing is written when anything is wrong.

    Raises:
        CheckpointError: A file is unusable, or the files do not belong together.
        InvalidParameter: A bad name.
    """
    parts = _Parts()
    gpt = read_official(request.gpt, FileKind.GPT)
    t2s = official_t2s.config_from_official(gpt.tensors, gpt.config)
    parts.add(Part.T2S, gpt, official_t2s.weights_from_official(gpt.tensors, t2s))
    sovits = read_official(request.sovits, FileKind.SOVITS)
    acoustic = official_acoustic.config_from_official(sovits.tensors, sovits.config)
    check_pair(t2s, acoustic)
    weights = official_acoustic.weights_from_official(sovits.tensors, acoustic)
    # The posterior encoder serves training only.
    weights = {n: t for n, t in weights.items() if not n.startswith("posterior.")}
    parts.add(Part.ACOUSTIC, sovits, weights)
    family = family_of(acoustic, sovits.version_tag)
    speaker = _speaker(request, acoustic, parts)
    ssl = _ssl(request, acoustic, parts)
    bert, vocab = _bert(request, t2s, parts)
    config = ModelConfig(family, t2s, acoustic, ssl, speaker, bert)
    info = PackInfo(
        name=request.name,
        languages=LANGUAGES[acoustic.symbol_set],
        notice=request.notice,
        licences=request.licences or ("unknown: see where the files came from",),
        sources=parts.sources,
    )
    pack = write_pack(
        request.out, info, config, parts.weights, vocab=vocab, replace=request.replace
    )
    return ImportResult(pack, tuple(parts.warnings))


def check_pair(t2s: T2SConfig, acoustic: AcousticConfig) -> None:
    """Check that a GPT and a SoVITS speak the same phonemes and tokens.

    Raises:
        CheckpointError: Names what differs and which file to use instead.
    """
    symbols = _GPT_SYMBOLS.get(t2s.num_phonemes)
    if symbols is None:
        valid = ", ".join(f"{count} ({name})" for count, name in _GPT_SYMBOLS.items())
        raise CheckpointError(f"the GPT file has {t2s.num_phonemes} phonemes, valid: {valid}")
    if symbols != acoustic.symbol_set:
        wanted = "v1" if acoustic.symbol_set == "v1" else "v2, v2Pro or v2ProPlus"
        raise CheckpointError(
            f"the GPT file speaks the {symbols} phonemes ({t2s.num_phonemes}), the SoVITS file "
            f"those of {acoustic.symbol_set} ({acoustic.num_phonemes}); use the GPT file of the "
            f"same training, one of {wanted}"
        )
    if t2s.vocab_size != acoustic.codebook_size + 1:
        raise CheckpointError(
            f"the GPT file has {t2s.vocab_size - 1} semantic tokens, the SoVITS file's codebook "
            f"{acoustic.codebook_size}; they are of different models"
        )


def family_of(acoustic: AcousticConfig, version_tag: str | None) -> str:
    """Return the version family, from the network's structure.

    Raises:
        CheckpointError: The header's version tag says a structurally different one.
    """
    if acoustic.speaker_dim:
        decoder = acoustic.decoder
        assert isinstance(decoder, HifiGanConfig)
        is_plus = decoder.upsample_kernels[0] == _PLUS_KERNEL
        family = "v2ProPlus" if is_plus else "v2Pro"
    else:
        family = acoustic.symbol_set
    tagged = VERSION_TAGS.get(version_tag or "", family)
    # Only the tags of Pro models are written by upstream; it guesses the others by file size.
    if tagged != family and "v2Pro" in tagged + family:
        raise CheckpointError(
            f"the SoVITS file's header says {tagged} (tag {version_tag}), its tensors are those of "
            f"{family}; the file was altered"
        )
    return family


def _speaker(
    request: ImportRequest, acoustic: AcousticConfig, parts: _Parts
) -> SpeakerConfig | None:
    if not acoustic.speaker_dim:
        if request.speaker:
            parts.warnings.append("this model takes no speaker embedding; --speaker was not used")
        return None
    if request.speaker is None:
        raise CheckpointError(
            "v2Pro and v2ProPlus models need the speaker network: give "
            "sv/pretrained_eres2netv2w24s4ep4.ckpt with --speaker"
        )
    file = read_official(request.speaker, FileKind.SPEAKER)
    config, weights = official_reference.eres2netv2_from_official(file.tensors)
    _same("speaker embedding", config.dim, file, acoustic.speaker_dim, "SoVITS")
    parts.add(Part.SPEAKER, file, weights)
    return config


def _ssl(request: ImportRequest, acoustic: AcousticConfig, parts: _Parts) -> SslConfig:
    if request.hubert is None:
        parts.warnings.append("without --hubert this pack cannot enrol voices")
        return SslConfig(dim=acoustic.ssl_dim)
    file = read_official(request.hubert, FileKind.HUBERT)
    config, weights = official_reference.hubert_from_official(file.tensors, file.config or {})
    _same("feature", config.dim, file, acoustic.ssl_dim, "SoVITS")
    parts.add(Part.SSL, file, weights)
    return config


def _bert(
    request: ImportRequest, t2s: T2SConfig, parts: _Parts
) -> tuple[BertConfig | None, list[str] | None]:
    if request.bert is None:
        parts.warnings.append("without --bert Chinese is spoken with a flatter prosody")
        return None, None
    file = read_official(request.bert, FileKind.BERT)
    vocab: list[str] | None = file.extra["vocab"]
    if vocab is None:
        raise CheckpointError(f"{request.bert}: neither vocab.txt nor tokenizer.json is there")
    config, weights = official_reference.bert_from_official(file.tensors, file.config or {})
    _same("feature", config.dim, file, t2s.bert_dim, "GPT")
    rows = weights["embeddings.word_embeddings.weight"].shape[0]
    if len(vocab) > rows:
        raise CheckpointError(
            f"{request.bert}: its vocabulary has {len(vocab)} tokens, its network {rows}"
        )
    parts.add(Part.BERT, file, weights)
    return config, vocab


def _same(what: str, found: int, file: OfficialFile, wanted: int, by: str) -> None:
    if found != wanted:
        raise CheckpointError(
            f"{file.path} gives {what} vectors of {found} numbers, the {by} file wants {wanted}"
        )
