"""Results of calibration from compile to compile: the same artifact without running the model, and never another one's results.

    pytest test/e2e/test_calibration_cache.py [--build-dir build]
"""

import json
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import edgecc  # noqa: E402
import onnx  # noqa: E402
from onnx import numpy_helper  # noqa: E402
from test_models import model_directory  # noqa: E402

# Bits by budget: test/passes/quantize/choose-precision.mlir. What takes minutes is for whole runs of the tests.
LONG = {"prune", "heads-auto", "exits"}
RECIPES = {
    "gptq": ["--quant=w4g32a8", "--quant-algorithm=awq,gptq"],
    "int8": ["--quant=w8a8", "--quant-algorithm=smoothquant,llm-int8", "--outlier-share=0.02"],
    "prune": ["--prune=ffn=0.25,heads=0.25,layers=1"],
    "width": ["--prune=width=0.25"],
    "heads": ["--kv-heads=2", "--kv-steps=20"],
    "heads-auto": ["--kv-heads=auto", "--max-kl=0.5", "--kv-steps=20"],
    "exits": ["--exit-layers=auto", "--exit-agreement=0.5"],
}


class Compiler:
    """edgecc on a model and samples, in a folder of its own."""

    def __init__(self, build_dir: Path, folder: Path):
        self.program, self.folder = build_dir / "bin/edgecc", folder
        self.model = model_directory("stories260K", build_dir) / "model.onnx"
        self.samples, self.cache = folder / "samples.ids", folder / "cache"
        # Texts that the model goes on with in its own way are what exits and maps are about; any will do here.
        rng = np.random.default_rng(3)
        self.samples.write_text("".join(" ".join(map(str, [1, *rng.integers(3, 512, 47)])) + "\n" for _ in range(10)))

    def results(self) -> list[Path]:
        return sorted(self.cache.glob("llvmcache-*"))

    def run(self, *options: str, **environment: str) -> subprocess.CompletedProcess:
        command = [self.program, self.model, "-o", "model.edge", "--report=report.json", *options]
        command += ["--calibrate", self.samples] if self.samples else []
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, env={**os.environ, **environment}, timeout=600)

    def compile(self, *options: str, cache: bool = True, **environment: str) -> tuple[bytes, dict]:
        """The artifact, and what of it came from the cache."""
        done = self.run(*options, *([f"--calibration-cache={self.cache}"] if cache else []), **environment)
        assert done.returncode == 0, done.stderr
        self.said, self.report = done.stdout + done.stderr, json.loads((self.folder / "report.json").read_text())
        return (self.folder / "model.edge").read_bytes(), self.report["calibration_cache"]

    def logits(self) -> np.ndarray:
        with edgecc.load(self.folder / "model.edge") as model, model.session() as session:
            return session.run({"input_ids": np.arange(1, 20)[None]}, "score")["logits"]


@pytest.fixture
def compiler(build_dir, tmp_path):
    return Compiler(build_dir, tmp_path)


@pytest.mark.parametrize("recipe", [pytest.param(r, marks=pytest.mark.long) if r in LONG else r for r in RECIPES])
def test_the_same_artifact_without_a_run(recipe, compiler, tmp_path):
    """Bit for bit; where a model cannot even be written to be run, none is run."""
    options = RECIPES[recipe]
    first, use = compiler.compile(*options)
    # A search may come back to what it has tried.
    assert use["results_taken"] == 0 or recipe == "heads-auto"
    assert use["results_added"] == len(compiler.results()) > 0
    assert use["bytes_added"] == sum(file.stat().st_size for file in compiler.results())
    second, again = compiler.compile(*options, TMPDIR=str(tmp_path / "nowhere"))
    assert second == first
    assert again["results_added"] == 0 and again["results_taken"] >= use["results_added"] and again["bytes_taken"] >= use["bytes_added"]
    assert re.search(rf"samples +{again['results_taken']} results of earlier compiles \(.*\), 0 new", compiler.said)


def test_without_a_cache_it_is_the_same(compiler):
    """The numbers, and what is said of them."""
    assert compiler.compile(*RECIPES["int8"], cache=False)[1] == {}
    plain, ledger = compiler.logits(), compiler.report["ledger"]
    compiler.compile(*RECIPES["int8"])
    np.testing.assert_array_equal(compiler.logits(), plain)
    assert compiler.report["ledger"] == ledger


