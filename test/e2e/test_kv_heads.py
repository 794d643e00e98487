"""Fewer KV heads: equal ones folded, similar ones merged on samples.

    pytest test/e2e/test_kv_heads.py [--build-dir build]

Whole models that tell stories: what merging loses of them, beside plain mean pooling, on stories that it has not seen.
"""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import edgecc  # noqa: E402
import onnx  # noqa: E402
from onnx import numpy_helper  # noqa: E402
from export_models import DATA  # noqa: E402
from test_models import model_directory  # noqa: E402
from test_quantized import next_token_loss, story_tokens  # noqa: E402

MODEL = "babyllama_tok105"  # 8 heads, 4 KV heads


def calibration(tmp_path: Path) -> Path:
    """Stories behind those that the loss is measured on."""
    path = tmp_path / "stories.ids"
    path.write_text("".join(" ".join(map(str, [1, *row])) + "\n" for row in story_tokens(90, 200)[50:]))
    return path


def test_merged(build_dir, tmp_path):
    """At half the KV heads the cache is half as large, and at most half of what mean pooling loses is lost."""
    stories = story_tokens(15, 200)
    model = model_directory(MODEL, build_dir) / "model.onnx"
    loss, per_token = {}, {}
    for how in ("", "mean", "fit"):
        steps = {"kv_steps": 100} if how == "fit" else {}
        options = dict(kv_heads=2, kv_merge=how, calibrate=calibration(tmp_path), **steps) if how else {}
        report = edgecc.compile(model, tmp_path / "model.edge", timeout=900, **options)
        loss[how], _ = next_token_loss(tmp_path / "model.edge", stories)
        per_token[how] = report["memory"]["kv_bytes_per_token"]
    assert per_token["fit"] == per_token["mean"] == per_token[""] / 2
    assert loss["mean"] - loss[""] > 0.1, "mean pooling is no contest"
    assert loss["fit"] - loss[""] < 0.5 * (loss["mean"] - loss[""]), loss
    assert loss["fit"] - loss[""] < 0.1, loss
    entries = [entry for entry in report["ledger"] if entry["scheme"].startswith("kv-heads=2")]
    assert len(entries) > 0 and all(2 * entry["bytes_after"] == entry["bytes_before"] for entry in entries)
    assert 0 < entries[0]["model_kl"] < 0.1


def test_exact(build_dir, tmp_path):
    """KV heads that are others turned and scaled are folded: half the cache, the same answers."""
    source = model_directory(MODEL, build_dir) / "model.onnx"
    model, rng = onnx.load(source), np.random.default_rng(7)
    for tensor in model.graph.initializer:
        layer = re.fullmatch(r"layers\.\d+\.w([kv])", tensor.name)
        if not layer:
            continue
        heads = numpy_helper.to_array(tensor).reshape(4, 16, -1).astype(np.float64)
        for head in (0, 2):
            if layer[1] == "k":  # a factor and an angle for each pair of channels that is rotated
                pairs = heads[head].reshape(8, 2, -1)
                turned = (pairs[:, 0] + 1j * pairs[:, 1]) * rng.uniform(0.5, 2, (8, 1)) * np.exp(1j * rng.uniform(-3, 3, (8, 1)))
                heads[head + 1] = np.stack([turned.real, turned.imag], 1).reshape(16, -1)
            else:
                heads[head + 1] = np.linalg.qr(rng.standard_normal((16, 16)))[0] @ heads[head]
        tensor.CopyFrom(numpy_helper.from_array(heads.reshape(64, -1).astype(np.float32), tensor.name))
    onnx.save(model, tmp_path / "model.onnx")
    tokens = np.concatenate([[1], story_tokens(1, 200)[0]])[None]
    answers, per_token = {}, {}
    for heads in ("none", "exact"):
        report = edgecc.compile(tmp_path / "model.onnx", tmp_path / "model.edge", kv_heads=heads)
        per_token[heads] = report["memory"]["kv_bytes_per_token"]
        with edgecc.load(tmp_path / "model.edge") as compiled, compiled.session() as session:
            answers[heads] = session.run({"input_ids": tokens}, "score")["logits"]
    assert per_token["exact"] == per_token["none"] / 2
    np.testing.assert_allclose(answers["exact"], answers["none"], atol=2e-4 * np.abs(answers["none"]).max())


