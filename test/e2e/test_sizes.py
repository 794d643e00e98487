"""Sizes that no bound keeps from being negative: a call that makes one so is refused, and every other one equals ONNX Runtime.

    pytest test/e2e/test_sizes.py [--build-dir build]
"""

import subprocess

import numpy as np
import pytest

ort = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import edgecc  # noqa: E402


def save(path, nodes, inputs, constants):
    graph = helper.make_graph(nodes, "sizes", [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(np.array(v), n) for n, v in constants.items()])
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    return path


def sliced_to_another(path):
    """x[:m] for m the length of z: what lies behind the end of x is not there."""
    return save(path, [helper.make_node("Shape", ["z"], ["m"]), helper.make_node("Slice", ["x", "zero", "m"], ["s"]),
                       helper.make_node("Concat", ["s", "x"], ["y"], axis=0)],
                {"x": ["n"], "z": ["m"]}, {"zero": [0]})


def sliced_between(path):
    """x[m:] joined with x: the slice has n - m elements."""
    return save(path, [helper.make_node("Shape", ["z"], ["m"]), helper.make_node("Shape", ["x"], ["n"]),
                       helper.make_node("Slice", ["x", "m", "n"], ["s"]), helper.make_node("Concat", ["s", "x"], ["y"], axis=0)],
                {"x": ["n"], "z": ["m"]}, {})


def cropped(path):
    """Pad by -m on one side."""
    return save(path, [helper.make_node("Shape", ["z"], ["m"]), helper.make_node("Neg", ["m"], ["crop"]),
                       helper.make_node("Concat", ["zero", "crop"], ["pads"], axis=0), helper.make_node("Pad", ["x", "pads"], ["s"]),
                       helper.make_node("Concat", ["s", "x"], ["y"], axis=0)],
                {"x": ["n"], "z": ["m"]}, {"zero": [0]})


@pytest.mark.parametrize("build", [sliced_to_another, sliced_between, cropped], ids=lambda build: build.__name__)
def test_negative_sizes(build, build_dir, tmp_path):
    source, edge = build(tmp_path / "model.onnx"), tmp_path / "model.edge"
    done = subprocess.run([str(build_dir / "bin/edgecc"), str(source), "-o", str(edge), "--quiet", "--dim=n=1..8", "--dim=m=1..8"],
                          capture_output=True, text=True)
    if done.returncode:
        assert done.returncode == 1 and "--dim" in done.stderr, done.stderr  # refused with a way out
        return
    oracle, model = ort.InferenceSession(str(source), providers=["CPUExecutionProvider"]), edgecc.load(edge)
    ran = 0
    for n, m in ((8, 3), (5, 5), (1, 1), (3, 8), (1, 2)):
        feeds = {"x": np.arange(n, dtype=np.float32), "z": np.zeros(m, np.float32)}
        if m <= n:
            np.testing.assert_array_equal(model.run(feeds)["y"], oracle.run(None, feeds)[0])
            ran += 1
        else:
            with pytest.raises(edgecc.RunError, match=rf"entry 'main': with these inputs '.*', a size or .*, would be -{m - n}"):
                model.run(feeds)
    assert ran == 3
