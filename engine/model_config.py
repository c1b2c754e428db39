"""Every number of a model, read from its pack; the networks hold no number of a checkpoint.

A pack's `pack.json` carries one `ModelConfig` as JSON. Importers fill it from official files (from
the stored config where it is there, else from tensor shapes), trainers from their own settings.
Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, Self, TypeVar, get_args, get_origin, get_type_hints

from engine.errors import CheckpointError

_C = TypeVar("_C")

SymbolSet = Literal["v1", "v2"]  # 322 or 732 symbols


@dataclass(frozen=True, slots=True)
class T2SConfig:
    """The autoregressive GPT stage: phonemes and prompt tokens -> semantic tokens."""

    num_layers: int = 24
    hidden_dim: int = 512
    num_heads: int = 16
    ffn_dim: int = 2048
    num_phonemes: int = 732
    vocab_size: int = 1025  # codebook + 1; the last id is EOS
    bert_dim: int = 1024
    max_tokens: int = 1500  # upstream t2s_model.py:889, 60 s
    max_positions: int = 4000  # upstream embedding.py:52

    @property
    def eos(self) -> int:
        """The end-of-sentence id."""
        return self.vocab_size - 1


@dataclass(frozen=True, slots=True)
class HifiGanConfig:
    """HiFi-GAN generator; the product of the rates is the hop."""

    kind: Literal["hifigan"] = "hifigan"
    initial_channels: int = 512
    upsample_rates: tuple[int, ...] = (10, 8, 2, 2, 2)
    upsample_kernels: tuple[int, ...] = (16, 16, 8, 2, 2)
    resblock_kernels: tuple[int, ...] = (3, 7, 11)
    resblock_dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))


@dataclass(frozen=True, slots=True)
class IstftConfig:
    """ConvNeXt blocks ended by an inverse STFT: far fewer operations than HiFi-GAN (nano)."""

    kind: Literal["istft"] = "istft"
    frame_channels: int = 384  # blocks at 50 Hz
    frame_blocks: int = 2
    upsample_rate: int = 4  # 50 Hz -> STFT rate
    channels: int = 256  # blocks at the STFT rate
    blocks: int = 6
    kernel: int = 7
    ffn_factor: int = 3
    n_fft: int = 480
    hop: int = 120


NOISE_FRAMES = 128  # the noise of a harmonic decoder repeats after 2.56 s


@dataclass(frozen=True, slots=True)
class HarmonicConfig:
    """A pulse train and noise, filtered in the STFT domain by ConvNeXt blocks (nano)."""

    kind: Literal["harmonic"] = "harmonic"
    frame_channels: int = 256  # blocks at 50 Hz
    frame_blocks: int = 4
    upsample_rate: int = 4  # 50 Hz -> STFT rate
    channels: int = 192  # blocks at the STFT rate
    blocks: int = 3
    kernel: int = 7
    ffn_factor: int = 3
    n_fft: int = 480
    hop: int = 120


DecoderConfig = HifiGanConfig | IstftConfig | HarmonicConfig


@dataclass(frozen=True, slots=True)
class AcousticConfig:
    """The SoVITS stage: quantiser, prior encoder, flow, decoder, style encoder."""

    sample_rate_hz: int = 32000
    n_fft: int = 2048
    hop: int = 640  # 20 ms: one frame
    ssl_dim: int = 768
    ssl_stride: int = 2  # kernel and stride of ssl_proj: 50 Hz -> 25 Hz
    codebook_size: int = 1024
    codebook_dim: int = 768  # nano projects SSL features to a smaller codebook
    ssl_context_blocks: int = 0  # trained ConvNeXt blocks between the SSL encoder and ssl_proj
    symbol_set: SymbolSet = "v2"
    num_phonemes: int = 732
    latent_dim: int = 192
    hidden_dim: int = 192
    filter_dim: int = 768
    num_heads: int = 2
    ssl_layers: int = 3
    text_layers: int = 6
    fusion_layers: int = 3  # upstream encoder2
    kernel: int = 3
    window: int = 4  # of the relative attention
    # Frames back and ahead that attention sees in each layer of the prior encoder; -1 sees all, as
    # the official models do. A finite span makes streamed statistics the offline ones.
    span_back: int = -1
    span_ahead: int = -1
    mrte_dim: int = 512
    mrte_heads: int = 4
    gin_dim: int = 512  # style vector, upstream `ge`
    style_bins: int = 704  # spectrogram bins the style encoder reads; 1025 in v1
    style_hidden: int = 128
    style_heads: int = 2
    style_kernel: int = 5
    speaker_dim: int = 0  # speaker embedding added to the style vector; 20480 in v2Pro, 0 = none
    flow_couplings: int = 4
    flow_layers: int = 4
    flow_kernel: int = 5
    posterior_layers: int = 16
    posterior_kernel: int = 5
    decoder: DecoderConfig = field(default_factory=HifiGanConfig)

    @property
    def frame_span(self) -> tuple[int, int] | None:
        """Frames back and ahead of the prior's attention, None for all."""
        return None if self.span_back < 0 else (self.span_back, max(0, self.span_ahead))

    @property
    def prior_reach(self) -> tuple[int, int] | None:
        """Frames back and ahead that a frame's statistics depend on, None for all."""
        if self.frame_span is None:
            return None
        layers = self.ssl_layers + self.fusion_layers
        convolutions = 2 * (self.kernel // 2)
        back, ahead = self.frame_span
        return layers * (back + convolutions), layers * (ahead + convolutions)

    @property
    def spec_bins(self) -> int:
        """Bins of the linear spectrogram."""
        return self.n_fft // 2 + 1


@dataclass(frozen=True, slots=True)
class SslConfig:
    """The self-supervised encoder used at enrolment only."""

    kind: Literal["hubert", "whisper"] = "hubert"
    dim: int = 768
    tail_zeros: int = 9600  # at 16 kHz, appended before encoding; upstream TTS.py:809 (0.6 s)
    settings: Mapping[str, Any] = field(default_factory=dict)  # the encoder's own config.json


@dataclass(frozen=True, slots=True)
class SpeakerConfig:
    """The speaker-verification network, when the acoustic model wants its embedding."""

    kind: Literal["eres2netv2", "ge2e"] = "eres2netv2"
    dim: int = 20480
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BertConfig:
    """The Chinese BERT whose hidden_states[layer] feed the T2S; None in the pack = zeros."""

    dim: int = 1024
    layer: int = -3
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A complete model."""

    family: str  # v1, v2, v2Pro, v2ProPlus, nano
    t2s: T2SConfig
    acoustic: AcousticConfig
    ssl: SslConfig = field(default_factory=SslConfig)
    speaker: SpeakerConfig | None = None
    bert: BertConfig | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Parse what `to_json` wrote.

        Raises:
            CheckpointError: On a missing or unknown field.
        """
        parsed: Self = _parse(cls, data, "model")
        return parsed


def parse_config(cls: type[_C], data: Mapping[str, Any], path: str) -> _C:
    """Build one of the config dataclasses from plain values; `path` names it in errors.

    Raises:
        CheckpointError: On a missing or unknown field.
    """
    parsed: _C = _parse(cls, data, path)
    return parsed


def _parse(cls: Any, data: Mapping[str, Any], path: str) -> Any:
    """Build dataclass `cls` from JSON values, strictly."""
    known = {f.name for f in fields(cls)}
    if unknown := sorted(set(data) - known):
        raise CheckpointError(f"{path}: unknown {', '.join(unknown)}; known: {', '.join(known)}")
    hints = get_type_hints(cls)
    values = {name: _value(hints[name], value, f"{path}.{name}") for name, value in data.items()}
    try:
        return cls(**values)
    except TypeError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _value(hint: Any, value: Any, path: str) -> Any:
    if isinstance(hint, UnionType):
        options = [option for option in get_args(hint) if is_dataclass(option)]
        if value is None:
            return None
        if len(options) == 1:
            return _parse(options[0], value, path)
        by_kind = {get_args(get_type_hints(option)["kind"])[0]: option for option in options}
        kind = value.get("kind")
        if kind not in by_kind:
            raise CheckpointError(f"{path}.kind is {kind!r}, valid: {', '.join(by_kind)}")
        return _parse(by_kind[kind], value, path)
    if is_dataclass(hint):
        return _parse(hint, value, path)
    if get_origin(hint) is Literal and value not in get_args(hint):
        raise CheckpointError(f"{path} is {value!r}, valid: {', '.join(get_args(hint))}")
    if get_origin(hint) is tuple:
        return tuple(tuple(v) if isinstance(v, list | tuple) else v for v in value)
    return value
