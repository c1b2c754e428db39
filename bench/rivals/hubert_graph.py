"""HuBERT as an ONNX graph, for a package that has its own converter for the rest only."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write_hubert_graph(folder: Path, path: Path) -> None:
    """Write `input_values` [B, N] at 16 kHz -> `last_hidden_state` [B, 768, T]."""
    import torch
    from transformers import HubertModel

    class Features(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            network: Any = HubertModel.from_pretrained(folder)
            self.network = network.float().eval()

        def forward(self, input_values: torch.Tensor) -> torch.Tensor:
            features: torch.Tensor = self.network(input_values).last_hidden_state
            return features.transpose(1, 2)

    torch.onnx.export(
        Features(),
        (torch.zeros(1, 16000),),
        str(path),
        input_names=["input_values"],
        output_names=["last_hidden_state"],
        dynamic_shapes={"input_values": {1: torch.export.Dim("n", min=8000, max=320000)}},
        opset_version=18,
        external_data=False,
        dynamo=True,
    )
