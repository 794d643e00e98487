"""The same input gives the same bits on every CPU: what is measured on the host holds on the phone.

    pytest test/e2e/test_same_bits.py [-k llama]

Kernels add in an order that does not depend on the machine (passes/kernels/Code.h). The host's results are compared with those of
each AArch64 variant under qemu, and of each x86-64 variant that this machine runs. The one exception, floats times quantized
weights, is named in passes/kernels/README.md.
"""

import platform
import subprocess
from pathlib import Path

import numpy as np
import pytest

import edgecc
from edgecc.export import PRESETS, export, write_random_checkpoint
from folders import artifact_folder

AARCH64 = {"cortex-a53": "arm64-neon", "cortex-a76": "arm64-dotprod", "max": "arm64-i8mm"}
X86_64 = {"x86-64-v4": "x86-64-v4", "x86-64-v4-vnni": "x86-64-v4"}  # and the targets that have them
# Widths that are multiples of no vector, of one, of all; heads of 16, 40 and 64.
SHAPES = {
    "llama": dict(PRESETS["llama"], hidden=120, ffn=328, heads=3, kv_heads=1, vocabulary=300, tied=False),
    "qwen3": dict(PRESETS["qwen3"], hidden=128, ffn=176, heads=4, kv_heads=2, head_dim=64, tied=False),
    "gpt2": PRESETS["gpt2"],
    "bert": PRESETS["bert"],
}
# Model, type of the checkpoint, options of the compiler.
CASES = {
    "llama-f32": ("llama", "f32", {}),
    "llama-f16": ("llama", "f16", {}),
    "llama-bf16": ("llama", "bf16", {}),
    "llama-w4g32a8": ("llama", "f32", dict(quant="w4g32a8")),
    "llama-w4g32za8g": ("llama", "f32", dict(quant="w4g32za8g")),
    "qwen3-w8a8-kv8": ("qwen3", "f32", dict(quant="w8a8", kv="int8")),
    "qwen3-w8g32a8-kv4": ("qwen3", "f32", dict(quant="w8g32a8", kv="int4")),
    "gpt2-w4a8": ("gpt2", "f32", dict(quant="w4a8")),
    "bert-f32": ("bert", "f32", {}),
    "bert-w8a8": ("bert", "f32", dict(quant="w8a8")),
}
TOKENS = 40


def child(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=600)
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr.strip()[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[tuple[str, str], Path]:
    made = {}
    for name, kind in {(name, kind) for name, kind, _ in CASES.values()}:
        folder = tmp_path_factory.mktemp(f"{name}-{kind}")
        write_random_checkpoint(folder, SHAPES[name], kind, seed=3)
        export(folder, folder / "model.onnx")
        made[name, kind] = folder / "model.onnx"
    return made


def results(runner: list[str], edge: Path, name: str, folder: Path) -> dict[str, np.ndarray]:
    """Outputs of one call with random ids and, of a language model, the tokens that follow them."""
    ids = np.random.default_rng(5).integers(3, SHAPES[name]["vocabulary"], (1, 70))
    arguments = {"input_ids": ids}
    if name == "bert":
        arguments |= {"attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    np.savez(folder / "in.npz", **arguments)
    outputs = folder / "out.npz"
    entry = [] if name == "bert" else ["--entry", "prefill"]
    child(*runner, str(edge), "--threads", "1", *entry, "--inputs", str(folder / "in.npz"), "--outputs", str(outputs))
    with np.load(outputs) as file:
        found = {key: file[key] for key in file.files}
    if name != "bert":
        said = child(*runner, str(edge), "--threads", "1", "--ids", ",".join(map(str, ids[0])), "--max-tokens", str(TOKENS), "--ignore-eos",
                     "--print-ids", "--temperature", "0", "--repetition-penalty", "1.3")
        found["tokens"] = np.array(said.split(","), dtype=np.int64)
        # With a random table that is also the head, a token is followed by itself.
        assert name == "gpt2" or len(set(said.split(","))) > TOKENS / 2, "a few tokens again and again show little"
    return found


def assert_same_bits(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray], where: str) -> None:
    assert actual.keys() == expected.keys()
    for key, wanted in expected.items():
        got = actual[key]
        assert got.shape == wanted.shape and got.dtype == wanted.dtype, (where, key)
        differ = got.view(np.uint8) != wanted.view(np.uint8)
        assert not differ.any(), f"{where}: {key} differs in {differ.mean():.1%} of its bytes"


@pytest.mark.parametrize("case", CASES)
def test_bits(case, sources, build_dir, under_qemu, tmp_path):
    name, kind, options = CASES[case]
    source = sources[name, kind]
    folder = artifact_folder(build_dir)

    def compiled(target: str) -> Path:
        edge = folder / f"same-bits-{case}-{target}.edge"
        edgecc.compile(source, edge, target=target, **options)
        return edge

    expected = results([str(build_dir / "bin/edgecc-run")], compiled("host"), name, tmp_path)
    edge = compiled("linux-arm64")
    for cpu in AARCH64:
        assert_same_bits(results(under_qemu(cpu), edge, name, tmp_path), expected, f"{case} on {cpu}")


def test_bytes_of_artifacts(sources, build_dir, tmp_path):
    """The same model and flags give the same artifact, on any number of threads."""
    name, kind, options = CASES["llama-w4g32a8"]
    flags = [f"--{key}={value}" for key, value in options.items()]
    found = []
    for threads in (["--threads=1"], ["--threads", "2"], []):
        command = [str(build_dir / "bin/edgecc"), str(sources[name, kind]), "-o", str(tmp_path / "model.edge"), "--target=linux-arm64",
                   "--quiet", *threads, *flags]
        assert not child(*command)
        found.append((tmp_path / "model.edge").read_bytes())
    assert all(one == found[0] for one in found)


@pytest.fixture(scope="module", params=X86_64)
def x86_variant(request, sources, build_dir, tmp_path_factory) -> str:
    if platform.machine() != "x86_64":
        pytest.skip("this machine is no x86-64")
    edge = tmp_path_factory.mktemp("variant") / "model.edge"
    edgecc.compile(sources["bert", "f32"], edge, target=X86_64[request.param])
    try:
        edgecc.load(edge, cpu=request.param).close()
    except edgecc.RunError as error:
        pytest.skip(f"this machine cannot run {request.param}: {error}")
    return request.param


@pytest.mark.parametrize("case", CASES)
def test_bits_of_x86_64(case, x86_variant, sources, build_dir, tmp_path):
    name, kind, options = CASES[case]
    found = []
    for target, cpu in (("x86-64-v3", "x86-64-v3"), (X86_64[x86_variant], x86_variant)):
        edge = artifact_folder(build_dir) / f"same-bits-{case}-{target}.edge"
        edgecc.compile(sources[name, kind], edge, target=target, **options)
        found.append(results([str(build_dir / "bin/edgecc-run"), "--cpu", cpu], edge, name, tmp_path))
    assert_same_bits(found[1], found[0], f"{case} on {x86_variant}")
