"""The types that the package states, as py.typed promises to those who import it."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")

PACKAGE = Path(__file__).resolve().parents[2] / "python"


@pytest.fixture(scope="module")
def mypy(tmp_path_factory):
    """Runs mypy with the package's own settings; nothing is written into the checkout."""
    cache = tmp_path_factory.mktemp("mypy")

    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, "-m", "mypy", "--cache-dir", str(cache), *arguments], cwd=PACKAGE, capture_output=True, text=True)
    return run


def test_the_package_is_well_typed(mypy):
    """As pyproject.toml asks: every function has types, and they fit."""
    done = mypy()
    assert done.returncode == 0, done.stdout + done.stderr


def test_types_reach_the_importer(mypy, tmp_path):
    """A wrong bound of a dimension is found in the caller's file, before anything runs."""
    (tmp_path / "caller.py").write_text('''import edgecc

edgecc.compile("model.onnx", "model.edge", dims={"batch": 1, "sequence": (1, 256)})
edgecc.compile("model.onnx", "model.edge", dims={"batch": 1.5})
''')
    done = mypy(str(tmp_path / "caller.py"))
    assert "caller.py:4: error" in done.stdout and "caller.py:3: error" not in done.stdout, done.stdout + done.stderr
