"""What goes wrong around a compile: Ctrl-C in every phase, full disks, weights that go away. A sentence, and nothing is left.

    pytest test/e2e/test_faults.py [--build-dir build]      # mounting a small tmpfs needs root
"""

import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgecc.export.__main__ import main as export_main

SMALL = 4 << 20  # bytes of the disk that is full soon


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """8 layers, 250 MB: big enough to be caught in the act, and bigger than the small disk."""
    path = tmp_path_factory.mktemp("faults") / "model.onnx"
    assert export_main(["--random", "qwen3-0.6b", "--layers", "8", "--vocabulary", "4096", "--dtype", "f16", "--sparse",
                        "-o", str(path)]) == 0
    return path


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "edgecc-test", str(folder)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"NOT TESTED, what a full disk does: a tmpfs cannot be mounted here ({mounted.stderr.strip()})")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def places(tmp_path):
    """Where the output goes, beside an older one, and where scratch files go."""
    output, scratch = tmp_path / "output", tmp_path / "scratch"
    output.mkdir()
    scratch.mkdir()
    (output / "model.edge").write_text("the old one")
    return SimpleNamespace(edge=output / "model.edge", output=output, scratch=scratch)


def nothing_left(places) -> None:
    assert [p.name for p in places.output.iterdir()] == ["model.edge"] and places.edge.read_text() == "the old one"
    assert not list(places.scratch.iterdir())


class Running:
    """edgecc at work; `until` waits for a sign of a phase."""

    def __init__(self, build_dir, model, places, *arguments, **environment):
        self.output = places.output
        self.process = subprocess.Popen(
            [str(build_dir / "bin/edgecc"), str(model), "-o", str(places.edge), "--quiet", "--mlir-elide-elementsattrs-if-larger=8",
             "--mlir-elide-resource-strings-if-larger=8", *arguments],
            stderr=subprocess.PIPE, text=True, errors="replace", env={**os.environ, "TMPDIR": str(places.scratch), **environment})
        self.said: list[str] = []
        self.reader = threading.Thread(target=lambda: self.said.extend(self.process.stderr))
        self.reader.start()

    def until(self, condition) -> None:
        while not condition():
            assert self.process.poll() is None, f"it ended before that ({self.process.returncode}): {''.join(self.said)[-2000:]}"
            time.sleep(0.001)

    def maps(self, part: str) -> bool:
        try:
            return part in Path(f"/proc/{self.process.pid}/maps").read_text()
        except OSError:
            return False

    def dumped(self, name: str) -> bool:
        """A pass was begun or ended that --mlir-print-ir-before or -after names."""
        return any("IR Dump" in line and f"({name})" in line for line in self.said)

    def end(self, timeout: float = 60) -> tuple[int, str]:
        """The exit status and the last line of what was said."""
        try:
            status = self.process.wait(timeout)
        finally:
            self.process.kill()
            self.reader.join()
        return status, self.said[-1].strip() if self.said else ""


@pytest.fixture(scope="module")
def long_graph(tmp_path_factory) -> Path:
    """Nodes enough that reading them takes a while."""
    from onnx import TensorProto, helper

    nodes = [helper.make_node("Neg", [f"v{i}"], [f"v{i + 1}"]) for i in range(200_000)]
    value = [helper.make_tensor_value_info(f"v{i}", TensorProto.FLOAT, [4]) for i in (0, len(nodes))]
    path = tmp_path_factory.mktemp("long") / "long.onnx"
    path.write_bytes(helper.make_model(helper.make_graph(nodes, "long", value[:1], value[1:]), opset_imports=[
        helper.make_opsetid("", 18)], ir_version=8).SerializeToString())
    return path


# How each phase is recognised from outside.
PHASES = {
    "import": lambda run: run.maps("/long.onnx"),
    "normalize": lambda run: run.dumped("edge-convert-onnx"),
    "packing": lambda run: run.maps("/edgecc-weights-"),
    "lower": lambda run: run.dumped("edge-plan-memory"),
    "code generation": lambda run: run.dumped("edge-store-bf16-as-bits"),
    "packaging": lambda run: list(run.output.glob("*.partial")),
}
SHOWN = {"normalize": "--mlir-print-ir-before=edge-convert-onnx", "lower": "--mlir-print-ir-before=edge-plan-memory",
         "code generation": "--mlir-print-ir-after=edge-store-bf16-as-bits"}


def caught_in(phase, build_dir, model, long_graph, places) -> Running:
    run = Running(build_dir, long_graph if phase == "import" else model, places, *filter(None, [SHOWN.get(phase)]))
    run.until(lambda: PHASES[phase](run))
    return run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
@pytest.mark.parametrize("phase", PHASES)
def test_interrupt(phase, number, build_dir, model, long_graph, places):
    run = caught_in(phase, build_dir, model, long_graph, places)
    run.process.send_signal(number)
    status, said = run.end()
    # What the passes show may end in the middle of a line.
    assert status == 130 and said.endswith("edgecc: error: interrupted; no output was written"), (status, said)
    nothing_left(places)


