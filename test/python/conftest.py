"""Tests of the Python package run from a checkout, without installing it."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# For this process and its children: sessions lie between inaccessible pages (runtime/README.md, "Fences").
os.environ["EDGECC_FENCE"] = "1"
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "test" / "e2e")]


def pytest_configure(config):
    # A skip is not a pass: say what was skipped, and why.
    if "s" not in config.option.reportchars:
        config.option.reportchars += "s"


@pytest.fixture(scope="session")
def runtime():
    """The runtime's library from $EDGECC_RUNTIME, or $EDGECC_BUILD_DIR (default: build)."""
    library = Path(os.environ.get("EDGECC_RUNTIME") or
                   Path(os.environ.get("EDGECC_BUILD_DIR", ROOT / "build")) / "lib/libedgecc_runtime.so").resolve()
    if not library.exists():
        pytest.skip(f"{library} is not built")
    os.environ["EDGECC_RUNTIME"] = str(library)
    return library


@pytest.fixture(scope="session")
def compiler():
    """The edgecc program from $EDGECC, or $EDGECC_BUILD_DIR (default: build)."""
    program = Path(os.environ.get("EDGECC") or Path(os.environ.get("EDGECC_BUILD_DIR", ROOT / "build")) / "bin/edgecc").resolve()
    if not program.exists():
        pytest.skip(f"{program} is not built")
    return program
