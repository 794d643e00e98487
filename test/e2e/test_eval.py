"""edgecc-eval: loss, divergence and agreement against ONNX Runtime and numpy; exact matches; what it refuses.

    pytest test/e2e/test_eval.py [--build-dir build]
"""

import json
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import edgecc  # noqa: E402
import export_models  # noqa: E402
from edgecc.eval import emulated  # noqa: E402
from folders import artifact_folder  # noqa: E402
from test_models import child, model_directory  # noqa: E402

DATA = export_models.DATA
STORIES = DATA / "text/toy-RNN/tinystories_sample_2MiB.txt"
TOKENIZER = DATA / "models/stories260K/tok512.model"

# NLL over the first 25 stories as shared/data/SOURCES.md has it.
KNOWN = {"stories260K": ("tok512.bin", 1.254), "out2Msp": ("tok4096.bin", 1.326), "bitllama_3M": ("tok512.model", 1.142)}


@pytest.fixture(scope="session")
def program(build_dir) -> str:
    if not STORIES.exists():
        pytest.skip(f"{STORIES} is not there")
    return str(build_dir / "bin/edgecc-eval")


def artifact(name: str, build_dir: Path, quant: str = "") -> Path:
    edge = artifact_folder(build_dir) / f"{name}-eval{quant}.edge"
    edgecc.compile(model_directory(name, build_dir) / "model.onnx", edge, quant=quant or None, timeout=300)
    return edge


def evaluate(program: str, tmp_path: Path, *arguments: object) -> dict:
    report = tmp_path / "report.json"
    child(program, *map(str, arguments), "--no-speed", "--json", str(report))
    return json.loads(report.read_text())


