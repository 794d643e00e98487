"""Attention whose scores are seen in another rank where the mask is applied, as Swin, BART, OPT, BLOOM and DeBERTa are exported: the same
numbers as ONNX Runtime, whatever the mask's rank and whatever it differs by; and forms that are nearly an attention.

    pytest test/e2e/test_folded_attention.py [--build-dir build]
"""

import subprocess
from pathlib import Path

import numpy as np
import pytest

ort = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import edgecc  # noqa: E402

TOKENS, DIM = 3, 4


def tensor(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def attention(product, view, mask, select=False):
    """softmax(q k^T) v for q, k, v of the sizes `product`; the mask is applied to the scores seen as `view`."""
    constants = {"view": np.array([*view, TOKENS, TOKENS]), "back": np.array([*product, TOKENS, TOKENS]), "hidden": np.array(-np.inf, np.float32)}
    last = list(range(len(product) + 2))
    nodes = [helper.make_node("Transpose", ["k"], ["kt"], perm=[*last[:-2], last[-1], last[-2]]), helper.make_node("MatMul", ["q", "kt"], ["s"]),
             helper.make_node("Reshape", ["s", "view"], ["sv"]),
             helper.make_node("Where", ["mask", "sv", "hidden"], ["sm"]) if select else helper.make_node("Add", ["sv", "mask"], ["sm"]),
             helper.make_node("Reshape", ["sm", "back"], ["sb"]), helper.make_node("Softmax", ["sb"], ["p"], axis=-1),
             helper.make_node("MatMul", ["p", "v"], ["y"])]
    shape = [*product, TOKENS, DIM]
    inputs = [tensor(name, shape) for name in "qkv"] + [tensor("mask", mask, TensorProto.BOOL if select else TensorProto.FLOAT)]
    graph = helper.make_graph(nodes, "folded", inputs, [tensor("y", None)], [numpy_helper.from_array(v, n) for n, v in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def feeds_of(model, seed=0):
    rng = np.random.default_rng(seed)
    feeds = {}
    for value in model.graph.input:
        shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
        if value.type.tensor_type.elem_type == TensorProto.BOOL:
            feeds[value.name] = rng.random(shape) < 0.6
            feeds[value.name][..., 0] = True  # no query without a key
        else:
            feeds[value.name] = rng.normal(size=shape).astype(np.float32)
    return feeds


def compare(model, build_dir, tmp_path: Path, *flags: str) -> str:
    """What the compiler says; the numbers must be ONNX Runtime's."""
    path, edge, feeds = tmp_path / "model.onnx", tmp_path / "model.edge", feeds_of(model)
    path.write_bytes(model.SerializeToString())
    done = subprocess.run([str(build_dir / "bin/edgecc"), str(path), "-o", str(edge), "--remarks", *flags], capture_output=True, text=True, check=True)
    expected = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, feeds)[0]
    np.testing.assert_allclose(edgecc.load(edge).run(feeds)["y"], expected, rtol=1e-4, atol=1e-5)
    return done.stdout + done.stderr


# The sizes before the matrices of q, k and v; of the scores where the mask is applied; of the mask.
FOLDED = {
    "swin: a mask for each window, two images": ((4, 3), (2, 2, 3), (1, 2, 1)),
    "swin: another mask for each image": ((4, 3), (2, 2, 3), (2, 2, 1)),
    "swin: one head": ((4, 1), (2, 2, 1), (1, 2, 1)),
    "heads apart from windows": ((4, 3), (2, 2, 3), (1, 1, 3)),
    "bart: batch and heads in one": ((6,), (2, 3), (2, 1)),
    "bart: one mask for all": ((6,), (2, 3), (1, 1)),
    "deberta: a mask for each head": ((6,), (2, 3), (1, 3)),
    "bloom: batch and heads in one, all different": ((6,), (2, 3), (2, 3)),
    "folded where the mask is applied": ((2, 3), (6,), (6,)),
    "a mask of a lower rank": ((2, 3), (2, 3), (3,)),
    "a matrix": ((2, 3), (2, 3), ()),
}


@pytest.mark.parametrize("flags", [(), ("--no-check-raises",)], ids=["checked", "unchecked"])
@pytest.mark.parametrize("select", [False, True], ids=["added", "selecting"])
@pytest.mark.parametrize("name", FOLDED)
def test_masks(name, select, flags, build_dir, tmp_path):
    """By the pattern itself, not only by the check behind it: none of these is refuted."""
    product, view, mask = FOLDED[name]
    said = compare(attention(product, view, (*mask, TOKENS, TOKENS), select), build_dir, tmp_path, *flags)
    assert "1 attention" in said and "looks like the end of a layer" not in said, said


@pytest.mark.parametrize("mask", [(2, 3, TOKENS, TOKENS), (2, 1, TOKENS, TOKENS), (2, 3, 1, TOKENS)])
def test_masks_that_spread_the_scores(mask, build_dir, tmp_path):
    """One head of scores and a mask for more: the product has fewer matrices than the softmax."""
    graph = attention((1, 1), (1, 1), mask).graph
    for node in [n for n in graph.node if n.op_type == "Reshape" and n.output[0] == "sb"]:
        node.input[0], node.op_type = "sm", "Identity"
        del node.input[1]
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert "attention" not in compare(model, build_dir, tmp_path).split("layers", 1)[1].splitlines()[0]


def test_values_that_spread_the_scores(build_dir, tmp_path):
    """One head of scores for values of three."""
    model = attention((1, 1), (1, 1), (TOKENS, TOKENS))
    for value in model.graph.input:
        if value.name == "v":
            value.type.tensor_type.shape.dim[1].dim_value = 3
    compare(model, build_dir, tmp_path)
