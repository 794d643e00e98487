"""Options of the text tests, which also run without test/e2e."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def pytest_addoption(parser):
    try:
        parser.addoption("--build-dir", type=Path, default=Path(os.environ.get("EDGECC_BUILD_DIR", ROOT / "build")),
                         help="has the programs under test in bin/ (default: $EDGECC_BUILD_DIR, build)")
    except ValueError:
        pass  # test/e2e/conftest.py, read before this file, has added it


@pytest.fixture(scope="session")
def build_dir(request) -> Path:
    return request.config.getoption("--build-dir").resolve()
