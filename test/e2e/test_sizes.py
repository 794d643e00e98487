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
            with pytest.raises(edgecc.RunError, match=rf"entry 'main': with these inputs '.*' would be -{m - n}, but it must not be negative"):
                model.run(feeds)
    assert ran == 3


def test_a_sum_of_sizes_that_must_be_a_constant(build_dir, tmp_path):
    """Concat of x and z added to 8 constants: no single dimension can be fixed, so each call is checked."""
    source = save(tmp_path / "model.onnx", [helper.make_node("Concat", ["x", "z"], ["c"], axis=0), helper.make_node("Add", ["c", "w"], ["y"])],
                  {"x": ["n"], "z": ["m"]}, {"w": np.arange(8, dtype=np.float32)})
    edge = tmp_path / "model.edge"
    subprocess.run([str(build_dir / "bin/edgecc"), str(source), "-o", str(edge), "--quiet", "--dim=n=1..8", "--dim=m=1..8"], check=True)
    oracle, model = ort.InferenceSession(str(source), providers=["CPUExecutionProvider"]), edgecc.load(edge)
    for n, m in ((3, 5), (7, 1)):
        feeds = {"x": np.ones(n, np.float32), "z": np.zeros(m, np.float32)}
        np.testing.assert_array_equal(model.run(feeds)["y"], oracle.run(None, feeds)[0])
    for n, m in ((8, 8), (2, 3)):
        with pytest.raises(edgecc.RunError, match=r"with these inputs '.*' would be -\d+, .*equality of two sizes"):
            model.run({"x": np.ones(n, np.float32), "z": np.zeros(m, np.float32)})


def test_rows_of_a_cache_with_tokens_for_heads(build_dir, tmp_path):
    """Rows [1, sequence, 1, 4] appended to a cache of one head: right for a sequence of one token only, to which it is fixed."""
    graph = helper.make_graph([helper.make_node("Concat", ["past_key_values.0.key", "rows"], ["present.0.key"], axis=2)], "rows",
                              [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [1, "sequence", 1, 4]),
                               helper.make_tensor_value_info("past_key_values.0.key", TensorProto.FLOAT, [1, 1, "past", 4])],
                              [helper.make_tensor_value_info("present.0.key", TensorProto.FLOAT, None)])
    source, edge = tmp_path / "model.onnx", tmp_path / "model.edge"
    source.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    done = subprocess.run([str(build_dir / "bin/edgecc"), str(source), "-o", str(edge), "--dim=sequence=1..8", "--dim=past=0..24"],
                          capture_output=True, text=True)
    assert done.returncode == 1 or "rows: f32[1, 1, 1, 4]" in done.stdout, done.stdout + done.stderr
    assert "'edge." not in done.stderr
