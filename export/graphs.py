"""The one set of networks, wrapped into graphs with explicit state and explicit noise.

A wrapper only picks a method and flattens its arguments; no network is defined here. One set of
graphs serves every runtime:

    prefill   phoneme_ids, bert?, prompt_tokens          -> logits, key_i, value_i (per layer)
    step      tokens, position, mask, key_i, value_i     -> logits, new_key_i, new_value_i
    step_in_place   tokens, position, length, key_i, value_i -> logits, key_i_now, value_i_now
    fill      cache, rows, slot                          -> cache_now
    choose    logits, noise, seen, may_end, penalty, top_p, temperature, top_k
                                                         -> token, best, is_finite
    text      phoneme_ids, style                         -> keys, values, text_style
    prior     tokens, keys, values, text_style           -> mean, log_std, attention
    flow      latent, style                              -> flowed
    decoder   before?, flowed, after?, style             -> samples (of flowed)
    style     spec, speaker?                             -> style
    codes     ssl                                        -> tokens

Shapes: B rows, P phonemes, T tokens, C past, N heads, H head size, D latent, F frames, G style.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.model_config import AcousticConfig, ModelConfig, T2SConfig
from engine.models.acoustic import AcousticNetwork
from engine.models.decoder import Context, HifiGanDecoder, drop_context
from engine.models.prior import TextMemory
from engine.models.t2s import T2S, write_rows
from engine.models.token_choice import TokenChoice
from engine.pack import Part

Dim = torch.export.Dim
# Sequences of length 1 are ordinary (one token left at a sentence's end), so no graph may
# specialise on the length it was traced with; example lengths are all different and above 1.
_PHONEMES, _TOKENS, _PAST, _FRAMES, _ROWS, _CAPACITY = 11, 7, 9, 13, 3, 32
_BEFORE, _AFTER = 10, 12
_CHOICE = ("token", "best", "is_finite")
OPSET = 20  # the newest that ONNX Runtime, OpenVINO and TensorRT all take for these graphs
_OPSET_IN_PLACE = 24  # the first with TensorScatter, which TensorRT turns into a KV-cache update


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """A graph ready to export: a module, example inputs by name, and which axes vary."""

    name: str
    module: nn.Module
    inputs: Mapping[str, Tensor]
    dynamic: Mapping[str, Mapping[int, Any]]
    outputs: tuple[str, ...]
    part: Part = Part.ACOUSTIC  # whose weights it has
    opset: int = OPSET
    forget_shapes: bool = False  # the tracer's notes of inner shapes are wrong


class Prefill(nn.Module):
    """T2S.prefill; BERT is left out of the graph when the pack has none (zeros then)."""

    def __init__(self, t2s: T2S) -> None:
        super().__init__()
        self.t2s = t2s

    def forward(
        self, phoneme_ids: Tensor, prompt_tokens: Tensor, bert: Tensor | None = None
    ) -> Any:
        """Return logits and all cache rows."""
        if bert is None:
            size = (1, self.t2s.config.bert_dim, phoneme_ids.shape[1])
            bert = torch.zeros(size, dtype=self.t2s.head.weight.dtype)
        logits, cache = self.t2s.prefill(phoneme_ids, bert, prompt_tokens)
        return (logits, *cache.keys, *cache.values)


class Step(nn.Module):
    """T2S.step."""

    def __init__(self, t2s: T2S) -> None:
        super().__init__()
        self.t2s = t2s

    def forward(self, tokens: Tensor, position: Tensor, mask: Tensor, *past: Tensor) -> Any:
        """Return logits and the new rows."""
        layers = len(past) // 2
        logits, cache = self.t2s.step(tokens, position, mask, past[:layers], past[layers:])
        return (logits, *cache.keys, *cache.values)


class StepInPlace(nn.Module):
    """T2S.step_in_place; each cache and what comes of it may be bound to the same memory."""

    def __init__(self, t2s: T2S) -> None:
        super().__init__()
        self.t2s = t2s

    def forward(self, tokens: Tensor, position: Tensor, length: Tensor, *past: Tensor) -> Any:
        """Return logits and the caches."""
        layers = len(past) // 2
        write = _write_exported if torch.compiler.is_exporting() else write_rows
        logits, cache = self.t2s.step_in_place(
            tokens, position, length, past[:layers], past[layers:], write
        )
        return (logits, *cache.keys, *cache.values)


def _write_exported(cache: Tensor, rows: Tensor, length: Tensor) -> Tensor:
    """Return `write_rows` as the operator that works in place where memory is shared."""
    written: Tensor = torch.onnx.ops.symbolic(
        "TensorScatter",
        (cache, rows, length),
        {"axis": 2},
        dtype=cache.dtype,
        shape=cache.shape,
        version=_OPSET_IN_PLACE,
    )
    return written


class Fill(nn.Module):
    """One layer's keys or values of a prefill put into its slot; the rest of the slot is zero."""

    def forward(self, cache: Tensor, rows: Tensor, slot: Tensor) -> Tensor:
        """Return the cache [B, N, C, D] with rows [1, N, L, D] at slot, int64 [1]."""
        padded = F.pad(rows, (0, 0, 0, cache.shape[2] - rows.shape[2]))
        is_slot = torch.arange(cache.shape[0]) == slot
        return torch.where(is_slot[:, None, None, None], padded, cache)


