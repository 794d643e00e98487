"""Whole models, from the exporter to the answers: compiled for the host and for AArch64 (under qemu), against ONNX Runtime and PyTorch.

    pytest test/e2e/test_models.py [--build-dir build] [--aarch64-build-dir build/aarch64] [-k stories260K]

Models and compiled files are kept in BUILD_DIR/models and BUILD_DIR/e2e; a compiled file is made anew when the compiler is newer.
"""

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import edgecc  # noqa: E402
import export_models  # noqa: E402
import opset_graphs  # noqa: E402
import torch_models  # noqa: E402
from folders import artifact_folder  # noqa: E402
from run_cases import entry_for, errors_of, relative_error  # noqa: E402

HERE = Path(__file__).resolve().parent
# Three kinds of AArch64: plain NEON, dotprod and fp16 (most phones in use), everything.
CPUS = ("cortex-a53", "cortex-a76", "max")
EVERY_CPU = ("minilm", "stories260K", "llama-f16", "tiny-random-Llama-fp16")


def model_directory(name: str, build_dir: Path) -> Path:
    try:
        return export_models.write(name, build_dir / "models")
    except export_models.Missing as missing:
        pytest.skip(str(missing))
    except ImportError as missing:
        pytest.skip(f"{missing}; pip install -r python/requirements-test.txt")


def compiled(name: str, build_dir: Path, target: str) -> tuple[Path, Path]:
    """The model's directory and its compiled file for `target`."""
    directory = model_directory(name, build_dir)
    edge = artifact_folder(build_dir) / f"{name}-{target}.edge"
    source = directory / "model.onnx"
    newest = max(source.stat().st_mtime, (build_dir / "bin/edgecc").stat().st_mtime)
    if not edge.exists() or edge.stat().st_mtime < newest:
        edge.unlink(missing_ok=True)
        facts = json.loads((directory / "model.json").read_text())
        # A language model's bounds are the compiler's defaults: they are part of what is tested.
        dims = {} if facts["language"] else {d: tuple(b) for d, b in facts["dims"].items()}
        edgecc.compile(source, edge, dims=dims, target=target, timeout=300)
    return directory, edge


def same_numbers(errors: dict[str, float], directory: Path, where: str) -> None:
    """Relative errors by output, within the model's tolerance: 1e-4, or 1e-2 in half precision."""
    tolerance = json.loads((directory / "model.json").read_text())["tolerance"]
    assert errors, f"{where}: nothing was compared"
    wrong = [f"{output}: {error:.2e}" for output, error in errors.items() if not error <= tolerance]
    assert not wrong, f"{where}: relative error above {tolerance}: " + "; ".join(wrong)


def same_tokens(actual: list[int], directory: Path) -> None:
    """The tokens of each oracle; in half precision two that are closer than the tolerance may change places; that ends the
    comparison."""
    facts = json.loads((directory / "model.json").read_text())
    for file in ("tokens.npz", "tokens.torch.npz")[:len(facts["oracles"])]:
        reference = np.load(directory / file)
        assert len(actual) == len(reference["tokens"]) == 64
        for i, (got, wanted, margin) in enumerate(zip(actual, reference["tokens"].tolist(), reference["margins"])):
            if got != wanted and facts["tolerance"] > 1e-4 and margin < facts["tolerance"]:
                break
            assert got == wanted, f"{file}: token {i} of {actual[:i + 1]} (it won by {margin:.1e} of the largest logit)"


def child(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=600)
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr.strip()[-2000:]}"
    return done.stdout


@pytest.mark.parametrize("name", export_models.MODELS)
def test_host(name, build_dir):
    """The same numbers as ONNX Runtime and PyTorch, and the same 64 tokens however the prompt is cut."""
    directory, edge = compiled(name, build_dir, "host")
    result = json.loads(child(sys.executable, str(HERE / "run_cases.py"), str(directory), str(edge)))
    assert ("torch" in result) == (name not in export_models.WITHOUT_TORCH)
    for oracle in ("cases", "torch"):
        for i, errors in enumerate(result.get(oracle, [])):
            same_numbers(errors, directory, f"{oracle} {i}")
    assert ("tokens" in result) == (directory / "tokens.npz").exists()
    for tokens in result.get("tokens", {}).values():
        same_tokens(tokens, directory)


