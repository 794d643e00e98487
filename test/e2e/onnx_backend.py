#!/usr/bin/env python3
"""ONNX's own backend node tests: each is compiled by edgecc and run by its runtime in-process.

    python test/e2e/onnx_backend.py [--build-dir build] [--mode static,dynamic] [--filter REGEX] [--update]

Modes: static, the sizes as they are; dynamic, every input size of 2 or more becomes a dimension named after it ("d3", 1..3),
except those that belong to a model's architecture and not to its input (ARCHITECTURE: heads, their size, hidden sizes; channels
that are grouped), which a compiler may want to know; constant, like static, but inputs that determine shapes or axes (Reshape's
shape, Slice's starts) become constants of the model, as exporters write them. A test is unsupported when edgecc refuses it with a sentence, failed when it gives wrong numbers, takes
too long, or anything crashes.

Writes support.md and support.json into --output, prints the counts, and exits with 1 if a test of the expectation list
(onnx_backend_expected.txt: tests known to pass) does not pass any more; --update writes that list anew for the tests that ran.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import re
import select
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))
EXPECTED = Path(__file__).with_name("onnx_backend_expected.txt")
MODES = ("static", "dynamic", "constant")

# Inputs that say what shape or axis something has.
SHAPE_INPUTS: dict[str, set[int]] = {
    "Reshape": {1}, "Expand": {1}, "Tile": {1}, "Slice": {1, 2, 3, 4}, "Pad": {1, 3}, "Squeeze": {1}, "Unsqueeze": {1},
    "Split": {1},
    "Range": {0, 1, 2}, "ConstantOfShape": {0}, "OneHot": {1}, "TopK": {1}, "Resize": {1, 2, 3}, "Upsample": {1}, "CumSum": {1},
    "CumProd": {1}, "Trilu": {1}, "CenterCropPad": {1}, "AffineGrid": {1}, "DFT": {1, 2}, "Dropout": {1, 2}, "Col2Im": {1, 2},
    "SplitToSequence": {1}, "MaxUnpool": {2},
}

# By operator, input and rank of that input: the axes whose sizes belong to the architecture. Batches, sequences, how much is held
# and what a mask spans never do.
_HEADS = {3: {2}, 4: {1, 3}}  # [batch, tokens, hidden], [batch, heads, tokens, dim]
ARCHITECTURE: dict[str, dict[int, dict[int, set[int]]]] = {
    "Attention": {0: _HEADS, 1: _HEADS, 2: _HEADS, 3: {3: {0}, 4: {1}}, 4: _HEADS, 5: _HEADS},
    "RotaryEmbedding": {0: _HEADS, 1: {2: {1}, 3: {2}}, 2: {2: {1}, 3: {2}}},
    "GroupNormalization": {0: {rank: {1} for rank in range(2, 6)}, 1: {1: {0}}, 2: {1: {0}}},
}


def _shape_inputs(op: str) -> set[int]:
    return {1} if op.startswith("Reduce") else SHAPE_INPUTS.get(op, set())


# --- The worker: one process that compiles and runs tests, and may die -----------------------------------------------------


class Compiled:
    """What the runner calls `run` on: positional arrays in, a list of arrays out."""

    def __init__(self, model: Any, mode: str, op: str, scratch: Path):
        self.model, self.mode, self.op, self.scratch = model, mode, op, scratch
        _without_sessions(model)
        self.names = [i.name for i in model.graph.input]
        self.loaded: Any = None
        if mode != "constant":  # constants are only known when the inputs are
            self.load()

    def load(self) -> None:
        import edgecc

        dims = _name_dimensions(self.model, self.op) if self.mode == "dynamic" else {}
        output = self.scratch / "model.edge"
        try:
            edgecc.compile(self.model, output, dims=dims)
        except edgecc.CompileError as error:
            if error.returncode == 1:
                raise unittest.SkipTest(str(error)) from None
            raise
        self.loaded = edgecc.load(output, threads=1)
        output.unlink()  # it stays mapped

    def run(self, inputs: list, **_: Any) -> list:
        import ml_dtypes
        import numpy as np
        from onnx import helper, numpy_helper

        feeds = dict(zip(self.names, inputs))
        if self.mode == "constant" and self.loaded is None:
            graph = self.model.graph
            uses = {(name, node.op_type, i) for node in graph.node for i, name in enumerate(node.input)}
            fixed = {name for name, op, i in uses if i in _shape_inputs(op) and name in feeds}
            graph.initializer.extend(numpy_helper.from_array(feeds[n], n) for n in sorted(fixed))
            kept = [i for i in graph.input if i.name not in fixed]
            del graph.input[:]
            graph.input.extend(kept)
            self.fixed = fixed
            self.load()
        for name in getattr(self, "fixed", ()):
            feeds.pop(name)
        for name, value in feeds.items():
            if isinstance(value, np.ndarray) and value.dtype == ml_dtypes.bfloat16:
                feeds[name] = value.view(np.uint16)
        feeds = {n: v for n, v in feeds.items() if n in {t.name for t in self.loaded.entries[0].inputs}}
        results = self.loaded.run(feeds, entry=self.loaded.entries[0].name)
        outputs = []
        for value in self.model.graph.output:
            array = results[value.name]
            if value.type.tensor_type.elem_type == helper.np_dtype_to_tensor_dtype(np.dtype(ml_dtypes.bfloat16)):
                array = array.view(ml_dtypes.bfloat16)
            outputs.append(array)
        return outputs


def _without_sessions(model: Any) -> None:
    """Tests feed a cache and look at what it becomes; under the names past and present it would be kept in a session."""
    for names in (*(node.input for node in model.graph.node), *(node.output for node in model.graph.node)):
        names[:] = [name.replace("past", "held") for name in names]
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        value.name = value.name.replace("past", "held")


def _name_dimensions(model: Any, op: str) -> dict[str, tuple[int, int]]:
    """Replaces the sizes of the inputs by names and forgets the outputs' sizes; returns the bounds of the names."""
    bounds = {}
    kept = ARCHITECTURE.get(op, {})
    for number, value in enumerate(model.graph.input):
        dims = value.type.tensor_type.shape.dim
        fixed = kept.get(number, {}).get(len(dims), set())
        for axis, dim in enumerate(dims):
            if dim.dim_value >= 2 and axis not in fixed:
                name = f"d{dim.dim_value}"
                bounds[name] = (1, dim.dim_value)
                dim.dim_param = name
    shapes = {value.name: value.type.tensor_type.shape.dim for value in model.graph.input}
    if op == "Attention" and "held_key" in shapes:
        # A mask spans what was held and what is new.
        held, new, total = shapes["held_key"][2], shapes["K"][-2], shapes["attn_mask"][-1]
        if held.dim_param and new.dim_param and total.dim_param:
            del bounds[total.dim_param]
            total.dim_param = f"{held.dim_param} + {new.dim_param}"
    if bounds:
        for value in model.graph.output:
            value.type.tensor_type.ClearField("shape")
        del model.graph.value_info[:]
    return bounds