def test_parts_have_names(build_dir, tmp_path):
    """What merging makes of a fused layer can be quantized by its own name, which is not there when options are checked."""
    rng = np.random.default_rng(0)
    (tmp_path / "random.ids").write_text("".join(" ".join(map(str, rng.integers(0, 256, 60))) + "\n" for _ in range(8)))
    options = dict(kv_heads=2, kv_steps=2, calibrate=tmp_path / "random.ids", quant="w8a8")
    model = model_directory("gpt2-f32", build_dir) / "model.onnx"
    report = edgecc.compile(model, tmp_path / "model.edge", quant_layers={"*.key": "w4g32a8"}, timeout=300, **options)
    schemes = {entry["weight"]: entry["scheme"] for entry in report["ledger"] if not entry["scheme"].startswith("kv-heads")}
    keys = [tensor for tensor in schemes if tensor.endswith(".key")]
    assert len(keys) == 2 and all(schemes[key] == "w4g32a8" for key in keys), schemes
    assert all(schemes[key.removesuffix("key") + "value"] == "w8a8" for key in keys), schemes
    with pytest.raises(edgecc.EdgeccError, match=r"layers: '\*\.keys' fits no layer"):
        edgecc.compile(model, tmp_path / "none.edge", quant_layers={"*.key": "w4g32a8", "*.keys": "w4g32a8"}, timeout=300, **options)


def test_with_everything(build_dir, under_qemu, tmp_path):
    """Half the KV heads under 4-bit weights, an 8-bit cache and an exit: actions are still written, the same under qemu as here."""
    agent, words = DATA / "models/phone_agent", pytest.importorskip("sentencepiece").SentencePieceProcessor()
    words.load(str(agent / "tokenizer.model"))
    samples, said = tmp_path / "actions.ids", {}
    samples.write_text("".join(" ".join(map(str, words.encode(line))) + "\n" for line in (agent / "calibration.txt").read_text().splitlines()[:100]))
    lines = (agent / "simple.txt").read_text().splitlines()[:6]
    for target, run in (("host", [str(build_dir / "bin/edgecc-run")]), ("linux-arm64", under_qemu("cortex-a76"))):
        edge = tmp_path / f"{target}.edge"
        report = edgecc.compile(model_directory("phone_agent", build_dir) / "model.onnx", edge, target=target, quant="w4g32a8", kv="int8",
                                exit_layers="4", exit_threshold=0.9, kv_heads=2, kv_steps=30, calibrate=samples, timeout=600)
        said[target] = []
        for line in lines:
            ids = ",".join(map(str, words.encode(line.split("<act>")[0] + "<act>")))
            done = subprocess.run([*run, str(edge), "--threads", "1", "--ids", ids, "--print-ids", "--max-tokens", "3"],
                                  capture_output=True, text=True, timeout=600, check=True)
            said[target].append(done.stdout)
    assert {"kv-heads=2 (fit)", "w4g32a8", "int8"} <= {entry["scheme"] for entry in report["ledger"]}
    caches = [state["type"] for state in report["states"] if state["name"].startswith("past_key_values")]
    assert caches and all("[1, 2, context" in cache for cache in caches), caches
    assert said["host"] == said["linux-arm64"]
    wanted = [",".join(map(str, words.encode(line)[-3:-1])) for line in lines]
    assert sum(text.strip() == action for text, action in zip(said["host"], wanted)) >= 3, (said["host"], wanted)


def test_refusals(build_dir, tmp_path):
    """What cannot be done is said, with the layer and what to do."""
    model = model_directory(MODEL, build_dir) / "model.onnx"
    samples = calibration(tmp_path)
    short = tmp_path / "short.ids"
    short.write_text("1 2 3 4\n")
    for options, said in (
            (dict(kv_heads=3, calibrate=samples), r"layers\.0.*its 4 KV heads make no 3 groups of one size"),
            (dict(kv_heads=8, calibrate=samples), r"layers\.0.*has only 4 KV heads"),
            (dict(kv_heads=2), "give --calibrate FILE"),
            (dict(kv_heads=2, calibrate=short), "the samples have 4 tokens, and fitting the 128 channels of its heads needs at least as many"),
            (dict(kv_heads="auto", calibrate=samples), "give max-kl in nats per token")):
        with pytest.raises(edgecc.CompileError, match=f"(?s){said}"):
            edgecc.compile(model, tmp_path / "no.edge", **options)
    assert not (tmp_path / "no.edge").exists()