@pytest.mark.parametrize("name, cpu", [(n, c) for n in export_models.MODELS for c in (CPUS if n in EVERY_CPU else CPUS[1:2])])
def test_aarch64(name, cpu, build_dir, under_qemu, tmp_path):
    """The same under qemu: the numbers of all cases that need no earlier one, and the 64 tokens however the prompt is cut."""
    directory, edge = compiled(name, build_dir, "linux-arm64")
    run = [*under_qemu(cpu), str(edge), "--threads", "1"]
    facts = json.loads((directory / "model.json").read_text())
    for i in range(1 if facts["language"] else facts["cases"]):
        feeds = dict(np.load(directory / f"case{i}.inputs.npz"))
        entry = entry_for(edgecc.load(edge, inspect_only=True), feeds)
        wanted = {t.name for t in entry.inputs}
        np.savez(tmp_path / "in.npz", **{n: v for n, v in feeds.items() if n in wanted})
        child(*run, "--entry", entry.name, "--inputs", str(tmp_path / "in.npz"), "--outputs", str(tmp_path / "out.npz"))
        actual = dict(np.load(tmp_path / "out.npz"))
        for oracle in facts["oracles"]:
            expected = dict(np.load(directory / f"case{i}.{oracle}.npz"))
            if facts["language"] and "logits" in actual and actual["logits"].shape[1] == 1:
                expected["logits"] = expected["logits"][:, -1:]
            same_numbers(errors_of(actual, expected, feeds), directory, f"{oracle} {i}")
    if (directory / "tokens.npz").exists():
        prompt = ",".join(map(str, np.load(directory / "tokens.npz")["prompt"]))
        for chunk in ([], ["--prefill-chunk", "4"], ["--prefill-chunk", "1"]):
            said = child(*run, "--ids", prompt, "--max-tokens", "64", "--ignore-eos", "--print-ids", *chunk)
            same_tokens([int(t) for t in re.findall(r"\d+", said)], directory)


@pytest.mark.parametrize("exported", ("minilm", "minilm-dynamo", "minilm-torchscript"))
def test_minilm_sizes(exported, build_dir):
    """Batch 1..4 and sequence 1..256, the bounds themselves included, by one compiled file, whoever exported it."""
    directory = model_directory(exported, build_dir)
    edge = artifact_folder(build_dir) / f"{exported}-sizes.edge"
    edgecc.compile(directory / "model.onnx", edge, dims={"batch": (1, 4), "sequence": (1, 256)})
    oracle, reference, model = export_models.Oracle(directory / "model.onnx"), torch_models.minilm(), edgecc.load(edge)
    for batch, sequence in ((1, 1), (4, 256), (2, 33), (3, 100), (1, 256), (4, 1)):
        feeds = oracle.feeds(batch, sequence, None, None, np.random.default_rng(sequence))
        actual = model.run(feeds)
        for who, expected in (("ONNX Runtime", oracle.run(feeds)), ("PyTorch", torch_models.run(reference, feeds))):
            same_numbers(errors_of(actual, expected, feeds), directory, f"{who}, batch {batch}, sequence {sequence}")


def test_cache_window(build_dir):
    """A present that is a slice of past and rows is no state: it goes out and comes in, and a remark says so."""
    directory = artifact_folder(build_dir) / "cache-window"
    directory.mkdir(exist_ok=True)
    (directory / "model.onnx").write_bytes(opset_graphs.cache_window(16).SerializeToString())
    said = child(str(build_dir / "bin/edgecc"), str(directory / "model.onnx"), "-o", str(directory / "model.edge"), "--dim", "past=16",
                 "--report", str(directory / "report.json"))
    assert "remarks   1 " in said
    remarks = json.loads((directory / "report.json").read_text())["remarks"]
    assert remarks == ["Slice_1 (Slice): the cache past_key_values.0.key stays an input and an output: present.0.key is not the past with "
                       "the rows of this call behind it"]
    oracle, model = export_models.Oracle(directory / "model.onnx"), edgecc.load(directory / "model.edge")
    rng, past = np.random.default_rng(0), np.zeros((1, 2, 16, 8), np.float32)
    for sequence in (7, 1, 20):
        feeds = {"x": rng.standard_normal((1, 2, sequence, 8)).astype(np.float32), "past_key_values.0.key": past}
        expected, actual = oracle.run(feeds), model.run(feeds)
        for name, value in expected.items():
            assert relative_error(actual[name], value) <= 1e-5, name
        past = expected["present.0.key"]