def _worker(mode: str) -> None:
    """Reads an operator and a test's name from each line of stdin; answers with a line of JSON: status, reason."""
    import numpy as np
    import onnx.backend.base
    import onnx.backend.test

    scratch = Path(tempfile.mkdtemp(prefix="edgecc-backend-"))

    class Backend(onnx.backend.base.Backend):
        @classmethod
        def prepare(cls, model: Any, device: str = "CPU", **_: Any) -> Compiled:
            for value in (*model.graph.input, *model.graph.output):
                kind = value.type.WhichOneof("value")
                if kind != "tensor_type":
                    raise unittest.SkipTest(f"{value.name} is a {kind.removesuffix('_type')}; only tensors go in and out")
                if value.type.tensor_type.elem_type == onnx.TensorProto.STRING:
                    raise unittest.SkipTest(f"{value.name} has strings")
            return Compiled(model, mode, current, scratch)

        @classmethod
        def supports_device(cls, device: str) -> bool:
            return device == "CPU"

    np.seterr(all="ignore")
    cases = onnx.backend.test.BackendTest(Backend, __name__).test_cases["OnnxBackendNodeModelTest"]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what tests print must not mix with the answers
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        status, reason = "passed", ""
        current, name = line.split()
        try:
            cases(name + "_cpu").debug()
        except unittest.SkipTest as skipped:
            status, reason = "unsupported", str(skipped)
        except BaseException as error:  # whatever happened is this test's result
            status, reason = "failed", f"{type(error).__name__}: {error}"
        print(json.dumps({"status": status, "reason": reason[:2000]}), file=answers, flush=True)
    os.rmdir(scratch)


