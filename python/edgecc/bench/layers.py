"""Artifacts of nothing but linear layers of one shape, for `edgecc-bench --micro`.

Why several layers and not one: a single layer's weights would stay in the caches between calls, and a vector kernel is about reading
them from memory. Each layer has an input and an output of its own, so that nothing can be fused or shared.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from ..compiler import Bounds, compile, find_program  # noqa: A004
from ..errors import EdgeccError

# What the types of a row of passes/kernels/kernels.def (left side, weights) ask for: the weights' type in ONNX, and options of edgecc.
RECIPES: dict[str, tuple[str, dict[str, str]]] = {
    "f32": ("f32", {}),
    "f16": ("f16", {}),
    "bf16": ("bf16", {}),
    "w4g32": ("f16", {"quant": "w4g32"}),
    "w8g32": ("f16", {"quant": "w8g32"}),
    "w4": ("f16", {"quant": "w4"}),
    "w8": ("f16", {"quant": "w8"}),
    "w4g32a8": ("f16", {"quant": "w4g32a8"}),
    "w8g32a8": ("f16", {"quant": "w8g32a8"}),
    "w4a8": ("f16", {"quant": "w4a8"}),
    "w8a8": ("f16", {"quant": "w8a8"}),
}
_ROW_RECIPES = {("F32", "F32"): "f32", ("F32", "F16"): "f16", ("F32", "BF16"): "bf16", ("F32", "I4G"): "w4g32", ("F32", "I8G"): "w8g32",
                ("F32", "I4"): "w4", ("F32", "I8"): "w8", ("I8", "I4G"): "w4g32a8", ("I8", "I8G"): "w8g32a8", ("I8", "I4"): "w4a8",
                ("I8", "I8"): "w8a8"}
# Bytes per weight, with a scale of 2 bytes per group, to know how many layers are too many for a cache.
_BYTES = {"f32": 4.0, "f16": 2.0, "bf16": 2.0}
_DISTINCT = 128 << 20


def recipes_of_table(table: Path) -> list[str]:
    """The recipes that the rows of kernels.def need, each once, in the table's order."""
    found: list[str] = []
    for name, lhs, rhs in re.findall(r"^EDGECC_KERNEL\((\w+),\s*(\w+),\s*(\w+),", table.read_text(), re.M):
        if (lhs, rhs) not in _ROW_RECIPES:
            raise EdgeccError(f"{table}: {name}: no recipe for a left side of {lhs} and weights of {rhs}; add it to {__file__}")
        if _ROW_RECIPES[lhs, rhs] not in found:
            found.append(_ROW_RECIPES[lhs, rhs])
    return found


def layer_count(k: int, n: int, recipe: str) -> int:
    """As many layers as do not fit into a cache."""
    width = _BYTES.get(recipe) or (0.5625 if recipe.startswith("w4") else 1.0625)
    return max(1, -(-_DISTINCT // int(k * n * width)))


def write_layers(path: Path, k: int, n: int, count: int, weights: str, rows: int | None = None) -> None:
    """ONNX with `count` products x_i [rows, k] times w_i [k, n]. The weights are windows into one file of random numbers."""
    import onnx
    from onnx import TensorProto, helper

    width = 4 if weights == "f32" else 2
    kind = {"f32": TensorProto.FLOAT, "f16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}[weights]
    # bf16 weights come with f32 activations, as the exporter writes them.
    lhs = TensorProto.FLOAT16 if weights == "f16" else TensorProto.FLOAT
    step = 4096 // width  # windows begin at pages
    values = np.random.default_rng(0).standard_normal(k * n + step * (count - 1), np.float32) * np.float32(k ** -0.5)
    data = path.with_suffix(".bin")
    (values.view(np.uint32) >> 16).astype(np.uint16).tofile(data) if weights == "bf16" else values.astype(
        {"f32": np.float32, "f16": np.float16}[weights]).tofile(data)
    size = "rows" if rows is None else rows
    nodes, inputs, outputs, initializers = [], [], [], []
    for i in range(count):
        tensor = onnx.TensorProto(name=f"w{i}", data_type=kind, dims=[k, n], data_location=TensorProto.EXTERNAL)
        for key, value in (("location", data.name), ("offset", i * 4096), ("length", k * n * width)):
            tensor.external_data.add(key=key, value=str(value))
        initializers.append(tensor)
        right = f"w{i}"
        if weights == "bf16":
            nodes.append(helper.make_node("Cast", [right], [right + "_f32"], to=TensorProto.FLOAT))
            right += "_f32"
        nodes.append(helper.make_node("MatMul", [f"x{i}", right], [f"y{i}"], name=f"layer{i}"))
        inputs.append(helper.make_tensor_value_info(f"x{i}", lhs, [size, k]))
        outputs.append(helper.make_tensor_value_info(f"y{i}", lhs, [size, n]))
    graph = helper.make_graph(nodes, "layers", inputs, outputs, initializers)
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]).SerializeToString())


def build(folder: Path, k: int, n: int, recipe: str, *, count: int | None = None, rows: int | None = None, program: Any = None,
          **options: Any) -> Path:
    """The artifact of such layers; `options` go to edgecc."""
    weights, quantization = RECIPES[recipe]
    stem = folder / f"{recipe}-{k}x{n}"
    write_layers(stem.with_suffix(".onnx"), k, n, count or layer_count(k, n, recipe), weights, rows)
    dims: dict[str, Bounds] = {} if rows else {"rows": (1, 512)}
    more: dict[str, Any] = {**quantization, **options}
    compile(stem.with_suffix(".onnx"), stem.with_suffix(".edge"), dims=dims, program=program, **more)
    stem.with_suffix(".bin").unlink()
    return stem.with_suffix(".edge")


def measure(artifact: Path, rows: list[int], threads: list[int], rounds: int, program: Any = None) -> dict[str, Any]:
    """Runs edgecc-bench --micro; gives its report."""
    path = artifact.with_suffix(".json")
    command = [str(find_program("edgecc-bench", program)), str(artifact), "--micro", "--rows", ",".join(map(str, rows)), "--threads",
               ",".join(map(str, threads)), "--rounds", str(rounds), "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise EdgeccError(done.stderr.strip() or f"{command[0]} ended with {done.returncode}")
    return json.loads(path.read_text())
