"""Weights rounded by what flows through the model: error feedback against numpy, and what a trained model loses.

    pytest test/e2e/test_calibrated.py [--build-dir build]
"""

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import edgecc  # noqa: E402
import onnx  # noqa: E402
from export_models import Oracle  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from test_models import model_directory  # noqa: E402
from test_quantized import next_token_loss, story_tokens  # noqa: E402

K, N, GROUP = 64, 24, 32


def layer(weight: np.ndarray) -> bytes:
    """y = x w, with x [rows, K]."""
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "layer", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", K])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", N])], [numpy_helper.from_array(weight, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10).SerializeToString()


def best_scales(weights: np.ndarray, importance: np.ndarray) -> np.ndarray:
    """Of groups [n, groups, GROUP]: the scale of the least weighted error among 200 and both signs, -8 to 7."""
    largest = np.abs(weights).max(-1)
    best, result = np.full(largest.shape, np.inf), np.zeros(largest.shape)
    for ratio in np.linspace(0.4, 1.1, 200):
        for sign in (1, -1):
            scale = sign * largest * ratio / 8
            lost = (importance * (weights - scale[..., None] * np.clip(np.round(weights / scale[..., None]), -8, 7)) ** 2).sum(-1)
            result, best = np.where(lost < best, scale, result), np.minimum(lost, best)
    return result.astype(np.float16).astype(np.float64)


def gptq(weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Algorithm 1 of Frantar 2022, a column at a time: activation order, static groups, damping of 1 %."""
    h = x.T @ x / len(x)
    h += 0.01 * np.trace(h) / K * np.eye(K)
    scales = best_scales(weight.reshape(N, -1, GROUP), np.diag(h).reshape(1, -1, GROUP))
    order = np.argsort(-np.diag(h))
    upper = np.linalg.cholesky(np.linalg.inv(h[order][:, order])).T
    left, result = weight[:, order].copy(), np.zeros_like(weight)
    for i, channel in enumerate(order):
        scale = scales[:, channel // GROUP]
        result[:, channel] = scale * np.clip(np.round(left[:, i] / scale), -8, 7)
        left[:, i:] -= np.outer((left[:, i] - result[:, channel]) / upper[i, i], upper[i, i:])
    return result


def test_error_feedback(build_dir, tmp_path):
    """Inputs that go together: our numbers, which are looked at again, lose less than those of the paper's algorithm, and the ledger says how much."""
    rng = np.random.default_rng(4)
    weight = rng.standard_normal((N, K)).astype(np.float32)
    x = (rng.standard_normal((512, K)) @ rng.standard_normal((K, K)) * rng.uniform(0.2, 2, K)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    (tmp_path / "layer.onnx").write_bytes(layer(weight.T.copy()))
    losses = {}
    for algorithm in ("rtn", "gptq"):
        report = edgecc.compile(tmp_path / "layer.onnx", tmp_path / "layer.edge", dims={"rows": (1, 64)}, quant=f"w4g{GROUP}", quant_algorithm=algorithm,
                                calibrate=tmp_path / "x.npz")
        with edgecc.load(tmp_path / "layer.edge") as model:
            losses[algorithm] = np.linalg.norm(x @ (weight.T - model.run({"x": np.eye(K, dtype=np.float32)})["y"])) / np.linalg.norm(x @ weight.T)
    expected = np.linalg.norm(x @ (weight - gptq(weight.astype(np.float64), x.astype(np.float64))).T) / np.linalg.norm(x @ weight.T)
    assert losses["gptq"] < 0.95 * expected < expected < losses["rtn"]
    entry, = report["ledger"]
    # The ledger's error is of damped inputs.
    assert entry["output_error"] == pytest.approx(losses["gptq"], rel=0.1)
    assert entry["output_error_nearest"] == pytest.approx(losses["rtn"], rel=0.1)


def test_too_few_samples(build_dir, tmp_path):
    """What is missing is said, with numbers."""
    (tmp_path / "layer.onnx").write_bytes(layer(np.ones((K, N), np.float32) + np.eye(K, N, dtype=np.float32)))
    np.savez(tmp_path / "x.npz", x=np.ones((20, K), np.float32))
    with pytest.raises(edgecc.CompileError, match="weight 'w': the samples have 20 tokens, which say too little of its 64 inputs; give at least 64 tokens"):
        edgecc.compile(tmp_path / "layer.onnx", tmp_path / "no.edge", dims={"rows": (1, 64)}, quant="w4g32", quant_algorithm="gptq", calibrate=tmp_path / "x.npz")
    assert not (tmp_path / "no.edge").exists()


# What is lost of to-nearest's loss at most (passes/quantize/README.md has more models and what was measured). Characters are read by
# weights whose inputs are of one size: there is little for AWQ to find, 10 % here.
@pytest.mark.parametrize("algorithm, share", [("gptq", 0.5), ("awq", 0.95)])
def test_babyllama(algorithm, share, build_dir, tmp_path):
    """Calibrated on the last stories, measured on the first; the tied table in 8 bits."""
    stories = story_tokens(2000, 255)
    directory = model_directory("babyllama_tok105", build_dir)
    ids = tmp_path / "stories.ids"
    ids.write_text("".join(f"1 {' '.join(map(str, story))}\n" for story in stories[1200:1260]))
    losses = {}
    for name, options in {"f32": {}, "rtn": {"quant": "w4g32a8"}, algorithm: {"quant": "w4g32a8", "quant_algorithm": algorithm, "calibrate": ids}}.items():
        layers = {"quant_layers": {"tok_embeddings": "w8a8"}} if options else {}
        edgecc.compile(directory / "model.onnx", tmp_path / f"{name}.edge", **options, **layers)
        losses[name], _ = next_token_loss(tmp_path / f"{name}.edge", stories[:25])
    assert losses[algorithm] - losses["f32"] < share * (losses["rtn"] - losses["f32"]), losses


def test_awq_finds_the_channels_that_count(build_dir, tmp_path):
    """Some channels whose inputs are 16 times the others', and whose weights are as much smaller: to nearest loses what they say, AWQ next to nothing."""
    model, rng = onnx.load(model_directory("babyllama_tok105", build_dir) / "model.onnx"), np.random.default_rng(2)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    factor = np.ones(128, np.float32)
    factor[rng.permutation(128)[:8]] = 16
    changed = 0
    for name, tensor in weights.items():
        values = numpy_helper.to_array(tensor)
        if re.fullmatch(r"layers\.\d+\.(attention_norm|ffn_norm)(\.weight)?", name):
            values = values * factor
        elif re.fullmatch(r"layers\.\d+\.(wq|wk|wv|w1|w3)(\.weight)?", name):
            values = values / factor
        else:
            continue
        changed += 1
        tensor.CopyFrom(numpy_helper.from_array(values, name))
    assert changed == 5 * 7
    ids, losses = tmp_path / "stories.ids", {}
    stories = story_tokens(60, 127)
    ids.write_text("".join(f"1 {' '.join(map(str, story))}\n" for story in stories[25:]))
    for name, options in {"f32": {}, "rtn": {"quant": "w4g32"}, "awq": {"quant": "w4g32", "quant_algorithm": "awq", "calibrate": ids}}.items():
        layers = {"quant_layers": {"tok_embeddings": "none"}} if options else {}
        edgecc.compile(model, tmp_path / f"{name}.edge", **options, **layers)
        losses[name], _ = next_token_loss(tmp_path / f"{name}.edge", stories[:25])
    assert losses["awq"] - losses["f32"] < 0.1 * (losses["rtn"] - losses["f32"]), losses


# --- Budgets ----------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def budgeted(build_dir, tmp_path_factory):
    """babyllama with a budget: the report, and the KL divergence from ONNX Runtime's float model, on the 2048 tokens that the compiler looks at, all of them."""
    directory, folder = model_directory("babyllama_tok105", build_dir), tmp_path_factory.mktemp("budgets")
    texts = [np.concatenate([[1], story]) for story in story_tokens(40, 127) if len(story) == 127][:16]
    assert len(texts) == 16
    (folder / "stories.ids").write_text("".join(" ".join(map(str, text)) + "\n" for text in texts))
    oracle = Oracle(directory / "model.onnx")
    logits = [oracle.run(oracle.feeds(1, 128, None, text[None], np.random.default_rng(0)))["logits"][0] for text in texts]

    def compile(**budget):
        # What each weight loses is measured once.
        report = edgecc.compile(directory / "model.onnx", folder / "model.edge", calibrate=folder / "stories.ids",
                                calibration_cache=folder / "cache", **budget)
        divergences = []
        with edgecc.load(folder / "model.edge") as model:
            for text, reference in zip(texts, logits):
                with model.session() as session:
                    now = session.run({"input_ids": text[None]}, "score")["logits"][0]
                a, b = (each - np.log(np.exp(each).sum(-1, keepdims=True)) for each in (reference.astype(np.float64), now.astype(np.float64)))
                divergences.append((np.exp(a) * (a - b)).sum(-1))
            weights, = (segment["length"] for segment in model.segments if segment["kind"] == "weights")
        return report, weights, float(np.mean(divergences))
    return compile


@pytest.mark.long
@pytest.mark.parametrize("bytes", [600_000, 800_000])
def test_a_size_is_kept(bytes, budgeted):
    """The artifact's weights have what is allowed at most, and hardly less."""
    report, weights, _ = budgeted(target_size=bytes)
    assert 0.98 * bytes < weights <= bytes
    assert {entry["scheme"] for entry in report["ledger"]} == {"w4g32a8", "w8a8"}


@pytest.mark.long
@pytest.mark.parametrize("bits", [5, 7])
def test_bits_are_kept(bits, budgeted):
    """All quantized weights with their scales, by what the ledger says of each."""
    report, _, _ = budgeted(target_bpw=bits)
    used = 8 * sum(entry["bytes_after"] for entry in report["ledger"]) / sum(entry["bytes_before"] / 4 for entry in report["ledger"])
    assert 0.97 * bits < used <= bits


@pytest.mark.long
@pytest.mark.parametrize("divergence", [0.01, 0.003])
def test_a_divergence_is_kept(divergence, budgeted):
    """Of the whole model, not as a sum of what single weights lose; a tenth of the bytes less would not do."""
    _, weights, lost = budgeted(max_kl=divergence)
    assert lost <= 1.01 * divergence
    _, _, more = budgeted(target_size=int(0.9 * weights))
    assert more > divergence