# --- The parent: deals tests out, watches the clock, counts ----------------------------------------------------------------


class Worker:
    def __init__(self, mode: str):
        self.process = subprocess.Popen([sys.executable, __file__, "--worker", mode], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._answer(120)

    def _answer(self, timeout: float) -> str | None:
        """A line, "" when the process died, None when time is up."""
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        return self.process.stdout.readline() if ready else None

    def test(self, op: str, name: str, timeout: float) -> dict[str, str] | None:
        """The result; None if the worker cannot be used any more (then `verdict` says why)."""
        try:
            print(op, name, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            self.verdict = "the worker died"
            return None
        line = self._answer(timeout)
        if line:
            return json.loads(line)
        if line is None:
            self.verdict = f"timeout: no result after {timeout:.0f} s"
            self.process.kill()
        code = self.process.wait()
        if line == "":
            self.verdict = f"crash: the process ended with {code} (generated code or runtime)"
        return None

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def _run(jobs: list[tuple[str, str]], operators: dict[str, str], workers: int,
         timeout: float) -> dict[tuple[str, str], dict[str, str]]:
    results: dict[tuple[str, str], dict[str, str]] = {}
    todo: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
    for job in jobs:
        todo.put(job)

    def serve() -> None:
        worker, current = None, ""
        while True:
            try:
                mode, name = todo.get_nowait()
            except queue.Empty:
                break
            if worker and mode != current:
                worker.close()
                worker = None
            if not worker:
                worker, current = Worker(mode), mode
            result = worker.test(operators[name].split()[0], name, timeout)
            if result is None:
                result, worker = {"status": "failed", "reason": worker.verdict}, None
            results[mode, name] = result
            if len(results) % 100 == 0:
                print(f"{len(results)}/{len(jobs)}", file=sys.stderr, flush=True)
        if worker:
            worker.close()

    threads = [threading.Thread(target=serve) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def _operators() -> dict[str, str]:
    """Test name -> the operator that it is about: its first node's; for a function's expanded body, the function's."""
    import onnx
    from onnx.backend.test.loader import load_model_tests

    result: dict[str, str] = {}
    for case in sorted(load_model_tests(kind="node"), key=lambda c: ("_expanded" in c.name, c.name)):
        base = result.get(case.name.split("_expanded")[0])
        if base and "_expanded" in case.name:
            result[case.name] = base + " (expanded)"
            continue
        graph = onnx.load(Path(case.model_dir) / "model.onnx").graph
        first = graph.node[0] if graph.node else None
        op = f"{first.domain}.{first.op_type}".lstrip(".") if first else "none"
        result[case.name] = op + (" (expanded)" if "_expanded" in case.name else "")
    return result


def _gist(reason: str) -> str:
    """A reason without names and numbers, to be counted. Compilers' messages: the line that names the cause."""
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    lines = [line for line in lines if not re.search(r"(nodes? cannot be compiled|problems? of the model)", line)] or lines
    return re.sub(r"\s+", " ", lines[0])[:160].replace("|", "\\|") if lines else ""


def _write_table(results: dict, operators: dict[str, str], output: Path) -> None:
    table: dict[str, dict[str, Any]] = defaultdict(lambda: defaultdict(Counter))
    reasons: dict[str, Counter] = defaultdict(Counter)
    for (mode, name), result in results.items():
        op = operators[name]
        table[op][mode][result["status"]] += 1
        if result["status"] != "passed":
            reasons[op][_gist(result["reason"])] += 1
    modes = [m for m in MODES if any(m == mode for mode, _ in results)]
    lines = ["# ONNX operators that edgecc compiles", "",
             "Generated by test/e2e/onnx_backend.py from ONNX's node tests: passed / failed / unsupported.", "",
             "| operator | " + " | ".join(modes) + " | most frequent reason |", "| --- |" + " --- |" * (len(modes) + 1)]
    for op in sorted(table):
        cells = [" / ".join(str(table[op][m][s]) for s in ("passed", "failed", "unsupported")) for m in modes]
        why = reasons[op].most_common(1)
        lines.append(f"| {op} | " + " | ".join(cells) + f" | {why[0][0] if why else ''} |")
    output.mkdir(parents=True, exist_ok=True)
    (output / "support.md").write_text("\n".join(lines) + "\n")
    (output / "support.json").write_text(json.dumps(
        [{"mode": m, "test": n, "operator": operators[n], **r} for (m, n), r in sorted(results.items())], indent=0) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build-dir", type=Path, default=Path(os.environ.get("EDGECC_BUILD_DIR", ROOT / "build")))
    parser.add_argument("--mode", default="static,dynamic", help="some of static, dynamic, constant (default: static,dynamic)")
    parser.add_argument("--filter", default="", metavar="REGEX", help="only tests whose name matches")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=30, metavar="SECONDS", help="per test")
    parser.add_argument("--output", type=Path, help="default: BUILD_DIR/onnx_backend")
    parser.add_argument("--update", action="store_true", help="rewrite the expectation list for the tests that ran")
    parser.add_argument("--minimum", type=int, default=0, metavar="N", help="fail if fewer tests pass in the first mode")
    parser.add_argument("--show", choices=("failed", "unsupported", "all"), help="print the results of this kind with reasons")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    a = _arguments()
    if a.worker:
        _worker(a.worker)
        return 0
    program, library = a.build_dir.resolve() / "bin/edgecc", a.build_dir.resolve() / "lib/libedgecc_runtime.so"
    for needed in (program, library):
        if not needed.exists():
            print(f"SKIPPED: ONNX backend tests: {needed} is not built", file=sys.stderr)
            return 77
    os.environ["EDGECC"], os.environ["EDGECC_RUNTIME"] = str(program), str(library)
    modes = a.mode.split(",")
    if set(modes) - set(MODES):
        print(f"--mode {a.mode}: known are {', '.join(MODES)}", file=sys.stderr)
        return 2
    operators = _operators()
    names = [n for n in sorted(operators) if re.search(a.filter, n)]
    jobs = [(mode, name) for mode in modes for name in names]
    begin = time.monotonic()
    results = _run(jobs, operators, a.workers, a.timeout)
    _write_table(results, operators, a.output or a.build_dir / "onnx_backend")

    for (mode, name), result in sorted(results.items()):
        if a.show in ("all", result["status"]):
            print(f"{mode} {name}: {result['status']}: {result['reason']}")
    for mode in modes:
        count = Counter(r["status"] for (m, _), r in results.items() if m == mode)
        print(f"{mode}: {count['passed']} passed, {count['failed']} failed, {count['unsupported']} unsupported of {len(names)}")
    print(f"{time.monotonic() - begin:.0f} s; table: {a.output or a.build_dir / 'onnx_backend'}/support.md")

    passed = {f"{m} {n}" for (m, n), r in results.items() if r["status"] == "passed"}
    ran = {f"{m} {n}" for m, n in results}
    expected = {line for line in EXPECTED.read_text().splitlines() if line and line[0] != "#"} if EXPECTED.exists() else set()
    if a.update:
        EXPECTED.write_text("# Tests known to pass, by onnx_backend.py --update. A line that stops passing is a regression.\n"
                            + "".join(line + "\n" for line in sorted((expected - ran) | passed)))
        return 0
    lost, gained = sorted(expected & ran - passed), sorted(passed - expected)
    for line in lost:
        mode, name = line.split()
        print(f"REGRESSION: {line}: {results[mode, name]['reason']}")
    if gained:
        print(f"{len(gained)} tests pass that are not expected to ({', '.join(gained[:3])}, ...): --update adds them")
    first = sum(m == modes[0] and r["status"] == "passed" for (m, _), r in results.items())
    if first < a.minimum:
        print(f"only {first} tests pass; at least {a.minimum} must")
    return 1 if lost or first < a.minimum else 0


if __name__ == "__main__":
    sys.exit(main())