class Text(nn.Module):
    """AcousticNetwork.encode_text."""

    def __init__(self, network: AcousticNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, phoneme_ids: Tensor, style: Tensor) -> Any:
        """Return keys, values and the style as the fusion takes it."""
        memory = self.network.encode_text(phoneme_ids, style)
        # The output must not be the input itself (v1 and v2 pass the style through).
        return memory.keys, memory.values, memory.style + 0.0


class Prior(nn.Module):
    """AcousticNetwork.prior_stats."""

    def __init__(self, network: AcousticNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor, keys: Tensor, values: Tensor, text_style: Tensor) -> Any:
        """Return mean, log_std and attention."""
        output = self.network.prior_stats(tokens, TextMemory(keys, values, text_style))
        return output.mean, output.log_std, output.attention


class Flow(nn.Module):
    """AcousticNetwork.flow_reverse."""

    def __init__(self, network: AcousticNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, latent: Tensor, style: Tensor) -> Tensor:
        """Return the decoder's latent."""
        return self.network.flow_reverse(latent, style)


class Decoder(nn.Module):
    """AcousticNetwork.decode."""

    def __init__(self, network: AcousticNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, flowed: Tensor, style: Tensor) -> Tensor:
        """Return samples."""
        return self.network.decode(flowed, style)[:, 0]


class DecoderInContext(nn.Module):
    """AcousticNetwork.decode; how much context there is shows in the shapes."""

    def __init__(self, network: AcousticNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, before: Tensor, flowed: Tensor, after: Tensor, style: Tensor) -> Tensor:
        """Return the samples of `flowed`; each of the others may have no frame."""
        window = torch.cat((before, flowed, after), dim=2)
        context, trim = Context(before.shape[2], after.shape[2]), drop_context
        if torch.compiler.is_exporting():
            trim = _trim_traced
            if _trims_often(self.network):
                context = Context(_length_exported(before), _length_exported(after))
                trim = _trim_exported
        return self.network.decode(window, style, context, trim)[:, 0]


def _trims_often(network: AcousticNetwork) -> bool:
    """Tell whether the tracer would lose its way in the lengths of a decoder."""
    return isinstance(network.decoder, HifiGanDecoder)


def _trim_traced(x: Tensor, context: Context, needed: int) -> tuple[Tensor, Context]:
    """Return `drop_context` in words that the tracer knows."""
    first = torch.sym_max(context.before - needed, 0)  # type: ignore[no-untyped-call]
    last = torch.sym_max(context.after - needed, 0)  # type: ignore[no-untyped-call]
    return x[:, :, first : x.shape[2] - last], Context(context.before - first, context.after - last)


def _length_exported(x: Tensor) -> Tensor:
    """Return the length of [B, C, T] as int64 [1]."""
    length: Tensor = torch.onnx.ops.symbolic(
        "Shape", (x,), {"start": 2, "end": 3}, dtype=torch.int64, shape=(1,)
    )
    return length


def _trim_exported(x: Tensor, context: Context, needed: int) -> tuple[Tensor, Context]:
    """Return `drop_context` as operators.

    The tracer would prove each length from those before it, for hours; it is told that nothing is
    dropped, and the shapes it noted are to be forgotten (`GraphSpec.forget_shapes`).
    """
    rest = Context(*(torch.minimum(size, torch.tensor([needed])) for size in context))
    # A negative end of 0 would mean none of it, so the end is counted from the start.
    length = _length_exported(x)
    first, last = context.before - rest.before, length - (context.after - rest.after)
    kept: Tensor = torch.onnx.ops.symbolic(
        "Slice", (x, first, last, torch.tensor([2])), dtype=x.dtype, shape=x.shape
    )
    return kept, rest


