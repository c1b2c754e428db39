"""HuBERT through `transformers`, built from a pack's settings; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from transformers import HubertConfig, HubertModel


class Hubert(nn.Module):
    """SSL features of a wave at 16 kHz; `network` holds the weights.

    The wave goes in as it is: upstream does not normalise it to unit variance as the model's own
    feature extractor would.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Build the network of a config.json; always in eval mode (no masking, no layer drop)."""
        super().__init__()
        self.network = HubertModel(HubertConfig(**{**settings, "attn_implementation": "eager"}))
        self.eval()

    def forward(self, samples: Tensor) -> Tensor:
        """Return the last hidden state, channels first: [B, N] at 16 kHz -> [B, S, F] at 50 Hz."""
        hidden: Tensor = self.network(samples).last_hidden_state
        return hidden.transpose(1, 2)
