"""Options of the end-to-end tests. What is skipped is said with its reason at the end of the run: a skip is not a pass."""

import os
import sys
from pathlib import Path

import pytest

# --quick: one model of each kind and exporter, and what is real; under qemu those whose code differs most.
QUICK_HOST = {
    "minilm", "minilm-dynamo", "stories260K", "stories260K-dynamo", "babyllama_tok105-torchscript", "out2Msp", "rxnmapper",
    "gpt2-torchscript", "llama-f16", "mistral-bf16", "qwen2-dynamo", "qwen3-f32", "gemma2-dynamo", "phi3-torchscript",
    "bert-torchscript", "distilbert-dynamo", "t5-encoder-dynamo", "vit-torchscript", "clip-text-dynamo", "whisper-encoder-dynamo",
    "tiny-random-Llama-fp16", "tiny-graph-capture-gqa", "tiny-random-gpt2-fp32", "tiny-random-lfm2-fp32", "attention-bias",
    "attention-past", "attention-soft-cap", "rotary-tables", "swish-block", "tensor-scatter",
    "tensor-scatter-mask", "tensor-scatter-causal", "folded-norms", "gqa-by-row", "grouped-concat",
    "cache-changed-in-part", "gptj-torchscript", "cohere-dynamo",
    "gemma3-bf16", "gpt-neox-f32", "lfm2-f32", "modernbert-f32",
}
QUICK_AARCH64 = {"minilm", "stories260K", "babyllama_tok105", "gpt2-f32", "llama-f16", "qwen3-f32", "tiny-graph-capture-gqa", "gemma3-bf16"}

ROOT = Path(__file__).resolve().parents[2]
# For this process and its children, emulated ones too: sessions lie between inaccessible pages (runtime/README.md, "Fences").
os.environ["EDGECC_FENCE"] = "1"
sys.path[:0] = [str(ROOT / "python"), str(Path(__file__).resolve().parent)]


def pytest_addoption(parser):
    try:
        parser.addoption("--build-dir", type=Path, default=Path(os.environ.get("EDGECC_BUILD_DIR", ROOT / "build")),
                         help="has bin/edgecc and lib/libedgecc_runtime.so (default: $EDGECC_BUILD_DIR, build)")
    except ValueError:
        pass  # test/text/conftest.py, read before this file, has added it
    parser.addoption("--aarch64-build-dir", type=Path,
                     default=Path(os.environ.get("EDGECC_AARCH64_BUILD_DIR", ROOT / "build/aarch64")),
                     help="has an AArch64 bin/edgecc-run (default: $EDGECC_AARCH64_BUILD_DIR, build/aarch64)")
    parser.addoption("--quick", action="store_true", help="some of the models only (a representative set: QUICK_*), and nothing long")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--quick"):
        return
    kept, left = [], []
    for item in items:
        arguments = item.callspec.params if hasattr(item, "callspec") else {}
        if item.path.name != "test_models.py" or "name" not in arguments:
            wanted = not item.get_closest_marker("long")
        elif "cpu" in arguments:
            wanted = arguments["name"] in QUICK_AARCH64 and (arguments["cpu"] == "cortex-a76" or arguments["name"] == "stories260K")
        else:
            wanted = arguments["name"] in QUICK_HOST
        (kept if wanted else left).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left)


def pytest_configure(config):
    # As for lit's tests: memory that was freed, or that nobody has written yet, reads as garbage in the programs under test.
    os.environ.setdefault("MALLOC_PERTURB_", "165")
    os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0")
    config.addinivalue_line("markers", "long: takes a minute and more; not with --quick")
    if "s" not in config.option.reportchars:
        config.option.reportchars += "s"


@pytest.fixture(scope="session")
def build_dir(request) -> Path:
    directory = request.config.getoption("--build-dir").resolve()
    for needed in (directory / "bin/edgecc", directory / "lib/libedgecc_runtime.so"):
        if not needed.exists():
            pytest.skip(f"{needed} is not built")
    os.environ["EDGECC"] = str(directory / "bin/edgecc")
    os.environ["EDGECC_RUNTIME"] = str(directory / "lib/libedgecc_runtime.so")
    return directory


@pytest.fixture(scope="session")
def under_qemu(request):
    """What runs an AArch64 program here: under_qemu(CPU model, program) is the command."""
    import shutil

    binaries = request.config.getoption("--aarch64-build-dir").resolve() / "bin"
    qemu = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if not qemu:
        pytest.skip("qemu-aarch64 is not installed (apt install qemu-user)")

    def command(cpu: str, program: str = "edgecc-run") -> list[str]:
        if not (binaries / program).exists():
            pytest.skip(f"{binaries / program} is not built (cmake --preset aarch64-runtime && cmake --build --preset aarch64-runtime)")
        return [qemu, "-cpu", cpu, "-L", "/usr/aarch64-linux-gnu", str(binaries / program)]
    return command