class Style(nn.Module):
    """AcousticNetwork.style_vector of one reference."""

    def __init__(self, network: AcousticNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, spec: Tensor, speaker: Tensor | None = None) -> Tensor:
        """Return the style vector."""
        return self.network.style_vector([spec], None if speaker is None else [speaker])[:, :, 0]


class Codes(nn.Module):
    """AcousticNetwork.extract_codes."""

    def __init__(self, network: AcousticNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, ssl: Tensor) -> Tensor:
        """Return semantic tokens."""
        return self.network.extract_codes(ssl)


def t2s_graphs(t2s: T2S, config: ModelConfig) -> list[GraphSpec]:
    """Return prefill and step."""
    sizes = config.t2s
    phonemes, tokens = Dim("phonemes", min=1), Dim("tokens", min=0)
    prefill_inputs = {
        "phoneme_ids": torch.arange(_PHONEMES)[None] % sizes.num_phonemes,
        "prompt_tokens": torch.arange(_TOKENS)[None] % sizes.vocab_size,
    }
    prefill_dynamic: dict[str, Mapping[int, Any]] = {
        "phoneme_ids": {1: phonemes},
        "prompt_tokens": {1: tokens},
    }
    if config.bert is not None:
        prefill_inputs["bert"] = _values(1, sizes.bert_dim, _PHONEMES)
        prefill_dynamic["bert"] = {2: phonemes}
    keys = [f"key_{layer}" for layer in range(sizes.num_layers)]
    values = [f"value_{layer}" for layer in range(sizes.num_layers)]
    return [
        GraphSpec(
            "prefill",
            Prefill(t2s),
            prefill_inputs,
            prefill_dynamic,
            ("logits", *keys, *values),
            Part.T2S,
        ),
        GraphSpec(
            "step",
            Step(t2s),
            _step_inputs(sizes, (*keys, *values)),
            _step_dynamic((*keys, *values)),
            ("logits", *(f"new_{name}" for name in (*keys, *values))),
            Part.T2S,
        ),
    ]


