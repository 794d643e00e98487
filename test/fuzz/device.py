"""Compiles a case by the program and runs it in this process by the runtime; says what happened."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from graph import Array, Case
from oracle import pasts_of

HANG = 60  # seconds of processor time
PATIENCE = 600.0  # seconds on the clock, for a machine that others use, too
# What a user should never read: names of MLIR operations, or LLVM's own words.
INTERNAL = re.compile(r"'(?:linalg|arith|tensor|memref|scf|edge|affine|func|llvm|plan|builtin|math|cf|vector)\.\w+' op|is a bug|LLVM ERROR|"
                      r"Assertion|PLEASE submit|unregistered|does not dominate|failed to legalize|UNREACHABLE")

# What is said of a broadcast that ONNX Runtime does: a pattern was taken for another one.
FALSE = re.compile(r"shape \[[\dx]+\] does not broadcast to")


class Verdict(Exception):
    """Ends a case: refused, wrong or crash, with a reason."""

    def __init__(self, kind: str, reason: str):
        super().__init__(f"{kind}: {reason}")
        self.kind, self.reason = kind, reason


def compile_case(case: Case, program: Path, folder: Path) -> Path:
    """Writes and compiles the model; raises a Verdict if there is no artifact."""
    source, output = folder / "model.onnx", folder / "model.edge"
    source.write_bytes(case.model.SerializeToString())
    output.unlink(missing_ok=True)
    command = [str(program), str(source), "-o", str(output), "--quiet", *[f"--dim={n}={b}" for n, b in case.dims.items()], *case.arguments]
    environment = {**os.environ, "MALLOC_PERTURB_": "165", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PATIENCE, env=environment,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (HANG, HANG)))
    except subprocess.TimeoutExpired:
        raise Verdict("crash", f"the compiler hangs: no end after {PATIENCE:.0f} s") from None
    if done.returncode == -signal.SIGKILL:
        raise Verdict("crash", f"the compiler was killed, as after {HANG} s of processor time")
    said = (done.stderr.strip() or done.stdout.strip()).replace(str(folder) + "/", "")
    if done.returncode not in (0, 1):
        name = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit {done.returncode}"
        raise Verdict("crash", f"the compiler ends with {name}: {said[:1500]}")
    if INTERNAL.search(said):
        raise Verdict("crash", f"an internal message: {said[:1500]}")
    if done.returncode:
        if output.exists():
            raise Verdict("crash", f"the output is left behind after an error: {said[:500]}")
        if not said:
            raise Verdict("crash", "the compiler fails and says nothing")
        if FALSE.search(said):
            raise Verdict("wrong", f"a valid model is refused for a reason that is not so: {said[:1000]}")
        raise Verdict("refused", said[:1500])
    return output


def as_fed(array: Array) -> Array:
    return array.view(np.uint16) if array.dtype.name == "bfloat16" else array


def run_case(case: Case, artifact: Path) -> list[dict[str, Array]]:
    """The outputs of each call. Without states the first call is repeated at the end, and must say the same."""
    import edgecc

    with edgecc.load(artifact, threads=1) as model:
        artifact.unlink()
        results: list[dict[str, Array]] = []
        with model.session() as session:
            for feeds in case.calls:
                pasts = pasts_of(results[-1], feeds) if case.stateful and results else {}
                results.append(call(model, session, {**feeds, **pasts}))
            if not case.stateful:
                again = call(model, session, case.calls[0])
                for name, value in results[0].items():
                    if not np.array_equal(value, again[name], equal_nan=value.dtype.kind == "f"):
                        raise Verdict("wrong", f"{name} differs when the first call is repeated")
        return results


def entry_for(model: Any, feeds: dict[str, Array]) -> Any:
    """decode for one token, else the entry that gives the logits of all tokens; the only entry of other models."""
    entries = {e.name: e for e in model.entries}
    tokens = feeds["input_ids"].shape[1] if "input_ids" in feeds else 1
    names = (["decode"] if tokens == 1 else []) + ["score", "prefill", "decode", *entries]
    return next(entries[n] for n in names if n in entries)


def call(model: Any, session: Any, feeds: dict[str, Array]) -> dict[str, Array]:
    import edgecc

    entry = entry_for(model, feeds)
    wanted = {t.name for t in entry.inputs}
    try:
        return session.run({n: as_fed(v) for n, v in feeds.items() if n in wanted}, entry.name)
    except edgecc.RunError as error:
        raise Verdict("refused", f"at run time: {error}") from None
