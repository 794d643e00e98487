"""Whether the phone's code does what this machine's does: the lines of a list written under an emulator, beside what is written here."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Sequence

from ..compiler import find_program
from ..errors import EdgeccError


def _run(command: Sequence[object]) -> str:
    try:
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise EdgeccError(f"--emulator: {error}") from None
    if done.returncode:
        raise EdgeccError(done.stderr.strip() or f"{command[0]} ended with {done.returncode}")
    return done.stdout


def same_actions(lines: Path, tokenizer: Path, count: int | None, host: Path, arm: Path, emulator: str, scratch: Path) -> float:
    """Share of the lines of which `arm`, run by the edgecc-eval that `emulator` starts, writes the same as `host` does here. Cross-built
    programs know no SentencePiece, so both get ids."""
    text = _run([find_program("edgecc-tokenize"), lines, "--tokenizer", tokenizer, "--split", "<act>", *(["--count", count] if count else [])])
    marked = [line.split(" | ") for line in text.splitlines()]
    if not marked or any(len(parts) != 2 for parts in marked):
        raise EdgeccError(f"{lines}: a line has no '<act>', so it is not known what is to be written")
    split, until = marked[0][0].split()[-1], marked[0][1].split()[-1]
    ids = scratch / "lines.ids"
    ids.write_text("".join(f"{prompt} {rest}\n" for prompt, rest in marked))
    written = []
    for program, edge in (([find_program("edgecc-eval")], host), (shlex.split(emulator), arm)):
        _run([*program, edge, "--completions", ids, "--split", split, "--until", until, "--threads", 1, "--no-speed", "--actions", scratch / "written"])
        written.append((scratch / "written").read_text().splitlines())
    here, there = written
    return sum(a == b for a, b in zip(here, there, strict=True)) / len(here)