def device_graphs(t2s: T2S, config: ModelConfig) -> list[GraphSpec]:
    """Return the graphs of a state that never leaves its device: step_in_place, fill, choose."""
    sizes = config.t2s
    shape = (_ROWS, sizes.num_heads, _CAPACITY, sizes.hidden_dim // sizes.num_heads)
    keys = [f"key_{layer}" for layer in range(sizes.num_layers)]
    values = [f"value_{layer}" for layer in range(sizes.num_layers)]
    caches = {name: _values(*shape) for name in (*keys, *values)}
    rows, capacity = Dim("rows", min=1), Dim("capacity", min=_CAPACITY)
    index = torch.arange(_ROWS)
    return [
        GraphSpec(
            "step_in_place",
            StepInPlace(t2s),
            {"tokens": index, "position": index + 2, "length": index + 5, **caches},
            {
                **dict.fromkeys(("tokens", "position", "length"), {0: rows}),
                **dict.fromkeys(caches, {0: rows, 2: capacity}),
            },
            ("logits", *(f"{name}_now" for name in caches)),
            Part.T2S,
            _OPSET_IN_PLACE,
        ),
        GraphSpec(
            "fill",
            Fill(),
            {
                "cache": _values(*shape),
                "rows": _values(1, shape[1], _PAST, shape[3]),
                "slot": torch.zeros(1, dtype=torch.int64),
            },
            {"cache": {0: rows, 2: capacity}, "rows": {2: Dim("length", min=1)}, "slot": {}},
            ("cache_now",),
            Part.T2S,
        ),
        _choose(sizes.vocab_size),
    ]


def _choose(vocab_size: int) -> GraphSpec:
    inputs = {
        "logits": 3 * _values(_ROWS, vocab_size),
        "noise": _values(_ROWS, vocab_size).abs() + 0.1,
        "seen": _values(_ROWS, vocab_size) > 0.5,
        "may_end": torch.arange(_ROWS) > 0,
        "penalty": torch.full((_ROWS,), 1.35),
        "top_p": torch.full((_ROWS,), 0.9),
        "temperature": torch.full((_ROWS,), 0.8),
        "top_k": torch.arange(_ROWS) + 5,
    }
    rows = Dim("rows", min=1)
    dynamic = {name: {0: rows} for name in inputs}
    return GraphSpec("choose", TokenChoice(), inputs, dynamic, _CHOICE, Part.T2S)


def _step_inputs(sizes: T2SConfig, past: Sequence[str]) -> dict[str, Tensor]:
    head_dim = sizes.hidden_dim // sizes.num_heads
    shape = (_ROWS, sizes.num_heads, _PAST, head_dim)
    return {
        "tokens": torch.arange(_ROWS),
        "position": torch.arange(_ROWS) + 2,
        "mask": torch.zeros(_ROWS, _PAST),
        **{name: _values(*shape) for name in past},
    }


def _step_dynamic(past: Sequence[str]) -> dict[str, Mapping[int, Any]]:
    rows, length = Dim("rows", min=1), Dim("past", min=1)
    return {
        "tokens": {0: rows},
        "position": {0: rows},
        "mask": {0: rows, 1: length},
        **{name: {0: rows, 2: length} for name in past},
    }


def acoustic_graphs(network: AcousticNetwork) -> list[GraphSpec]:
    """Return text, prior, flow, decoder, style and codes."""
    config: AcousticConfig = network.config
    phonemes, tokens, frames = Dim("phonemes", min=1), Dim("tokens", min=1), Dim("frames", min=1)
    style = _values(1, config.gin_dim, 1)
    ids = torch.arange(_PHONEMES)[None] % config.num_phonemes
    with torch.inference_mode():
        keys, values, text_style = Text(network)(ids, style)
    latent = _values(1, config.latent_dim, _FRAMES)
    spec_inputs = {"spec": _values(1, config.spec_bins, _FRAMES).abs()}
    if config.speaker_dim:
        spec_inputs["speaker"] = _values(1, config.speaker_dim)
    ssl_steps = Dim("ssl_steps", min=1)
    return [
        GraphSpec(
            "text",
            Text(network),
            {"phoneme_ids": ids, "style": style},
            {"phoneme_ids": {1: phonemes}, "style": {}},
            ("keys", "values", "text_style"),
        ),
        GraphSpec(
            "prior",
            Prior(network),
            {
                "tokens": torch.arange(_TOKENS)[None] % config.codebook_size,
                "keys": keys.clone(),
                "values": values.clone(),
                "text_style": text_style.clone(),
            },
            {
                "tokens": {1: tokens},
                "keys": {2: phonemes},
                "values": {2: phonemes},
                "text_style": {},
            },
            ("mean", "log_std", "attention"),
        ),
        GraphSpec(
            "flow",
            Flow(network),
            {"latent": latent, "style": style},
            {"latent": {2: frames}, "style": {}},
            ("flowed",),
        ),
        _decoder(network, style),
        GraphSpec(
            "style",
            Style(network),
            spec_inputs,
            {"spec": {2: frames}, **({"speaker": {}} if config.speaker_dim else {})},
            ("style",),
        ),
        GraphSpec(
            "codes",
            Codes(network),
            {"ssl": _values(1, config.ssl_dim, 2 * _TOKENS)},
            {"ssl": {2: 2 * ssl_steps}},
            ("tokens",),
        ),
    ]


def _decoder(network: AcousticNetwork, style: Tensor) -> GraphSpec:
    rows = network.config.latent_dim + network.source_rows
    inputs = {"flowed": _values(1, rows, _FRAMES).abs()}
    module: nn.Module = Decoder(network)
    if network.drops_context:
        module = DecoderInContext(network)
        before, after = _values(1, rows, _BEFORE), _values(1, rows, _AFTER)
        inputs = {"before": before, **inputs, "after": after}
    frames = {"before": Dim("before"), "flowed": Dim("frames", min=1), "after": Dim("after")}
    dynamic = {name: {2: frames[name]} for name in inputs}
    return GraphSpec(
        "decoder",
        module,
        {**inputs, "style": style},
        {**dynamic, "style": {}},
        ("samples",),
        forget_shapes=_trims_often(network),
    )


def _values(*shape: int) -> Tensor:
    """Return example values that no layer maps to a constant."""
    count = 1
    for size in shape:
        count *= size
    return torch.sin(torch.arange(count, dtype=torch.float32) * 0.7).reshape(shape)
