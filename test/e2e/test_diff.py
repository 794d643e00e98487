"""edgecc-diff on a real model: what departs is named, what does not is left alone, and a repro shows it again.

    pytest test/e2e/test_diff.py [--build-dir build]
"""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import edgecc  # noqa: E402
from edgecc.eval.__main__ import main as edgecc_eval  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from test_models import model_directory  # noqa: E402

TESTS = Path(__file__).resolve().parents[1]
IDS = [1, 403, 282, 17, 99, 250, 31, 7]
ON_IDS = ["--ids", ",".join(map(str, IDS))]


@pytest.fixture
def model(build_dir) -> Path:
    return model_directory("stories260K", build_dir) / "model.onnx"


@pytest.fixture
def diff(build_dir, tmp_path):
    """Runs the program: its status, what it printed, and its JSON (none after trouble)."""

    def run(*arguments) -> tuple[int, str, dict]:
        file = tmp_path / "diff.json"
        file.unlink(missing_ok=True)
        done = subprocess.run([build_dir / "bin/edgecc-diff", *arguments, "--json", file], capture_output=True, text=True, timeout=300)
        return done.returncode, done.stdout + done.stderr, json.loads(file.read_text()) if file.exists() else {}

    return run


@pytest.fixture
def wrong_scale(build_dir, tmp_path) -> list[str]:
    """Options that make one attention wrong."""
    built = subprocess.run([sys.executable, TESTS / "passes/Inputs/build_plugin.py", TESTS / "tools/Inputs/wrong-pass", tmp_path / "plugin"],
                           env={**os.environ, "EDGECC_BUILD": str(build_dir)}, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return [f"--load-pass-plugin={tmp_path}/plugin/wrong-scale.so", "--plugin-pass=compress:wrong-scale{layer=/layers.3/self_attn/Attention}"]


def test_nothing_departs(model, diff):
    for options in ([], ["--kv=f32"]):
        status, text, result = diff(model, *ON_IDS, *options)
        assert status == 0 and "no pass changes what is computed" in text and not result["passes"]
    status, text, result = diff(model, *ON_IDS, "--plugin-pass=edge-rotate-residual")
    assert status == 0 and "no layer departs" in text
    assert [p["pass"] for p in result["passes"]] == ["edge-rotate-residual"] and len(result["passes"][0]["layers"]) > 80
    assert result["passes"][0]["layers"][-1]["relative_error"] < 1e-5


def test_figures(model, diff, build_dir, tmp_path):
    """What is said of the last layer is what the artifacts' logits show."""
    status, text, result = diff(model, *ON_IDS, "--quant=w4g32a8", "--kv=int8", "--layers")
    assert status == 1 and result["departure"]["pass"] == "edge-quantize-weights"
    first = next(layer for layer in result["passes"][0]["layers"] if layer["relative_error"] > 0.01)
    assert result["departure"]["layer"] == first["layer"] == "/embed_tokens/Gather"
    assert f"departs first: {first['layer']} (edge.embedding), by edge-quantize-weights" in text
    logits = {}
    for name, options in {"f32": {}, "w4": {"quant": "w4g32a8", "kv": "int8"}}.items():
        edgecc.compile(model, tmp_path / f"{name}.edge", **options)
        with edgecc.load(tmp_path / f"{name}.edge") as compiled, compiled.session() as session:
            logits[name] = session.run({"input_ids": np.array([IDS])}, "score")["logits"].astype(np.float64).ravel()
    difference, right = logits["w4"] - logits["f32"], logits["f32"]
    last = result["passes"][-1]["layers"][-1]
    assert last["layer"] == "/lm_head/MatMul"
    assert last["relative_error"] == pytest.approx(np.linalg.norm(difference) / np.linalg.norm(right), rel=0.01)
    assert last["largest_difference"] == pytest.approx(np.abs(difference).max(), rel=0.01)
    assert last["cosine"] == pytest.approx(logits["w4"] @ right / np.linalg.norm(logits["w4"]) / np.linalg.norm(right), abs=1e-4)


def test_rewritten_is_not_wrong(model, diff, tmp_path):
    """A rotated residual stream holds other numbers, and the model says the same: rounding is what departs, from the rotated one."""
    (tmp_path / "text.ids").write_text(" ".join(map(str, IDS)))
    _, text, result = diff(model, "--quant=w4g32a8", "--quant-algorithm=rotate", "--calibrate", tmp_path / "text.ids")
    rotated, rounded = result["passes"]
    assert rotated["pass"] == "edge-rotate-residual" and rotated["rewritten"] > 20
    assert f"{rotated['rewritten']} layers hold other numbers, but the model's results are what they were" in text
    assert result["departure"]["pass"] == rounded["pass"] == "edge-quantize-weights"
    assert result["departure"]["relative_error"] < 0.2 and result["samples"] == "1 sample of text.ids"


def test_wrong_pass(model, diff, wrong_scale, build_dir, tmp_path):
    """The layer that a bug is in is named, though all behind it are wrong, too; the piece shows it alone."""
    piece = tmp_path / "piece"
    status, text, result = diff(model, *ON_IDS, "--kv=f16", *wrong_scale, "--repro", piece)
    assert status == 1
    departure, repro = result["departure"], result["repro"]
    assert (departure["pass"], departure["layer"], departure["op"]) == ("wrong-scale", "/layers.3/self_attn/Attention", "edge.attention")
    assert repro["layers"] == 1 and repro["relative_error"] == pytest.approx(departure["relative_error"], rel=0.05)
    assert sorted(path.name for path in piece.iterdir()) == ["after.mlir", "before.mlir", "expected.npz", "inputs.npz"]
    assert not list(tmp_path.glob("*.partial")) and repro["command"] in text
    again = subprocess.run([build_dir / "bin" / shlex.split(repro["command"])[0], *shlex.split(repro["command"])[1:]], capture_output=True, text=True)
    assert again.returncode == 1 and "departs first: /layers.3/self_attn/Attention" in again.stdout, again
    # What it was before the pass is right, and the pass makes the same mistake again.
    right = ["--inputs", piece / "inputs.npz", "--reference", piece / "expected.npz"]
    assert diff(piece / "before.mlir", *right)[0] == 0
    status, _, result = diff(piece / "before.mlir", *right, *wrong_scale)
    assert status == 1 and result["departure"]["pass"] == "wrong-scale"


def test_errors_that_grow(diff, tmp_path):
    """y^4 doubles a relative error twice and makes none: the piece has the layers in front that do."""
    rng = np.random.default_rng(1)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="linear"), helper.make_node("Mul", ["y", "y"], ["y2"], name="square"),
             helper.make_node("Mul", ["y2", "y2"], ["y4"], name="again")]
    graph = helper.make_graph(nodes, "power", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 64])],
                              [helper.make_tensor_value_info("y4", TensorProto.FLOAT, [4, 32])],
                              [numpy_helper.from_array(rng.standard_normal((64, 32)).astype(np.float32), "w")])
    model = tmp_path / "power.onnx"
    model.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10).SerializeToString())
    linear, square, again = (layer["relative_error"] for layer in diff(model, "--quant=w4g32")[2]["passes"][0]["layers"])
    assert 0 < linear < square < again
    tolerance = (square + again) / 2
    status, _, result = diff(model, "--quant=w4g32", f"--tolerance={tolerance}", "--repro", tmp_path / "piece")
    assert status == 1 and result["departure"]["layer"] == "again"
    assert result["repro"]["layers"] == 3 and result["repro"]["relative_error"] > tolerance
    assert diff(*shlex.split(result["repro"]["command"])[1:])[0] == 1


