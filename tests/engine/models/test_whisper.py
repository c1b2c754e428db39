"""The Whisper encoder against the one in `transformers`, with shared random weights."""

from __future__ import annotations

import torch

from engine.models.whisper import WhisperEncoder

NUM_LAYERS, DIM, MAX_FRAMES = 2, 128, 24
SETTINGS = {
    "mel_bins": 80,
    "dim": DIM,
    "num_heads": 2,
    "num_layers": NUM_LAYERS,
    "max_frames": MAX_FRAMES,
}


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


def ours(network: torch.nn.Module) -> WhisperEncoder:
    """Return our network with the same weights."""
    state = network.state_dict()
    weights = {"positions": state["embed_positions.weight"]}

    def copy(mine: str, theirs: str) -> None:
        weights[f"{mine}.weight"] = state[f"{theirs}.weight"]
        weights[f"{mine}.bias"] = state[f"{theirs}.bias"]

    copy("conv_in", "conv1")
    copy("conv_down", "conv2")
    copy("norm", "layer_norm")
    for index in range(NUM_LAYERS):
        layer, attention = f"layers.{index}", f"layers.{index}.self_attn"
        copy(f"{layer}.attention_norm", f"{layer}.self_attn_layer_norm")
        copy(f"{layer}.ffn_norm", f"{layer}.final_layer_norm")
        copy(f"{layer}.ffn_in", f"{layer}.fc1")
        copy(f"{layer}.ffn_out", f"{layer}.fc2")
        copy(f"{layer}.out", f"{attention}.out_proj")
        parts = [state[f"{attention}.{name}_proj.weight"] for name in "qkv"]
        weights[f"{layer}.qkv.weight"] = torch.cat(parts)
        query, value = (state[f"{attention}.{name}_proj.bias"] for name in "qv")
        weights[f"{layer}.qkv.bias"] = torch.cat([query, torch.zeros(DIM), value])
    encoder = WhisperEncoder(SETTINGS)
    encoder.load_state_dict(weights)
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
