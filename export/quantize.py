"""8-bit weights: for `step` and BERT, which are bound by reading weights, and for `prefill`.

Blocks of weights share a scale, and activations are quantised per row (MatMulNBits, accuracy
level 4), so a row's result does not depend on its neighbours. Dynamic quantisation of whole
tensors, the usual choice, would let one session's activations set everybody's scale.

A weight that the pack stores in 8-bit blocks keeps these very blocks, so nothing is lost. Others
get blocks of 64: the step of a full-size T2S takes 8.5 ms with them and 9.5 ms with blocks of 32,
at a relative error of the logits of 1.2 % and 0.9 %. From 128 on ONNX Runtime sums several rows in
another order than one, and a row would depend on its neighbours.

`prefill` runs one sentence by itself and is bound by arithmetic, so it takes what is fastest
there: a scale per column, and one for all activations of a call (DynamicQuantizeMatMul). A product
of 210 rows takes 1.3 ms so, 2.9 ms with blocks and 4.5 ms in float32. It needs a processor that
adds such products in 32 bits; without (`engine.backends.calibration.has_exact_int8`) the float32
graph is used.

The weights are made from the pack's when the graph is opened; the file holds none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir

from engine.graph_weights import GraphWeights
from engine.manifest import GraphRecord, hash_file
from export.graphs import GraphSpec
from export.share_weights import LOCATION
from export.to_onnx import compare

PRECISION = "int8"
_DOMAIN = "com.microsoft"
_ATTRIBUTES = {"bits": 8, "accuracy_level": 4}
_BLOCK = 64


def quantize_weights(
    spec: GraphSpec, record: GraphRecord, folder: Path, weights: GraphWeights
) -> GraphRecord:
    """Write `NAME-int8.onnx` beside the fp32 graph of `record` and return its record."""
    model = ir.load(folder / record.file)
    recipes = dict(record.weights)
    for node in list(model.graph):
        if node.op_type == "MatMul" and (name := _weight_name(node)) in recipes:
            recipe = recipes.pop(name)
            if not recipe.startswith("transpose "):
                recipes[name] = recipe
                continue
            source = recipe.removeprefix("transpose ")
            if spec.name == "prefill":
                recipes |= _by_columns(model.graph, node, name, source)
            else:
                part, _, tensor = source.partition(" ")
                block = weights.stored_block(part, tensor) or _BLOCK
                recipes |= _by_blocks(model.graph, node, name, source, block)
    model.opset_imports[_DOMAIN] = 1
    path = folder / f"{spec.name}-{PRECISION}.onnx"
    ir.save(model, path)
    return replace(
        record,
        precision=PRECISION,
        file=path.name,
        sha256=hash_file(path),
        num_bytes=path.stat().st_size,
        weights=recipes,
        error=compare(spec, path, weights.load(recipes)),
    )


def _weight_name(node: ir.Node) -> str:
    weight = node.inputs[1]
    return (weight.name or "") if weight is not None and weight.is_initializer() else ""


def _by_blocks(
    graph: ir.Graph, node: ir.Node, name: str, source: str, block: int
) -> dict[str, str]:
    """Put MatMulNBits in a MatMul's place; return the recipes of its two initializers."""
    columns, rows = _shape(graph, name)
    num_blocks = -(-columns // block)
    blocks = _reference(f"{name}_blocks", (rows, num_blocks, block), ir.DataType.UINT8)
    scales = _reference(f"{name}_scales", (rows, num_blocks), ir.DataType.FLOAT)
    attributes = {"K": columns, "N": rows, "block_size": block, **_ATTRIBUTES}
    _replace(graph, node, name, "MatMulNBits", (blocks, scales), attributes)
    return {
        f"{name}_blocks": f"blocks {source} {block}",
        f"{name}_scales": f"scales {source} {block}",
    }


def _by_columns(graph: ir.Graph, node: ir.Node, name: str, source: str) -> dict[str, str]:
    """Put DynamicQuantizeMatMul in a MatMul's place; return the recipes of its initializers."""
    shape = _shape(graph, name)
    levels = _reference(f"{name}_levels", shape, ir.DataType.INT8)
    scales = _reference(f"{name}_scales", shape[1:], ir.DataType.FLOAT)
    _replace(graph, node, name, "DynamicQuantizeMatMul", (levels, scales), {})
    return {f"{name}_levels": f"levels {source}", f"{name}_scales": f"level_scales {source}"}


def _shape(graph: ir.Graph, name: str) -> tuple[int, ...]:
    weight = graph.initializers[name].const_value
    assert weight is not None
    return tuple(weight.shape.numpy())


def _replace(
    graph: ir.Graph,
    node: ir.Node,
    name: str,
    operator: str,
    weights: tuple[ir.Value, ...],
    attributes: Mapping[str, int],
) -> None:
    """Put an operator in the place of a MatMul with the initializer `name`, which goes."""
    for value in weights:
        graph.register_initializer(value)
    output = node.outputs[0]
    new = ir.node(
        operator, [node.inputs[0], *weights], dict(attributes), domain=_DOMAIN, name=node.name
    )
    new.outputs[0].name, new.outputs[0].type = output.name, output.type
    new.outputs[0].shape = output.shape
    graph.insert_before(node, new)
    output.replace_all_uses_with(new.outputs[0], replace_graph_outputs=True)
    graph.remove(node, safe=True)
    del graph.initializers[name]


def _reference(name: str, shape: tuple[int, ...], dtype: ir.DataType) -> ir.Value:
    """Return an initializer whose contents the runtime brings."""
    length = dtype.itemsize
    for size in shape:
        length *= size
    tensor = ir.ExternalTensor(LOCATION, 0, int(length), dtype, shape=ir.Shape(shape), name=name)
    return ir.val(name, dtype, shape, const_value=tensor)
