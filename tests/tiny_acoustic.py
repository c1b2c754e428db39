"""Small acoustic configs for tests that need no golden arrays."""

from __future__ import annotations

from dataclasses import replace

from engine.model_config import AcousticConfig, HifiGanConfig, IstftConfig

HIFIGAN = AcousticConfig(
    ssl_dim=12,
    codebook_size=32,
    codebook_dim=12,
    latent_dim=8,
    hidden_dim=8,
    filter_dim=12,
    ssl_layers=1,
    text_layers=2,
    fusion_layers=1,
    mrte_dim=16,
    gin_dim=16,
    style_hidden=8,
    posterior_layers=3,
    decoder=HifiGanConfig(initial_channels=32),
)
PRO = replace(HIFIGAN, gin_dim=24, speaker_dim=20)
PRO_PLUS = replace(
    PRO, decoder=HifiGanConfig(initial_channels=32, upsample_kernels=(20, 16, 8, 2, 2))
)
V1 = replace(HIFIGAN, symbol_set="v1", num_phonemes=322, style_bins=1025)
NANO = replace(
    HIFIGAN,
    sample_rate_hz=24000,
    n_fft=1024,
    hop=480,
    codebook_dim=6,
    gin_dim=10,
    style_bins=513,
    speaker_dim=9,
    flow_layers=2,
    decoder=IstftConfig(frame_channels=16, channels=12, blocks=3),
)
ALL = {"v1": V1, "v2": HIFIGAN, "v2Pro": PRO, "v2ProPlus": PRO_PLUS, "nano": NANO}