def refusal(program: str, *arguments: object) -> str:
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == "", done
    assert done.stderr.startswith("edgecc-eval: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = logits.astype(np.float64)
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.mark.parametrize("name", KNOWN)
def test_known_loss(name, program, build_dir, tmp_path):
    tokenizer, loss = KNOWN[name]
    text = evaluate(program, tmp_path, artifact(name, build_dir), "--text", STORIES, "--count", 25, "--tokenizer",
                    DATA / f"models/{name}/{tokenizer}")["text"]
    assert text["documents"] == 25
    assert text["nll"] == pytest.approx(loss, rel=0.015), "shared/data/SOURCES.md says so"
    assert text["perplexity"] == pytest.approx(np.exp(text["nll"]))


def test_divergence(program, build_dir, tmp_path):
    """What numpy finds in the logits of ONNX Runtime and of the artifact; windows that overlap; the same through `decode`."""
    reference, model = artifact("stories260K", build_dir), artifact("stories260K", build_dir, "w4g32a8")
    documents = [np.array(line.split(), np.int64) for line in child(
        str(build_dir / "bin/edgecc-tokenize"), str(STORIES), "--tokenizer", str(TOKENIZER), "--count", "6").splitlines()]
    ids = tmp_path / "some.ids"
    ids.write_text("\n".join(" ".join(map(str, d)) for d in documents))
    window, losses, before, divergences, same = 128, [], [], [], []
    oracle = export_models.Oracle(model_directory("stories260K", build_dir) / "model.onnx")
    with edgecc.load(model) as compiled:
        for document in documents[3:]:
            done = 1
            while done < len(document):
                begin = 0 if done == 1 else done - window // 2
                tokens = document[begin:begin + window]
                feeds = oracle.feeds(1, len(tokens), None, tokens[None], np.random.default_rng(0))
                p = log_softmax(oracle.run(feeds)["logits"][0])
                with compiled.session() as session:
                    q = log_softmax(session.run({"input_ids": tokens[None]}, "score")["logits"][0])
                for i in range(done - begin - 1, len(tokens) - 1):
                    losses.append(-q[i, tokens[i + 1]])
                    before.append(-p[i, tokens[i + 1]])
                    divergences.append((np.exp(p[i]) * (p[i] - q[i])).sum())
                    same.append(p[i].argmax() == q[i].argmax())
                done = begin + len(tokens)
    assert len(losses) == sum(len(d) - 1 for d in documents[3:])
    options = (model, "--reference", reference, "--text", ids, "--half", "second", "--window", window)
    text = evaluate(program, tmp_path, *options)["text"]
    assert text["tokens"] == len(losses) and text["documents"] == 3
    assert text["nll"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert text["reference_nll"] == pytest.approx(np.mean(before), rel=1e-4)
    assert text["nll_increase"] == pytest.approx(np.mean(losses) / np.mean(before) - 1, abs=1e-4)
    assert text["nll_difference_error"] == pytest.approx(np.std(np.subtract(losses, before)) / np.sqrt(len(losses)), rel=1e-3)
    assert text["kl_mean"] == pytest.approx(np.mean(divergences), rel=1e-3)
    assert text["kl_p99"] == pytest.approx(np.sort(divergences)[int(0.99 * (len(losses) - 1))], rel=1e-2)
    assert text["agreement"] == pytest.approx(np.mean(same), abs=2 / len(same))
    decoded = evaluate(program, tmp_path, *options, "--entry", "decode")["text"]
    assert decoded["nll"] == pytest.approx(text["nll"], rel=5e-3)
    assert decoded["tokens"] == text["tokens"]


def test_itself(program, build_dir, tmp_path):
    """A model beside itself loses nothing."""
    edge = artifact("stories260K", build_dir)
    report = evaluate(program, tmp_path, edge, "--reference", edge, "--text", STORIES, "--count", 2, "--tokenizer", TOKENIZER)
    text = report["text"]
    assert (text["kl_mean"], text["agreement"], text["nll_increase"]) == (0, 1, 0)
    assert report["model"]["file_bytes"] == edge.stat().st_size
    assert report["model"]["state_bytes_per_position"] == 5 * 2 * 4 * 8 * 4  # layers, key and value, heads, width, f32


def test_refusals(program, build_dir, tmp_path):
    edge, other = artifact("stories260K", build_dir), artifact("babyllama_tok105", build_dir)
    story = ("--text", STORIES, "--count", 1)
    assert "nothing to measure: give --text FILE or --completions FILE" in refusal(program, edge)
    assert "needs --tokenizer FILE" in refusal(program, edge, *story)
    assert "no-such.txt: cannot be read" in refusal(program, edge, "--text", "no-such.txt", "--tokenizer", TOKENIZER)
    assert "a vocabulary of 512 tokens" in refusal(program, edge, "--reference", other, *story, "--tokenizer", TOKENIZER)
    assert "not in the model's vocabulary of 105: the tokenizer belongs to another model" in refusal(program, other, *story,
                                                                                                     "--tokenizer", TOKENIZER)
    assert "the model has no entry 'none'" in refusal(program, edge, *story, "--tokenizer", TOKENIZER, "--entry", "none")
    assert "logits of its last token only; take 'score'" in refusal(program, edge, *story, "--tokenizer", TOKENIZER, "--entry",
                                                                    "prefill")
    (tmp_path / "short.ids").write_text("1 2 3\n4 5\n")
    assert "gives 3 tokens to predict in 2 documents; a figure needs 100" in refusal(program, edge, "--text", tmp_path / "short.ids")
    (tmp_path / "bad.ids").write_text("1 2 three\n")
    assert "'1 2 three' is no line of token ids" in refusal(program, edge, "--text", tmp_path / "bad.ids")
    (tmp_path / "lines.txt").write_text("<task>go<act>tap 1<end>\n<task>go\n")
    lines = ("--completions", tmp_path / "lines.txt", "--tokenizer", TOKENIZER)
    assert "lines.txt, line 2: no '<act>' (--split, --until)" in refusal(program, edge, *lines)
    assert "line 1: no '<stop>'" in refusal(program, edge, *lines, "--until", "<stop>")


def test_completions(program, build_dir, tmp_path):
    """Lines of the phone agent: as many are right as in PyTorch, and the continuations are what was asked for."""
    agent = DATA / "models/phone_agent"
    edge, lines = artifact("phone_agent", build_dir), (agent / "simple.txt").read_text().splitlines()[500:560]
    report = evaluate(program, tmp_path, edge, "--reference", edge, "--completions", agent / "simple.txt", "--half", "second", "--count",
                      60, "--tokenizer", agent / "tokenizer.model", "--actions", tmp_path / "actions.txt")["completions"]
    actions = (tmp_path / "actions.txt").read_text().splitlines()
    assert len(actions) == report["lines"] == 60
    right = sum(line.split("<act>")[1] == action for line, action in zip(lines, actions))
    assert report["accuracy"] == report["reference_accuracy"] == right / 60
    assert report["accuracy"] > 0.65 and (report["kept"], report["same"]) == (1, 1)
    assert "speed" not in report
    timed = tmp_path / "timed.json"
    child(program, str(edge), "--reference", str(edge), "--completions", str(agent / "simple.txt"), "--count", "3", "--tokenizer",
          str(agent / "tokenizer.model"), "--json", str(timed))
    speed = json.loads(timed.read_text())["completions"]["speed"]
    assert speed["threads"] > 0 and all(speed[f"{what}_{figure}"] > 0 for what in ("prefill", "decode") for figure in ("speedup", "tokens_per_second"))
    # Teacher forcing by ONNX Runtime: an action is right if each of its tokens is the likeliest.
    sentencepiece = pytest.importorskip("sentencepiece").SentencePieceProcessor(model_file=str(agent / "tokenizer.model"))
    oracle, forced = export_models.Oracle(model_directory("phone_agent", build_dir) / "model.onnx"), 0
    for line in lines:
        ids = np.array([1, *sentencepiece.encode(line)])
        likeliest = oracle.run(oracle.feeds(1, len(ids), None, ids[None], np.random.default_rng(0)))["logits"][0].argmax(-1)
        start = list(ids).index(sentencepiece.piece_to_id("<act>"))
        forced += (likeliest[start:-1] == ids[start + 1:]).all()
    assert right == forced


def test_on_aarch64(program, build_dir, under_qemu, tmp_path, monkeypatch):
    """The phone agent writes the same under qemu as here, where there is no SentencePiece: lines of ids."""
    agent, onnx = DATA / "models/phone_agent", model_directory("phone_agent", build_dir) / "model.onnx"
    emulator = shlex.join(under_qemu("max", "edgecc-eval"))
    edgecc.compile(onnx, tmp_path / "arm.edge", target="linux-arm64", quant="w8a8")
    here, lines = artifact("phone_agent", build_dir, "w8a8"), agent / "complex.txt"
    monkeypatch.setenv("EDGECC", str(build_dir / "bin/edgecc"))
    assert emulated.same_actions(lines, agent / "tokenizer.model", 6, here, tmp_path / "arm.edge", emulator, tmp_path) == 1
    # What was written is mostly right, so it is no coincidence; another model writes something else.
    ids, written = ((tmp_path / name).read_text().splitlines() for name in ("lines.ids", "written"))
    assert sum(line.endswith(action) for line, action in zip(ids, written)) >= 3
    edgecc.compile(onnx, tmp_path / "other.edge", target="linux-arm64", prune="layers=3", calibrate=agent / "calibration.txt",
                   tokenizer=agent / "tokenizer.model")
    assert emulated.same_actions(lines, agent / "tokenizer.model", 6, here, tmp_path / "other.edge", emulator, tmp_path) < 1
    with pytest.raises(edgecc.EdgeccError, match="--emulator: .*no-such-emulator"):
        emulated.same_actions(lines, agent / "tokenizer.model", 6, here, tmp_path / "arm.edge", "no-such-emulator", tmp_path)
    lines = tmp_path / "lines.ids"
    assert "no '<act>' (--split, --until: ids, as the file has them)" in refusal(program, artifact("phone_agent", build_dir), "--completions", lines)


def test_depths(program, build_dir, tmp_path):
    """Where tokens may end early, they are measured one by one, and the layers that each ran are counted."""
    agent = DATA / "models/phone_agent"
    edge, reference = tmp_path / "exits.edge", artifact("phone_agent", build_dir)
    edgecc.compile(model_directory("phone_agent", build_dir) / "model.onnx", edge, exit_layers="4", exit_threshold=0.9, timeout=300)
    report = evaluate(program, tmp_path, edge, "--reference", reference, "--text", agent / "complex.txt", "--completions", agent / "simple.txt",
                      "--count", 10, "--tokenizer", agent / "tokenizer.model")
    for figures, most in ((report["text"], report["text"]["tokens"]), (report["completions"], report["completions"]["tokens"])):
        depths = figures["depths"]
        assert len(depths) == 9 and sum(depths) == depths[4] + depths[8] and 0 < sum(depths) <= most
        assert depths[4] > 0 and depths[8] > 0
        assert figures["layers"] == pytest.approx((4 * depths[4] + 8 * depths[8]) / sum(depths))
    assert sum(report["text"]["depths"]) == report["text"]["tokens"] and report["text"]["kl_mean"] > 0
    plain = evaluate(program, tmp_path, reference, "--text", agent / "complex.txt", "--count", 10, "--tokenizer", agent / "tokenizer.model")
    assert "layers" not in plain["text"]
