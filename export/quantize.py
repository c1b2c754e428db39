"""8-bit weights for the graphs that are bound by reading weights.

Blocks of 32 weights share a scale, and activations are quantised per row (MatMulNBits, accuracy
level 4), so a row's result does not depend on its neighbours. Dynamic quantisation of whole
tensors, the usual choice, would let one session's activations set everybody's scale.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from pathlib import Path

import onnx

from engine.manifest import GraphRecord, hash_file
from export.graphs import GraphSpec
from export.to_onnx import compare

BLOCK = 32
PRECISION = "int8"


def quantize_weights(spec: GraphSpec, record: GraphRecord, folder: Path) -> GraphRecord:
    """Write `NAME-int8.onnx` beside the fp32 graph of `record` and return its record."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnxruntime.quantization.matmul_nbits_quantizer import (
            DefaultWeightOnlyQuantConfig,
            MatMulNBitsQuantizer,
        )

        logging.getLogger("onnxruntime.quantization").setLevel(logging.ERROR)
        settings = DefaultWeightOnlyQuantConfig(
            block_size=BLOCK, is_symmetric=True, accuracy_level=4, bits=8
        )
        quantizer = MatMulNBitsQuantizer(onnx.load(folder / record.file), algo_config=settings)
        quantizer.process()
    path = folder / f"{spec.name}-{PRECISION}.onnx"
    onnx.save(quantizer.model.model, path)
    return replace(
        record,
        precision=PRECISION,
        file=path.name,
        sha256=hash_file(path),
        num_bytes=path.stat().st_size,
        error=compare(spec, path),
    )
