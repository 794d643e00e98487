"""Queries that see no key: every attention gives 0 for them, as PyTorch's scaled_dot_product_attention does, on every target; a Softmax
alone keeps ONNX's NaN. Large negative numbers hide nothing: a row of them is the mean of the values.

    pytest test/e2e/test_masked_rows.py [--build-dir build] [--aarch64-build-dir build/aarch64]
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

BATCH, HEADS, TOKENS, KEYS, DIM = 2, 2, 3, 5, 8
SEEN = np.ones((BATCH, 1, TOKENS, KEYS), bool)
SEEN[0, 0, 1] = False  # one query
SEEN[1, 0, :, 3:] = False  # the end of a padded sequence
MASKS = {"bool": SEEN, "infinity": np.where(SEEN, 0, -np.inf).astype(np.float32), "1e4": np.where(SEEN, 0, -1e4).astype(np.float32),
         "3.4e38": np.where(SEEN, 0, -3.4e38).astype(np.float32)}


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)


Q, K, V = random(BATCH, HEADS, TOKENS, DIM), random(BATCH, HEADS, KEYS, DIM), random(BATCH, HEADS, KEYS, DIM) + 1


def attend(mask: np.ndarray, causal: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The definition in f64: results and weights, zero where nothing is seen."""
    scores = (Q.astype(np.float64) @ K.swapaxes(2, 3)) * DIM**-0.5
    scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else (scores.astype(np.float32) + mask).astype(np.float64)
    if causal:
        scores = np.where(np.tri(TOKENS, KEYS, dtype=bool), scores, -np.inf)
    largest = scores.max(-1, keepdims=True)
    weights = np.exp(scores - np.where(np.isfinite(largest), largest, 0))
    weights = weights / np.maximum(weights.sum(-1, keepdims=True), 1e-300)
    return weights @ V.astype(np.float64), weights


def flat(x: np.ndarray) -> np.ndarray:
    """[batch, heads, tokens, dim] as [batch, tokens, heads * dim]."""
    return x.swapaxes(1, 2).reshape(x.shape[0], x.shape[2], -1)


class Case:
    """An operator or nodes that are recognised as one, with what comes out."""

    def __init__(self, nodes, feeds, expected, constants=None):
        self.nodes, self.feeds, self.expected, self.constants = nodes, feeds, expected, constants or {}


def cases() -> dict[str, Case]:
    result = {}
    for name, mask in MASKS.items():
        feeds = {"q": Q, "k": K, "v": V, "m": mask}
        y, weights = attend(mask)
        for causal in (False, True):
            result[f"Attention {name}{' causal' * causal}"] = Case(
                [helper.make_node("Attention", ["q", "k", "v", "m"], ["y"], is_causal=int(causal))], feeds, {"y": attend(mask, causal)[0]})
        result[f"scores {name}"] = Case([helper.make_node("Attention", ["q", "k", "v", "m"], ["y", "", "", "p"], qk_matmul_output_mode=3)], feeds,
                                        {"y": y, "p": weights})
        hide = [helper.make_node("Where", ["m", "s", "lowest"], ["h"])] if mask.dtype == bool else [helper.make_node("Add", ["s", "m"], ["h"])]
        result[f"nodes {name}"] = Case(
            [helper.make_node("Mul", ["q", "scale"], ["qs"]), helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]),
             helper.make_node("MatMul", ["qs", "kt"], ["s"]), *hide, helper.make_node("Softmax", ["h"], ["p"], axis=-1),
             helper.make_node("MatMul", ["p", "v"], ["y"])], feeds, {"y": y},
            {"scale": np.array(DIM**-0.5, np.float32), "lowest": np.array(-np.inf, np.float32)})
        if mask.dtype != bool:
            result[f"MultiHeadAttention {name}"] = Case(
                [helper.make_node("MultiHeadAttention", ["q", "k", "v", "", "", "m"], ["y"], domain="com.microsoft", num_heads=HEADS)],
                {"q": flat(Q), "k": flat(K), "v": flat(V), "m": mask}, {"y": flat(y)})
    return result


CASES = cases()


def save(case: Case, path: Path) -> Path:
    inputs = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in case.feeds.items()]
    graph = helper.make_graph(case.nodes, "masked", inputs, [onnx.ValueInfoProto(name=o) for o in case.expected],
                              [numpy_helper.from_array(v, n) for n, v in case.constants.items()])
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())
    return path


def run(case: Case, folder: Path, compiler: Path, command: list[str], *options: str) -> dict[str, np.ndarray]:
    model = save(case, folder / "model.onnx")
    np.savez(folder / "in.npz", **case.feeds)
    for line in ([compiler, model, "-o", folder / "model.edge", "--quiet", *options],
                 [*command, folder / "model.edge", "--inputs", folder / "in.npz", "--outputs", folder / "out.npz"]):
        done = subprocess.run(list(map(str, line)), capture_output=True, text=True)
        assert done.returncode == 0, (done.returncode, done.stderr[-3000:])
    return dict(np.load(folder / "out.npz"))


def check(case: Case, got: dict[str, np.ndarray]) -> None:
    for name, value in case.expected.items():
        np.testing.assert_allclose(got[name], value, rtol=2e-5, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("name", CASES)
def test_host(name, build_dir, tmp_path):
    check(CASES[name], run(CASES[name], tmp_path, build_dir / "bin/edgecc", [str(build_dir / "bin/edgecc-run")]))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("variant, cpu", [("arm64-neon", "cortex-a53"), ("arm64-i8mm", "max")])
def test_aarch64(variant, cpu, name, build_dir, under_qemu, tmp_path):
    check(CASES[name], run(CASES[name], tmp_path, build_dir / "bin/edgecc", under_qemu(cpu), "--target=linux-arm64", f"--variant={variant}"))


def test_hidden_queries_are_zero():
    """What is compared with has the rows that this is about."""
    y = attend(MASKS["infinity"])[0]
    assert (y[0, :, 1] == 0).all() and np.abs(y[0, :, 0]).min() > 0
    np.testing.assert_allclose(attend(MASKS["3.4e38"])[0][0, :, 1], V[0].mean(1), rtol=1e-6)


def test_softmax_alone(build_dir, tmp_path):
    case = Case([helper.make_node("Softmax", ["x"], ["y"], axis=-1)], {"x": np.array([[-np.inf, -np.inf], [0, -np.inf]], np.float32)},
                {"y": np.array([[np.nan, np.nan], [1, 0]])})
    check(case, run(case, tmp_path, build_dir / "bin/edgecc", [str(build_dir / "bin/edgecc-run")]))
