"""The enrolment side as graphs: SSL encoder, speaker network, BERT.

ssl       wave [1, N] (HuBERT) or mel [1, 80, 2F] (Whisper)     -> features [1, S, F]
speaker   fbank [1, T, 80] (ERes2NetV2) or mel [W, 160, 40] (GE2E) -> embedding [., S]
bert      ids [1, L]                                            -> rows [1, L, H]
"""

from __future__ import annotations

import torch

from engine.backends.torch_reference import load_bert, load_speaker, load_ssl
from engine.models.ge2e import Ge2e
from engine.models.whisper import WhisperEncoder
from engine.pack import Pack, Part
from export.graphs import Dim, GraphSpec

_MEL_FRAMES = 14  # even: the encoder halves them
_SAMPLES = 6400


def reference_graphs(pack: Pack) -> list[GraphSpec]:
    """Return the graphs of those networks the pack has."""
    specs = []
    if pack.has(Part.SSL):
        specs.append(_ssl(pack))
    if pack.config.speaker is not None and pack.has(Part.SPEAKER):
        specs.append(_speaker(pack))
    if pack.config.bert is not None and pack.has(Part.BERT):
        specs.append(_bert(pack))
    return specs


def _ssl(pack: Pack) -> GraphSpec:
    network = load_ssl(pack)
    if isinstance(network, WhisperEncoder):
        half = Dim("frames", min=1, max=network.max_frames)
        mel = torch.sin(torch.arange(80.0 * _MEL_FRAMES)).reshape(1, 80, _MEL_FRAMES)
        return GraphSpec(
            "ssl", network, {"mel": mel}, {"mel": {2: 2 * half}}, ("features",), Part.SSL
        )
    wave = torch.sin(torch.arange(float(_SAMPLES)) * 0.05)[None]
    samples = Dim("samples", min=800)
    return GraphSpec(
        "ssl", network, {"samples": wave}, {"samples": {1: samples}}, ("features",), Part.SSL
    )


def _speaker(pack: Pack) -> GraphSpec:
    network = load_speaker(pack)
    if isinstance(network, Ge2e):
        mel = torch.rand(3, 160, network.mel_bins, generator=torch.Generator().manual_seed(1))
        windows = Dim("windows", min=1)
        return GraphSpec(
            "speaker", network, {"mel": mel}, {"mel": {0: windows}}, ("embedding",), Part.SPEAKER
        )
    fbank = torch.sin(torch.arange(200.0 * 80)).reshape(1, 200, 80)
    frames = Dim("frames", min=16)
    return GraphSpec(
        "speaker",
        network.eval(),
        {"fbank": fbank},
        {"fbank": {1: frames}},
        ("embedding",),
        Part.SPEAKER,
    )


def _bert(pack: Pack) -> GraphSpec:
    network = load_bert(pack)
    ids = torch.arange(9)[None] + 1
    length = Dim("length", min=2, max=network.max_tokens)
    return GraphSpec("bert", network, {"ids": ids}, {"ids": {1: length}}, ("rows",), Part.BERT)
