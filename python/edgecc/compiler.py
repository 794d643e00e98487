"""Runs the `edgecc` program. The compiler is a program, not a library: a crash or a leak in it is not the caller's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Mapping, Sequence

from .errors import CompileError, EdgeccError

Bounds = int | tuple[int, int] | str


def find_program(name: str = "edgecc", program: str | os.PathLike[str] | None = None) -> Path:
    """`program` if given; else $EDGECC (for edgecc itself; its siblings lie beside it), PATH, and build/bin of a checkout."""
    if program:
        found = shutil.which(str(program))
        if not found:
            raise EdgeccError(f"{program}: no such program")
        return Path(found)
    variable = os.environ.get("EDGECC")
    if variable:
        path = Path(variable) if name == "edgecc" else Path(variable).with_name(name)
        if not shutil.which(str(path)):
            raise EdgeccError(f"EDGECC={variable}: there is no program {path}")
        return path
    found = shutil.which(name)
    if found:
        return Path(found)
    for base in Path(__file__).resolve().parents[2:3]:
        if shutil.which(str(base / "build/bin" / name)):
            return base / "build/bin" / name
    raise EdgeccError(f"the program {name} is not found: build it, and set EDGECC to its path or put it on PATH")


def _arguments(options: Mapping[str, Any]) -> list[str]:
    """Keyword arguments as flags: code="static" is --code=static, True is the bare flag, a list repeats it."""
    result = []
    for key, value in options.items():
        flag = "--" + key.replace("_", "-")
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if item is True:
                result.append(flag)
            elif item is not False and item is not None:
                result.append(f"{flag}={item}")
    return result


def compile(model: str | os.PathLike[str], output: str | os.PathLike[str], *,  # noqa: A001
            dims: Mapping[str, Bounds] | None = None, target: str | None = None, quant: str | None = None,
            quant_layers: Mapping[str, str] | None = None, arguments: Sequence[str] = (), program: str | os.PathLike[str] | None = None,
            timeout: float | None = None, **options: Any) -> dict[str, Any]:
    """Compiles the ONNX file `model` to `output` and returns the compiler's report.

    `dims` gives values or bounds of named dimensions: {"batch": 1, "sequence": (1, 512)}. `target` is host, x86-64-v3, x86-64-v4,
    linux-arm64 or android-arm64. `quant` is a scheme of quantized weights, as "w4g32a8" or "w8a8", and `quant_layers` gives other
    schemes to the layers whose own or whose weight's name a pattern fits: {"lm_head*": "w8a8"}. Other keywords are passed on as flags:
    code="static" is --code=static. `model` may also be an onnx.ModelProto, and `arguments` are passed on as they are. Raises CompileError
    with the compiler's sentence; then there is no output.
    """
    command: list[str] = [str(find_program(program=program))]
    with tempfile.TemporaryDirectory(prefix="edgecc-") as scratch:
        if hasattr(model, "SerializeToString"):
            path = Path(scratch) / "model.onnx"
            path.write_bytes(model.SerializeToString())
            model = path
        report = Path(scratch) / "report.json"
        command += [os.fspath(model), "-o", os.fspath(output), "--report", str(report), "--quiet"]
        for name, bounds in (dims or {}).items():
            text = f"{bounds[0]}..{bounds[1]}" if isinstance(bounds, tuple) else str(bounds)
            command += ["--dim", f"{name}={text}"]
        if target:
            command += ["--target", target]
        if quant:
            command += [f"--quant={quant}"]
        for pattern, scheme in (quant_layers or {}).items():
            command += ["--quant-layer", f"{pattern}={scheme}"]
        command += [*_arguments(options), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout)
        except subprocess.TimeoutExpired:
            raise CompileError(f"{command[0]} did not finish within {timeout} s", -9) from None
        if done.returncode:
            said = done.stderr.strip() or done.stdout.strip()
            raise CompileError(said or f"{command[0]} ended with {done.returncode} and said nothing", done.returncode)
        try:
            return json.loads(report.read_text())
        except FileNotFoundError:
            return {}