@pytest.mark.parametrize("phase", ["packing", "code generation", "packaging"])
def test_crash(phase, build_dir, model, long_graph, places):
    """A crash ends the program by its signal, and leaves nothing either."""
    run = caught_in(phase, build_dir, model, long_graph, places)
    run.process.send_signal(signal.SIGSEGV)
    status, _ = run.end()
    assert status == -signal.SIGSEGV and any("edgecc crashed. Please report it" in line for line in run.said), (status, run.said)
    nothing_left(places)


def test_crash_that_cannot_be_shown(build_dir, model, places):
    """Showing the stack can hang, as for locks that the crashed thread holds: here the symbolizer never answers."""
    symbolizer = places.output.parent / "llvm-symbolizer"
    symbolizer.write_text("#!/bin/sh\nexec sleep 100\n")
    symbolizer.chmod(0o755)
    run = Running(build_dir, model, places, LLVM_SYMBOLIZER_PATH=str(symbolizer))
    run.until(lambda: PHASES["packaging"](run))
    run.process.send_signal(signal.SIGSEGV)
    status, _ = run.end(timeout=30)
    assert status == -signal.SIGABRT and any("crashed, and the stack cannot be shown" in line for line in run.said), (status, run.said)
    assert [p.name for p in places.output.iterdir()] == ["model.edge"] and places.edge.read_text() == "the old one"


def test_weights_that_go_away(build_dir, model, places, tmp_path):
    """Weights are read through a mapping: a file that is cut while it is compiled is named, as one whose disk fails."""
    weights = next(model.parent.rglob("*.safetensors"))
    copy = tmp_path / "copy" / model.name
    folder = copy.parent / weights.parent.relative_to(model.parent)
    folder.mkdir(parents=True)
    copy.write_bytes(model.read_bytes())
    (folder / weights.name).touch()
    os.truncate(folder / weights.name, weights.stat().st_size)  # of zeros
    run = Running(build_dir, copy, places)
    run.until(lambda: PHASES["packing"](run))
    os.truncate(folder / weights.name, 1 << 20)
    status, said = run.end()
    assert status == 1 and said == (f"edgecc: error: cannot read {folder / weights.name}: it has become shorter, or its disk fails; "
                                    "no output was written"), (status, said)
    nothing_left(places)


def test_weights_cut_before(build_dir, model, places, tmp_path):
    weights = next(model.parent.rglob("*.safetensors"))
    folder = tmp_path / weights.parent.relative_to(model.parent)
    folder.mkdir(parents=True, exist_ok=True)
    (tmp_path / model.name).write_bytes(model.read_bytes())
    (folder / weights.name).write_bytes(weights.read_bytes()[:1 << 20])
    run = Running(build_dir, tmp_path / model.name, places)
    status, said = run.end()
    assert status == 1 and re.search(rf"do not lie in .*{weights.name}, which has 1048576; is the file complete\?", said), (status, said)
    nothing_left(places)


def full_disk(build_dir, model, *arguments, **environment) -> str:
    """What edgecc says when it fails for the room."""
    done = subprocess.run([str(build_dir / "bin/edgecc"), str(model), *map(str, arguments), "--quiet"], capture_output=True,
                          text=True, env={**os.environ, **environment})
    assert done.returncode == 1 and done.stderr.startswith("edgecc: error: "), (done.returncode, done.stderr)
    return done.stderr.strip()


def test_full_disk_for_the_output(build_dir, model, small_disk, tmp_path):
    (small_disk / "model.edge").write_text("the old one")
    said = full_disk(build_dir, model, "-o", small_disk / "model.edge")
    assert re.fullmatch(rf"edgecc: error: cannot write {small_disk}/model.edge: No space left on device \(the file needs 2\d\d\.\d MB, "
                        r"the disk has \d\.\d MB left\)", said), said
    assert [p.name for p in small_disk.iterdir()] == ["model.edge"] and (small_disk / "model.edge").read_text() == "the old one"


def test_full_disk_for_code(build_dir, model, small_disk):
    """Object and header fit and are written first; without the artifact they are of no use."""
    said = full_disk(build_dir, model, "-o", small_disk / "model.edge", "--code=static")
    assert f"cannot write {small_disk}/model.edge: No space left on device" in said
    assert not list(small_disk.iterdir())


def test_full_disk_for_scratch(build_dir, model, small_disk, places):
    said = full_disk(build_dir, model, "-o", places.edge, TMPDIR=str(small_disk))
    assert re.search(rf"weight '[^']+': cannot reserve \d+ bytes of scratch space in {small_disk}: No space left on device; choose another "
                     "folder with TMPDIR", said), said
    assert not list(small_disk.iterdir())
    nothing_left(places)


@pytest.mark.parametrize("emit", ["lowered", "llvm", "asm", "obj"])
def test_full_disk_for_text(emit, build_dir, model, small_disk):
    (small_disk / "fill").write_bytes(bytes(SMALL - 8192))
    said = full_disk(build_dir, model, "-o", small_disk / "out", f"--emit={emit}")
    assert f"cannot write {small_disk}/out: No space left on device" in said
    assert [p.name for p in small_disk.iterdir()] == ["fill"]
