"""Options of the end-to-end tests. What is skipped is said with its reason at the end of the run: a skip is not a pass."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "python"), str(Path(__file__).resolve().parent)]


def pytest_addoption(parser):
    parser.addoption("--build-dir", type=Path, default=Path(os.environ.get("EDGECC_BUILD_DIR", ROOT / "build")),
                     help="has bin/edgecc and lib/libedgecc_runtime.so (default: $EDGECC_BUILD_DIR, build)")
    parser.addoption("--aarch64-build-dir", type=Path,
                     default=Path(os.environ.get("EDGECC_AARCH64_BUILD_DIR", ROOT / "build/aarch64")),
                     help="has an AArch64 bin/edgecc-run (default: $EDGECC_AARCH64_BUILD_DIR, build/aarch64)")


def pytest_configure(config):
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
def aarch64_run(request) -> list[str]:
    """The command that runs an AArch64 edgecc-run here; a CPU model is to be inserted after the first word."""
    import shutil

    program = request.config.getoption("--aarch64-build-dir").resolve() / "bin/edgecc-run"
    qemu = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if not qemu:
        pytest.skip("qemu-aarch64 is not installed (apt install qemu-user)")
    if not program.exists():
        pytest.skip(f"{program} is not built (cmake --preset aarch64-runtime && cmake --build --preset aarch64-runtime)")
    return [qemu, "-L", "/usr/aarch64-linux-gnu", str(program)]
