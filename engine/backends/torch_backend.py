"""The torch backend: the networks themselves, in float32 on the CPU.

The reference that every other backend is compared with, and the one that runs official checkpoints
without exporting them first.
"""

from __future__ import annotations

import torch

from engine.backends.registry import BackendOptions
from engine.backends.torch_acoustic import TorchAcoustic
from engine.backends.torch_reference import TorchReference
from engine.backends.torch_semantic import TorchSemanticDecoder
from engine.backends.torch_weights import load_weights
from engine.model_config import ModelConfig
from engine.models.acoustic import AcousticNetwork
from engine.models.t2s import T2S
from engine.pack import Pack, Part


class TorchBackend:
    """See `Backend`."""

    def __init__(self, pack: Pack, options: BackendOptions) -> None:
        """Load T2S and acoustic network; the reference side follows when it is used.

        Raises:
            CheckpointError: If the weights do not fit the pack's numbers.
        """
        # Torch has one number of threads for the whole process, so the larger one holds for both.
        torch.set_num_threads(max(options.semantic_threads, options.acoustic_threads))
        self.config: ModelConfig = pack.config
        self.notice = pack.notice
        self.semantic = TorchSemanticDecoder(
            _load_t2s(pack), num_slots=options.num_slots, max_positions=options.max_positions
        )
        self.acoustic = TorchAcoustic(_load_acoustic(pack))
        self.reference = TorchReference(pack, self.acoustic)

    def describe(self) -> dict[str, str]:
        """See `Backend.describe`."""
        return {
            "backend": "torch",
            "runtime": f"torch {torch.__version__}",
            "device": "cpu",
            "precision": "float32",
            "threads": str(torch.get_num_threads()),
        }


def create(pack: Pack, options: BackendOptions) -> TorchBackend:
    """Make the backend; the registry calls this."""
    return TorchBackend(pack, options)


def _load_t2s(pack: Pack) -> T2S:
    model = T2S(pack.config.t2s)
    load_weights(model, pack.tensors(Part.T2S), Part.T2S)
    return model.eval().requires_grad_(False)


def _load_acoustic(pack: Pack) -> AcousticNetwork:
    network = AcousticNetwork(pack.config.acoustic)
    load_weights(network, pack.tensors(Part.ACOUSTIC), Part.ACOUSTIC)
    return network
