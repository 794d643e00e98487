"""Tensors without elements: sums over nothing are zero, products one, and what has no answer is refused. Nothing crashes.

    pytest test/e2e/test_empty_tensors.py [--build-dir build]
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

F, I, I8, U8 = np.float32, np.int64, np.int8, np.uint8


def f(*shape: int) -> np.ndarray:
    return (np.arange(np.prod(shape, dtype=int), dtype=F).reshape(shape) % 7 - 3) / 4


def i(*values) -> np.ndarray:
    return np.array(values, I)


class Case:
    def __init__(self, op: str, *inputs: np.ndarray | None, weights: tuple[int, ...] = (), outputs: int = 1, domain: str = "",
                 opset: int = 23, **attributes):
        self.op, self.inputs, self.outputs, self.domain, self.opset = op, inputs, outputs, domain, opset
        self.weights, self.attributes = weights, attributes

    def model(self, dynamic: bool) -> onnx.ModelProto:
        """`dynamic`: sizes of 0 are a dimension n of 0 to 4."""
        names = ["" if value is None else f"i{k}" for k, value in enumerate(self.inputs)]
        given = {names[k]: value for k, value in enumerate(self.inputs) if value is not None}
        constants = {f"i{k}" for k in self.weights}
        inputs = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype),
                                                ["n" if dynamic and size == 0 else size for size in v.shape])
                  for n, v in given.items() if n not in constants]
        outputs = [f"o{k}" for k in range(self.outputs)]
        node = helper.make_node(self.op, names, outputs, domain=self.domain, name=self.op, **self.attributes)
        graph = helper.make_graph([node], "empty", inputs, [onnx.ValueInfoProto(name=o) for o in outputs],
                                  [numpy_helper.from_array(given[n], n) for n in sorted(constants)])
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)

    def feeds(self) -> dict[str, np.ndarray]:
        return {f"i{k}": v for k, v in enumerate(self.inputs) if v is not None and k not in self.weights}


QKV = (f(1, 2, 3, 4), f(1, 2, 0, 4), f(1, 2, 0, 4))
# name: the case, and what comes out; a sentence where it is refused.
CASES: dict[str, tuple[Case, list[np.ndarray] | str]] = {
    "MatMul over nothing": (Case("MatMul", f(2, 0), f(0, 3)), [np.zeros((2, 3), F)]),
    "MatMul by a weight over nothing": (Case("MatMul", f(2, 0), f(0, 3), weights=(1,)), [np.zeros((2, 3), F)]),
    "MatMul of no rows": (Case("MatMul", f(0, 4), f(4, 3), weights=(1,)), [np.zeros((0, 3), F)]),
    "MatMul of no columns": (Case("MatMul", f(2, 4), f(4, 0), weights=(1,)), [np.zeros((2, 0), F)]),
    "MatMul of no batches": (Case("MatMul", f(0, 2, 4), f(0, 4, 3)), [np.zeros((0, 2, 3), F)]),
    "MatMul of vectors": (Case("MatMul", f(0), f(0)), [np.zeros((), F)]),
    "Gemm over nothing": (Case("Gemm", f(2, 0), f(0, 3), f(3), weights=(1, 2)), [f(3)[None].repeat(2, 0)]),
    "Gemm of no rows": (Case("Gemm", f(0, 4), f(4, 3), f(3), weights=(1, 2)), [np.zeros((0, 3), F)]),
    "MatMulInteger over nothing": (Case("MatMulInteger", np.zeros((2, 0), U8), np.zeros((0, 3), I8), weights=(1,)), [np.zeros((2, 3), np.int32)]),
    "Einsum over nothing": (Case("Einsum", f(2, 0), f(0, 3), equation="ij,jk->ik"), [np.zeros((2, 3), F)]),
    "ReduceSum": (Case("ReduceSum", f(2, 0), i(1), weights=(1,)), [np.zeros((2, 1), F)]),
    "ReduceProd": (Case("ReduceProd", f(2, 0), i(1), weights=(1,)), [np.ones((2, 1), F)]),
    "ReduceMax": (Case("ReduceMax", f(2, 0), i(1), weights=(1,)), [np.full((2, 1), -np.inf, F)]),
    "ReduceMin": (Case("ReduceMin", f(2, 0), i(1), weights=(1,)), [np.full((2, 1), np.inf, F)]),
    "ReduceMean": (Case("ReduceMean", f(2, 0), i(1), weights=(1,)), [np.full((2, 1), np.nan, F)]),
    "ReduceMean of integers": (Case("ReduceMean", np.zeros((2, 0), I), i(1), weights=(1,)), [np.zeros((2, 1), I)]),
    "ReduceL1": (Case("ReduceL1", f(2, 0), i(1), weights=(1,)), [np.zeros((2, 1), F)]),
    "ReduceL2": (Case("ReduceL2", f(2, 0), i(1), weights=(1,)), [np.zeros((2, 1), F)]),
    "ReduceLogSum": (Case("ReduceLogSum", f(2, 0), i(1), weights=(1,)), [np.full((2, 1), -np.inf, F)]),
    "ReduceLogSumExp": (Case("ReduceLogSumExp", f(2, 0), i(1), weights=(1,)), [np.full((2, 1), -np.inf, F)]),
    "ReduceSum of all": (Case("ReduceSum", f(0, 2), keepdims=0), [np.zeros((), F)]),
    "ReduceSum of no rows": (Case("ReduceSum", f(0, 2), i(1), weights=(1,)), [np.zeros((0, 1), F)]),
    "ArgMax of no rows": (Case("ArgMax", f(0, 2), axis=1), [np.zeros((0, 1), I)]),
    "ArgMax of nothing": (Case("ArgMax", f(2, 0), axis=1), "ArgMax"),
    "TopK of no rows": (Case("TopK", f(0, 5), i(2), weights=(1,), outputs=2), [np.zeros((0, 2), F), np.zeros((0, 2), I)]),
    "TopK of none": (Case("TopK", f(2, 5), i(0), weights=(1,), outputs=2), [np.zeros((2, 0), F), np.zeros((2, 0), I)]),
    "CumSum": (Case("CumSum", f(2, 0), i(1).reshape(()), weights=(1,)), [np.zeros((2, 0), F)]),
    "Softmax of nothing": (Case("Softmax", f(2, 0)), [np.zeros((2, 0), F)]),
    "Softmax of no rows": (Case("Softmax", f(0, 4)), [np.zeros((0, 4), F)]),
    "LogSoftmax of nothing": (Case("LogSoftmax", f(2, 0)), [np.zeros((2, 0), F)]),
    "Hardmax of nothing": (Case("Hardmax", f(2, 0)), [np.zeros((2, 0), F)]),
    "LayerNormalization of no rows": (Case("LayerNormalization", f(0, 4), f(4), weights=(1,)), [np.zeros((0, 4), F)]),
    "LayerNormalization of nothing": (Case("LayerNormalization", f(2, 0), f(0), weights=(1,)), [np.zeros((2, 0), F)]),
    "RMSNormalization of nothing": (Case("RMSNormalization", f(2, 0), f(0), weights=(1,)), [np.zeros((2, 0), F)]),
    "GroupNormalization of no batch": (Case("GroupNormalization", f(0, 4, 3), f(4), f(4), weights=(1, 2), num_groups=2), [np.zeros((0, 4, 3), F)]),
    "LpNormalization": (Case("LpNormalization", f(2, 0)), [np.zeros((2, 0), F)]),
    "Concat": (Case("Concat", f(2, 0), f(2, 3), axis=1), [f(2, 3)]),
    "Concat of nothing": (Case("Concat", f(0, 3), f(0, 3), axis=0), [np.zeros((0, 3), F)]),
    "Split": (Case("Split", f(2, 3), i(0, 3), weights=(1,), outputs=2, axis=1), [np.zeros((2, 0), F), f(2, 3)]),
    "Slice": (Case("Slice", f(2, 3), i(3), i(9), i(1), weights=(1, 2, 3)), [np.zeros((2, 0), F)]),
    "Pad": (Case("Pad", f(0, 2), i(1, 0, 0, 0), weights=(1,)), [np.zeros((1, 2), F)]),
    "Tile": (Case("Tile", f(2, 3), i(0, 1), weights=(1,)), [np.zeros((0, 3), F)]),
    "Expand": (Case("Expand", f(1, 3), i(0, 3), weights=(1,)), [np.zeros((0, 3), F)]),
    "Reshape": (Case("Reshape", f(0, 3), i(3, 0), weights=(1,), allowzero=1), [np.zeros((3, 0), F)]),
    "Transpose": (Case("Transpose", f(0, 2, 3), perm=[2, 0, 1]), [np.zeros((3, 0, 2), F)]),
    "Gather of no indices": (Case("Gather", f(4, 3), np.zeros((0,), I)), [np.zeros((0, 3), F)]),
    "Gather of a weight": (Case("Gather", f(4, 3), np.zeros((1, 0), I), weights=(0,)), [np.zeros((1, 0, 3), F)]),
    "GatherElements": (Case("GatherElements", f(2, 3), np.zeros((2, 0), I), axis=1), [np.zeros((2, 0), F)]),
    "GatherND": (Case("GatherND", f(2, 3), np.zeros((0, 2), I)), [np.zeros((0,), F)]),
    "ScatterND": (Case("ScatterND", f(4, 3), np.zeros((0, 1), I), f(0, 3)), [f(4, 3)]),
    "ScatterElements": (Case("ScatterElements", f(4, 3), np.zeros((0, 3), I), f(0, 3)), [f(4, 3)]),
    "OneHot": (Case("OneHot", np.zeros((0,), I), i(3), f(2), weights=(1, 2)), [np.zeros((0, 3), F)]),
    "Add": (Case("Add", f(2, 0), f(2, 1)), [np.zeros((2, 0), F)]),
    "Where": (Case("Where", np.zeros((0, 2), bool), f(2), f(1)), [np.zeros((0, 2), F)]),
    "Cast": (Case("Cast", f(0, 2), to=TensorProto.INT64), [np.zeros((0, 2), I)]),
    "Conv of no batch": (Case("Conv", f(0, 2, 5), f(3, 2, 3), weights=(1,)), [np.zeros((0, 3, 3), F)]),
    "Conv of no channels": (Case("Conv", f(1, 0, 5), f(3, 0, 3), weights=(1,)), [np.zeros((1, 3, 3), F)]),
    "MaxPool of no batch": (Case("MaxPool", f(0, 2, 5), kernel_shape=[2]), [np.zeros((0, 2, 4), F)]),
    "AveragePool of no batch": (Case("AveragePool", f(0, 2, 5), kernel_shape=[2]), [np.zeros((0, 2, 4), F)]),
    "GlobalAveragePool of no batch": (Case("GlobalAveragePool", f(0, 2, 5)), [np.zeros((0, 2, 1), F)]),
    "Resize of no batch": (Case("Resize", f(0, 2, 4), None, np.array([1, 1, 2], F), weights=(2,)), [np.zeros((0, 2, 8), F)]),
    "DynamicQuantizeLinear": (Case("DynamicQuantizeLinear", f(0), outputs=3), [np.zeros((0,), U8), None, None]),
    "QuantizeLinear": (Case("QuantizeLinear", f(0, 4), np.array(0.1, F), np.array(3, U8), weights=(1, 2)), [np.zeros((0, 4), U8)]),
    "DequantizeLinear": (Case("DequantizeLinear", np.zeros((0, 4), U8), np.array(0.1, F), np.array(3, U8), weights=(1, 2)), [np.zeros((0, 4), F)]),
    "Attention over no keys": (Case("Attention", *QKV), [np.zeros((1, 2, 3, 4), F)]),
    "Attention of no queries": (Case("Attention", f(1, 2, 0, 4), f(1, 2, 3, 4), f(1, 2, 3, 4)), [np.zeros((1, 2, 0, 4), F)]),
    "Attention of no batch": (Case("Attention", f(0, 2, 3, 4), f(0, 2, 3, 4), f(0, 2, 3, 4)), [np.zeros((0, 2, 3, 4), F)]),
    "MatMulNBits of no rows": (Case("MatMulNBits", f(0, 32), np.full((16, 1, 16), 0x88, U8), f(16), weights=(1, 2), domain="com.microsoft", K=32,
                                    N=16, bits=4, block_size=32), [np.zeros((0, 16), F)]),
    "MultiHeadAttention of no tokens": (Case("MultiHeadAttention", f(1, 0, 8), f(1, 0, 8), f(1, 0, 8), domain="com.microsoft", num_heads=2),
                                        [np.zeros((1, 0, 8), F)]),
    "NonZero": (Case("Trilu", f(0, 3)), [np.zeros((0, 3), F)]),
    "Range": (Case("Range", i(3).reshape(()), i(3).reshape(()), i(1).reshape(()), weights=(0, 1, 2)), [np.zeros((0,), I)]),
    "Einsum of no batch": (Case("Einsum", f(0, 2, 3), f(0, 3, 2), equation="bij,bjk->bik"), [np.zeros((0, 2, 2), F)]),
    "DepthToSpace": (Case("DepthToSpace", f(0, 4, 2, 2), blocksize=2), [np.zeros((0, 1, 4, 4), F)]),
}


def run(command: list, timeout: float = 30) -> subprocess.CompletedProcess:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=timeout)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", CASES)
def test_empty(name, dynamic, build_dir, tmp_path):
    case, expected = CASES[name]
    model, edge, results = (tmp_path / file for file in ("model.onnx", "model.edge", "out.npz"))
    onnx.save(case.model(dynamic), model)
    sizes = ["--dim=n=0..4"] if dynamic and any(0 in v.shape for v in case.feeds().values()) else []
    done = run([build_dir / "bin/edgecc", model, "-o", edge, "--quiet", *sizes])
    if done.returncode == 1:
        assert isinstance(expected, str) or dynamic, done.stderr
        assert case.op in done.stderr and "error" in done.stderr, done.stderr
        return
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    np.savez(tmp_path / "in.npz", **case.feeds())
    done = run([build_dir / "bin/edgecc-run", edge, "--inputs", tmp_path / "in.npz", "--outputs", results])
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    if isinstance(expected, str):
        return
    got = np.load(results)
    for k, value in enumerate(expected):
        if value is not None:
            np.testing.assert_array_equal(got[f"o{k}"], value, strict=True)
