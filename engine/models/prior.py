"""Prior encoder: semantic tokens, phonemes and style -> statistics of the latent, per frame."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from engine.model_config import AcousticConfig
from engine.models.attention import CrossAttention, Encoder, Span
from engine.models.layers import masked


class TextMemory(NamedTuple):
    """What the fusion needs of a sentence's phonemes and style, made once per sentence.

    Shapes: keys, values [B, M, P]; style [B, M, 1].
    """

    keys: Tensor
    values: Tensor
    style: Tensor


class PriorOutput(NamedTuple):
    """Statistics [B, D, F] and the share of each phoneme in each frame, [B, F, P]."""

    mean: Tensor
    log_std: Tensor
    attention: Tensor


class Fusion(nn.Module):
    """Cross-attention of frames to phonemes, plus the frames and the style (upstream MRTE)."""

    def __init__(self, config: AcousticConfig) -> None:
        super().__init__()
        self.frame_in = nn.Conv1d(config.hidden_dim, config.mrte_dim, 1)
        self.text_in = nn.Conv1d(config.hidden_dim, config.mrte_dim, 1)
        self.attention = CrossAttention(config.mrte_dim, config.mrte_heads)
        self.out = nn.Conv1d(config.mrte_dim, config.hidden_dim, 1)
        # v1 and v2 add the style vector as it is, which asks for equal widths.
        needs_projection = config.speaker_dim > 0 or config.gin_dim != config.mrte_dim
        self.style_in = (
            nn.Linear(config.gin_dim, config.mrte_dim) if needs_projection else nn.Identity()
        )

    def memory(self, text: Tensor, style: Tensor, mask: Tensor | None = None) -> TextMemory:
        """Prepare `text` [B, H, P] and `style` [B, G, 1] for any number of frames."""
        keys, values = self.attention.memory(masked(self.text_in(masked(text, mask)), mask))
        return TextMemory(keys, values, self.style_in(style.transpose(1, 2)).transpose(1, 2))

    def forward(
        self,
        frames: Tensor,
        memory: TextMemory,
        mask: Tensor | None = None,
        text_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return fused frames [B, H, F] of [B, H, F], and the attention [B, F, P]."""
        frames = self.frame_in(masked(frames, mask))
        attended, weights = self.attention(
            masked(frames, mask), memory.keys, memory.values, text_mask
        )
        return self.out(masked(attended + frames + memory.style, mask)), weights


class PriorEncoder(nn.Module):
    """Tokens' codebook rows -> mean and log standard deviation.

    The projection to statistics works frame by frame, so whoever wants another speed stretches
    the statistics (`engine.vocoding.VocoderStream`) and gets what upstream gets by stretching
    the features before it.
    """

    def __init__(self, config: AcousticConfig, dropout: float = 0.0) -> None:
        super().__init__()

        def encoder(num_layers: int, span: Span = None) -> Encoder:
            return Encoder(
                num_layers,
                channels=config.hidden_dim,
                hidden=config.filter_dim,
                num_heads=config.num_heads,
                kernel=config.kernel,
                window=config.window,
                dropout=dropout,
                span=span,
            )

        self.token_in = nn.Conv1d(config.codebook_dim, config.hidden_dim, 1)
        self.token_encoder = encoder(config.ssl_layers, config.frame_span)
        self.phonemes = nn.Embedding(config.num_phonemes, config.hidden_dim)
        self.text_encoder = encoder(config.text_layers)
        self.fusion = Fusion(config)
        self.frame_encoder = encoder(config.fusion_layers, config.frame_span)
        self.stats = nn.Conv1d(config.hidden_dim, 2 * config.latent_dim, 1)

    def text_features(self, phoneme_ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return [B, H, P] of int64 [B, P]."""
        return self.text_encoder(self.phonemes(phoneme_ids).transpose(1, 2), mask)  # type: ignore[no-any-return]

    def encode_text(
        self, phoneme_ids: Tensor, style: Tensor, mask: Tensor | None = None
    ) -> TextMemory:
        """Encode a sentence once: int64 [B, P], style [B, G, 1]; `mask` is [B, 1, P]."""
        return self.fusion.memory(self.text_features(phoneme_ids, mask), style, mask)

    def token_features(self, rows: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return [B, H, F] of codebook rows [B, C, F]."""
        return self.token_encoder(masked(self.token_in(masked(rows, mask)), mask), mask)  # type: ignore[no-any-return]

    def frame_features(
        self,
        rows: Tensor,
        memory: TextMemory,
        mask: Tensor | None = None,
        text_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return what the statistics are read from, [B, H, F], and the attention [B, F, P]."""
        frames = self.token_features(rows, mask)
        frames, attention = self.fusion(frames, memory, mask, text_mask)
        return self.frame_encoder(frames, mask), attention

    def forward(
        self,
        rows: Tensor,
        memory: TextMemory,
        mask: Tensor | None = None,
        text_mask: Tensor | None = None,
    ) -> PriorOutput:
        """Return the statistics of codebook rows [B, C, F]."""
        frames, attention = self.frame_features(rows, memory, mask, text_mask)
        mean, log_std = masked(self.stats(frames), mask).chunk(2, dim=1)
        return PriorOutput(mean, log_std, attention)
