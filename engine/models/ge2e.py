"""The GE2E speaker encoder: three LSTM layers over mel power, averaged over short windows.

Sizes come from `settings`: mel_bins, hidden_dim, num_layers. The published network (Resemblyzer,
Apache-2.0) has 40, 256 and 3 and gives 256 values; its weights keep the names of torch's LSTM and
linear layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F


class Ge2e(nn.Module):
    """See the module docstring."""

    def __init__(self, settings: Mapping[str, Any], dim: int) -> None:
        """Build the network; `dim` is the size of the embedding."""
        super().__init__()
        hidden = int(settings["hidden_dim"])
        self.mel_bins = int(settings["mel_bins"])
        self.lstm = nn.LSTM(self.mel_bins, hidden, int(settings["num_layers"]), batch_first=True)
        self.linear = nn.Linear(hidden, dim)
        self.eval()

    def forward(self, mel: Tensor) -> Tensor:
        """Return one embedding of unit length per window: [W, frames, mel_bins] -> [W, dim]."""
        _, (hidden, _) = self.lstm(mel)
        return F.normalize(F.relu(self.linear(hidden[-1])), dim=1)
