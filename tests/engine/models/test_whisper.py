"""The Whisper encoder against the one in `transformers`, with shared random weights."""

from __future__ import annotations

import numpy as np
import torch

from engine.models.official_reference import whisper_from_ctranslate2
from engine.models.whisper import WhisperEncoder
from engine.types import Array

NUM_LAYERS, DIM, MAX_FRAMES = 2, 128, 24


def reference() -> torch.nn.Module:
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder as HfEncoder

    torch.manual_seed(3)
    config = WhisperConfig(
        d_model=DIM,
        encoder_layers=NUM_LAYERS,
        encoder_attention_heads=2,
        encoder_ffn_dim=4 * DIM,
        num_mel_bins=80,
        max_source_positions=MAX_FRAMES,
        attn_implementation="eager",
    )
    network = HfEncoder(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


def ctranslate2_variables(network: torch.nn.Module) -> dict[str, Array]:
    """Return the weights under the names of a CTranslate2 model, with its scalars."""
    state = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    variables: dict[str, Array] = {
        "encoder/num_heads": np.array(2, dtype=np.int16),
        "encoder/position_encodings/encodings": state["embed_positions.weight"],
        "decoder/embeddings/weight": np.zeros((3, DIM), dtype=np.float32),
    }
    for part in ("conv1", "conv2"):
        variables[f"encoder/{part}/weight"] = state[f"{part}.weight"]
        variables[f"encoder/{part}/bias"] = state[f"{part}.bias"]

    def norm(ours: str, theirs: str) -> None:
        variables[f"encoder/{ours}/gamma"] = state[f"{theirs}.weight"]
        variables[f"encoder/{ours}/beta"] = state[f"{theirs}.bias"]

    def linear(ours: str, theirs: str) -> None:
        variables[f"encoder/{ours}/weight"] = state[f"{theirs}.weight"]
        variables[f"encoder/{ours}/bias"] = state[f"{theirs}.bias"]

    norm("layer_norm", "layer_norm")
    for index in range(NUM_LAYERS):
        hf, ct = f"layers.{index}", f"layer_{index}"
        norm(f"{ct}/self_attention/layer_norm", f"{hf}.self_attn_layer_norm")
        norm(f"{ct}/ffn/layer_norm", f"{hf}.final_layer_norm")
        linear(f"{ct}/ffn/linear_0", f"{hf}.fc1")
        linear(f"{ct}/ffn/linear_1", f"{hf}.fc2")
        linear(f"{ct}/self_attention/linear_1", f"{hf}.self_attn.out_proj")
        qkv = f"encoder/{ct}/self_attention/linear_0"
        attention = f"{hf}.self_attn"
        variables[f"{qkv}/weight"] = np.concatenate(
            [state[f"{attention}.{n}_proj.weight"] for n in "qkv"]
        )
        biases = [state[f"{attention}.q_proj.bias"], np.zeros(DIM, np.float32)]
        variables[f"{qkv}/bias"] = np.concatenate([*biases, state[f"{attention}.v_proj.bias"]])
    return variables


def ours(network: torch.nn.Module) -> WhisperEncoder:
    config, weights = whisper_from_ctranslate2(ctranslate2_variables(network))
    encoder = WhisperEncoder(config.settings)
    encoder.load_state_dict({name: torch.from_numpy(w) for name, w in weights.items()})
    return encoder


@torch.no_grad()
def test_features_equal_an_independent_implementation() -> None:
    """The same weights and mel frames give the same features (full length: theirs needs it)."""
    torch.set_num_threads(1)
    network = reference()
    mel = torch.randn(1, 80, 2 * MAX_FRAMES)
    expected = network(mel).last_hidden_state.transpose(1, 2)
    torch.testing.assert_close(ours(network)(mel), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_short_wave_gives_a_frame_for_every_two_mel_frames() -> None:
    """Any length up to the table's goes in without padding."""
    torch.set_num_threads(1)
    encoder = ours(reference())
    assert encoder(torch.randn(1, 80, 18)).shape == (1, DIM, 9)


def test_sizes_come_from_the_shapes() -> None:
    """The config holds what the network is built from."""
    config, _ = whisper_from_ctranslate2(ctranslate2_variables(reference()), tail_zeros=7)
    assert (config.kind, config.dim, config.tail_zeros) == ("whisper", DIM, 7)
    assert config.settings == {
        "mel_bins": 80,
        "dim": DIM,
        "num_heads": 2,
        "num_layers": NUM_LAYERS,
        "max_frames": MAX_FRAMES,
    }