def test_what_differs_is_not_taken(compiler, tmp_path):
    """Other samples, fewer of them, another model, another pass before: all of it is run."""
    options = RECIPES["int8"]
    count = compiler.compile(*options)[1]["results_added"]
    assert count == compiler.compile(*options)[1]["results_taken"]
    for change in ([*options, "--calibrate-samples=9"], [*options, "--kv-heads=2", "--kv-merge=mean"]):
        assert compiler.compile(*change)[1]["results_taken"] == 0, change
    text = compiler.samples.read_text()
    compiler.samples.write_text(text.replace("\n1 ", "\n1 7 ", 1))
    assert compiler.compile(*options)[1]["results_taken"] == 0
    compiler.samples.write_text(text)
    model = onnx.load(compiler.model)
    tensor = max(model.graph.initializer, key=lambda tensor: np.prod(tensor.dims))
    numbers = numpy_helper.to_array(tensor).copy()
    numbers.flat[-1] += 1
    tensor.CopyFrom(numpy_helper.from_array(numbers, tensor.name))
    compiler.model = tmp_path / "changed.onnx"
    onnx.save(model, compiler.model)
    assert compiler.compile(*options)[1]["results_taken"] == 0


def test_other_schemes_of_the_same_heads(compiler):
    """Merging is fitted once: what is quantized behind it does not matter to it."""
    count = compiler.compile(*RECIPES["heads"])[1]["results_added"]
    for scheme in ("w8a8", "w4g32a8"):
        use = compiler.compile(*RECIPES["heads"], f"--quant={scheme}")[1]
        assert (use["results_taken"], use["results_added"]) == (count, 0)


def test_damaged_files(compiler):
    """Cut off, changed, emptied, exchanged: a warning that names the file, and the same artifact as ever."""
    options = RECIPES["gptq"]
    first, use = compiler.compile(*options)
    files = compiler.results()
    assert len(files) >= 4
    whole = files[1].read_bytes()
    files[0].write_bytes(files[0].read_bytes()[:-20])
    files[1].write_bytes(whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1:])
    files[2].write_bytes(b"")
    files[3].write_bytes(files[-1].read_bytes())
    second, again = compiler.compile(*options)
    assert second == first
    assert again["results_added"] == 4 and again["results_taken"] == use["results_added"] - 4
    for file, why in zip(files, ("it is damaged", "it is damaged", "it is damaged", "it is the result of something else")):
        assert f"edgecc: warning: {file}: {why}; it is not used, and made anew" in compiler.said, compiler.said
    assert compiler.compile(*options) == (first, {**again, "results_taken": use["results_added"], "results_added": 0, "bytes_taken": use["bytes_added"],
                                                  "bytes_added": 0})


def test_two_at_once(build_dir, compiler, tmp_path):
    """Both finish, and what they leave is whole."""
    others = []
    for name in "ab":
        (tmp_path / name).mkdir()
        others.append(Compiler(build_dir, tmp_path / name))
        others[-1].cache = compiler.cache
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda other: other.compile(*RECIPES["int8"]), others))
    use = compiler.compile(*RECIPES["int8"])[1]
    assert use["results_added"] == 0 and "warning" not in compiler.said
    assert not [file for file in compiler.results() if file.suffix == ".partial"]


def test_bounded(compiler):
    """What does not fit is said, one result or all of them, and the folder stays as small as it shall be."""
    use = compiler.compile(*RECIPES["int8"])[1]
    for most, said in ((use["bytes_added"] - 1, "of {} that are allowed: not all are kept for the next one (--calibration-cache-size)"),
                       (use["bytes_added"] // 2, "bytes is not kept, {} are allowed (--calibration-cache-size)")):
        for file in compiler.results():
            file.unlink()
        compiler.compile(*RECIPES["int8"], f"--calibration-cache-size={most}")
        assert 0 < sum(file.stat().st_size for file in compiler.results()) <= most
        assert said.format(most) in compiler.said


def test_refusals(compiler, tmp_path):
    (tmp_path / "file").write_text("")
    for options, said in ((["--calibration-cache=file"], "--calibration-cache=file is no folder and cannot become one: there is a file of that name"),
                          (["--calibration-cache=c", "--calibration-cache-size=much"], "--calibration-cache-size=much: write a number of bytes above 0"),
                          (["--calibration-cache=c", "--calibration-cache-size=0"], "--calibration-cache-size=0: write a number of bytes above 0"),
                          (["--calibration-cache=c"], "--calibration-cache keeps what samples show, and there are none: give --calibrate FILE")):
        compiler.samples = None if "--calibrate FILE" in said else tmp_path / "samples.ids"
        done = compiler.run("--quant=w4g32a8", *options)
        assert done.returncode == 1 and f"edgecc: error: {said}" in done.stderr, done.stderr
    assert not (tmp_path / "model.edge").exists()
