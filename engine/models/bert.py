"""The Chinese BERT through `transformers`, cut off above the layer that is read."""

from __future__ import annotations

from torch import Tensor, nn
from transformers import BertConfig as HfBertConfig
from transformers import BertModel

from engine.model_config import BertConfig


class Bert(nn.Module):
    """Token ids to the hidden states of one layer; `network` holds the weights.

    hidden_states[-3] of a network is the output of the third layer from the top, so the two above
    it are not built.
    """

    def __init__(self, config: BertConfig) -> None:
        """Build the network; always in eval mode."""
        super().__init__()
        settings = {**config.settings, "attn_implementation": "eager"}
        settings["num_hidden_layers"] += 1 + config.layer
        self.max_tokens = int(settings["max_position_embeddings"])
        self.network = BertModel(HfBertConfig(**settings), add_pooling_layer=False)
        self.eval()

    def forward(self, ids: Tensor) -> Tensor:
        """Return the layer's rows, [CLS] and [SEP] included: int64 [B, L] -> [B, L, H]."""
        hidden: Tensor = self.network(ids).last_hidden_state
        return hidden
