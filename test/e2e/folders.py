"""Where tests keep what they make."""

import os
from pathlib import Path


def artifact_folder(build_dir: Path) -> Path:
    """Compiled files of this process; of several beside each other (pytest -n) each has its own."""
    folder = build_dir / "e2e" / os.environ.get("PYTEST_XDIST_WORKER", "")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