def test_onnx_runtime(model, diff, tmp_path):
    """Against what ONNX Runtime computes at every node; one of its tensors is made wrong."""
    reference = tmp_path / "reference.npz"
    assert edgecc_eval(["reference", str(model), *ON_IDS, "-o", str(reference)]) == 0
    status, _, result = diff(model, *ON_IDS, "--reference", reference)
    assert status == 0 and len(result["passes"][0]["layers"]) > 80
    assert max(layer["relative_error"] for layer in result["passes"][0]["layers"]) < 1e-5
    tensors = dict(np.load(reference))
    tensors["/layers.2/mlp/w1/MatMul"] = tensors["/layers.2/mlp/w1/MatMul"] * np.float32(1.25)
    np.savez(reference, **tensors)
    status, text, result = diff(model, *ON_IDS, "--reference", reference, "--repro", tmp_path / "piece")
    assert status == 1 and result["departure"]["layer"] == "/layers.2/mlp/w1/MatMul"
    assert result["departure"]["relative_error"] == pytest.approx(0.2, rel=0.01)
    assert not (tmp_path / "piece/before.mlir").exists() and diff(*shlex.split(result["repro"]["command"])[1:])[0] == 1


@pytest.mark.parametrize("arguments, sentence", [
    ([], "name a model"),
    (["nowhere.onnx"], "cannot open nowhere.onnx"),
    (["MODEL", "--no-such"], "Unknown command line argument '--no-such'"),
    (["MODEL", "--ids", "1,two,3"], "'two' is no token id"),
    (["MODEL", "--ids", "1,2,3,99999"], "token 99999 is none of the model's 512"),
    (["MODEL", "--ids", "1,2,3,4", "--prompt", "Once"], "--inputs, --prompt and --ids all say what to compare on; give one"),
    (["MODEL", "--prompt", "Once upon"], "there is no tokenizer beside the model"),
    (["MODEL", "--inputs", "nowhere.npz"], "--inputs nowhere.npz: cannot be opened"),
    (["MODEL", "--tolerance=-1"], "--tolerance=-1: write a relative error of 0 or more"),
    (["MODEL", "--samples=0"], "--samples must be at least 1"),
    (["MODEL", "--quant=w9"], "--quant='w9' has weights of other than 4 or 8 bits"),
    (["MODEL", "--repro", "."], "--repro . exists already; name a folder that does not"),
    (["MODEL", "--reference", "INPUTS"], "none of its arrays has the name of a node"),
])
def test_bad_input(arguments, sentence, model, diff):
    known = {"MODEL": model, "INPUTS": model.parent / "case0.inputs.npz"}
    status, text, _ = diff(*(known.get(argument, argument) for argument in arguments))
    assert status == 2 and sentence in text, text


def test_repro_that_cannot_be_written(model, diff, tmp_path):
    (tmp_path / "file").touch()
    status, text, _ = diff(model, *ON_IDS, "--quant=w8a8", "--repro", tmp_path / "file/piece")
    assert status == 2 and f"--repro {tmp_path}/file/piece: " in text