def test_inputs_beyond_the_bounds_are_refused(build_dir):
    """With the numbers in the sentence; the session stays usable."""
    directory, edge = compiled("minilm", build_dir, "host")
    feeds = dict(np.load(directory / "case1.inputs.npz"))
    with edgecc.load(edge) as model:
        good = model.run(feeds)
        for change, said in (({"input_ids": np.zeros((1, 65), np.int64)}, "64"),
                             ({"input_ids": np.zeros((1, 7, 1), np.int64)}, "input_ids"),
                             ({"input_ids": np.zeros((1, 7), np.float32)}, "input_ids"),
                             ({"nonsense": np.zeros(1)}, "nonsense")):
            with pytest.raises(edgecc.RunError, match=said):
                model.run({**feeds, **change})
        again = model.run(feeds)
    assert all(np.array_equal(good[n], again[n]) for n in good)


def test_full_context_is_refused(build_dir):
    """Generation ends at the context; one more token is an error, and the session can be rewound."""
    _, edge = compiled("stories260K", build_dir, "host")
    with edgecc.load(edge) as model, model.session(context=16) as session:
        assert session.context == 16
        list(session.generate([1], 100, stop=[]))
        assert session.position == 16
        with pytest.raises(edgecc.ContextFullError, match="16"):
            session.feed(np.array([5]))
        session.position = 8
        session.feed(np.array([5]))
        assert session.position == 9


def test_saved_sessions_continue(build_dir):
    directory, edge = compiled("stories260K", build_dir, "host")
    prompt, expected = (np.load(directory / "tokens.npz")[part].tolist() for part in ("prompt", "tokens"))
    with edgecc.load(edge) as model, model.session() as first, model.session() as second:
        begin = list(first.generate(prompt, 20, stop=[]))
        second.restore(first.save())
        assert begin + list(second.generate(begin[-1:], 10, stop=[])) == expected[:30]


def test_stories_by_the_program(build_dir):
    """edgecc-run writes the story of the model card."""
    directory, edge = compiled("stories260K", build_dir, "host")
    source = export_models.DATA / "models/stories260K"
    program = build_dir / "bin/edgecc-run"
    if not program.exists():
        pytest.skip(f"{program} is not built")
    said = child(str(program), str(edge), "--ids", "1", "--max-tokens", "254", "--tokenizer", str(source / "tok512.bin"))
    card = re.search(r"-t 0\.0\n(.*?)```", (source / "stories260K.md").read_text(), re.S)[1].strip()
    assert said.strip().startswith(card[:-5])


def test_rxnmapper_masked_tokens(build_dir, request):
    """Real ALBERT recovers masked atoms of its own examples as under ONNX Runtime, each one, and as often as in PyTorch: 983 of 996.

    The data's notes have 978 of 986, and do not say which examples, nor which positions were masked; ours are seeded."""
    from edgecc.eval.reactions import examples

    directory, edge = model_directory("rxnmapper", build_dir), artifact_folder(build_dir) / "rxnmapper-long.edge"
    # Reactions are longer than the bounds of the reference cases.
    edgecc.compile(directory / "model.onnx", edge, dims={"batch": 1, "sequence": (1, 512)})
    count, wanted = (64, 63) if request.config.getoption("--quick") else (996, 983)
    oracle, correct, same, total = export_models.Oracle(directory / "model.onnx"), 0, 0, 0
    with edgecc.load(edge) as model:
        for example in itertools.islice(examples(export_models.DATA / "models/rxnmapper"), count if count == 64 else None):
            found = example.answer(model.run(example.feeds))
            same += found == example.answer(oracle.run(example.feeds))
            correct += found == example.right
            total += 1
    assert same == total == count
    assert correct == wanted
