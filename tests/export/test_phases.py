"""Transposed convolutions written as plain ones, against ONNX Runtime's own."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from engine.types import FloatArray
from export.phases import split_phases

CHANNELS = 3


def transposed(
    kernel: int, rate: int, pads: tuple[int, int], *, bias: bool = True, group: int = 1
) -> ir.Model:
    """Return a graph x [1, 3, T] -> y of one transposed convolution."""
    rng = np.random.default_rng(kernel)
    x = ir.val("x", ir.DataType.FLOAT, ["batch", CHANNELS, "length"])
    weights = {"w": rng.normal(size=(CHANNELS, 2 * CHANNELS // group, kernel)).astype(np.float32)}
    if bias:
        weights["b"] = rng.normal(size=2 * CHANNELS).astype(np.float32)
    values = [ir.val(name, const_value=ir.tensor(w, name=name)) for name, w in weights.items()]
    node = ir.node(
        "ConvTranspose", [x, *values], {"strides": [rate], "pads": list(pads), "group": group}
    )
    y = node.outputs[0]
    y.name, y.dtype = "y", ir.DataType.FLOAT
    graph = ir.Graph([x], [y], nodes=[node], initializers=values, name="g", opset_imports={"": 20})
    return ir.Model(graph, ir_version=10)


def run(model: ir.Model, x: FloatArray) -> FloatArray:
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString())
    y: FloatArray = session.run(None, {"x": x})[0]
    return y


@pytest.mark.parametrize(
    ("kernel", "rate", "pads"),
    # HiFi-GAN's of the official models, then lengths that no stride divides and uneven padding.
    [
        (16, 10, (3, 3)),
        (16, 8, (4, 4)),
        (8, 2, (3, 3)),
        (2, 2, (0, 0)),
        (7, 3, (2, 1)),
        (5, 2, (0, 3)),
    ],
)
def test_the_plain_convolution_says_the_same(kernel: int, rate: int, pads: tuple[int, int]) -> None:
    """For one position and for many, with a bias and without."""
    rng = np.random.default_rng(1)
    for length, bias in ((1, True), (2, False), (13, True)):
        model = transposed(kernel, rate, pads, bias=bias)
        x = rng.normal(size=(1, CHANNELS, length)).astype(np.float32)
        expected = run(model, x)
        kernels = split_phases(model)
        assert "ConvTranspose" not in {node.op_type for node in model.graph}
        assert [kernel.rate for kernel in kernels.values()] == [rate]
        assert not {"w", "b"} & set(model.graph.initializers)  # nobody needs them any more
        np.testing.assert_allclose(run(model, x), expected, atol=1e-5)


def test_what_is_no_plain_upsampling_stays() -> None:
    """One in groups, and one that makes no more positions than there were."""
    for model in (transposed(4, 2, (1, 1), group=3), transposed(3, 1, (1, 1))):
        assert split_phases(model) == {}
        assert [node.op_type for node in model.graph] == ["ConvTranspose"]
