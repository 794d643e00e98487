"""The package around the program and the C interface: flags, errors, struct layouts, and a small model all the way."""

import ctypes
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edgecc
from conftest import ROOT
from edgecc import abi

HEADERS = [ROOT / "runtime/include/edgecc" / name for name in ("edgecc.h", "text.h")]
STRUCTS = {"edgecc_error": abi.Error, "edgecc_model_options": abi.ModelOptions, "edgecc_model_info": abi.ModelInfo,
           "edgecc_symbol_info": abi.SymbolInfo, "edgecc_tensor_info": abi.TensorInfo, "edgecc_extent_info": abi.ExtentInfo,
           "edgecc_entry_info": abi.EntryInfo, "edgecc_segment_info": abi.SegmentInfo, "edgecc_memory_info": abi.MemoryInfo,
           "edgecc_exit_info": abi.ExitInfo, "edgecc_exit_report": abi.ExitReport, "edgecc_session_options": abi.SessionOptions, "edgecc_output": abi.Output,
           "edgecc_logit_bias": abi.LogitBias, "edgecc_piece": abi.Piece, "edgecc_generation": abi.Generation, "edgecc_usage": abi.Usage}


def fake_compiler(directory: Path, body: str) -> Path:
    program = directory / "edgecc"
    program.write_text(f"#!{sys.executable}\nimport json, os, signal, sys\nargs = sys.argv[1:]\n{body}\n")
    program.chmod(0o755)
    return program


def test_compile_passes_options_as_flags(tmp_path):
    program = fake_compiler(tmp_path, """
open(args[args.index("--report") + 1], "w").write(json.dumps({"args": args}))""")
    report = edgecc.compile("in.onnx", tmp_path / "out.edge", dims={"batch": 1, "sequence": (1, 512)}, target="android-arm64",
                            code="static", print_pipeline=True, absent=None, disable=["a", "b"], program=program)
    args = report["args"]
    assert args[:3] == ["in.onnx", "-o", str(tmp_path / "out.edge")]
    assert args[5:] == ["--quiet", "--dim", "batch=1", "--dim", "sequence=1..512", "--target", "android-arm64", "--code=static",
                        "--print-pipeline", "--disable=a", "--disable=b"]


def test_compile_takes_a_proto(tmp_path):
    class Proto:
        def SerializeToString(self):
            return b"proto"

    program = fake_compiler(tmp_path, """
open(args[args.index("--report") + 1], "w").write(json.dumps({"model": open(args[0]).read()}))""")
    assert edgecc.compile(Proto(), tmp_path / "out.edge", program=program) == {"model": "proto"}


def test_compile_errors_are_the_compilers_sentence(tmp_path):
    sentence = "model.onnx: 1 operator cannot be compiled:\\n  /Loop_7 (Loop, opset 16): unroll it"
    program = fake_compiler(tmp_path, f'sys.exit(print("{sentence}", file=sys.stderr) or 1)')
    with pytest.raises(edgecc.CompileError) as error:
        edgecc.compile("in.onnx", tmp_path / "out.edge", program=program)
    assert str(error.value) == sentence.replace("\\n", "\n")
    assert error.value.returncode == 1


def test_a_crash_is_not_a_refusal(tmp_path):
    program = fake_compiler(tmp_path, "os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(edgecc.CompileError) as error:
        edgecc.compile("in.onnx", tmp_path / "out.edge", program=program)
    assert error.value.returncode == -11


def test_program_is_found(tmp_path, monkeypatch):
    program = fake_compiler(tmp_path, "")
    monkeypatch.setenv("EDGECC", str(program))
    assert edgecc.find_program() == program
    monkeypatch.setenv("EDGECC", str(tmp_path / "absent"))
    with pytest.raises(edgecc.EdgeccError, match="absent"):
        edgecc.find_program()
    monkeypatch.delenv("EDGECC")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert edgecc.find_program() == program


def test_structs_are_laid_out_as_in_the_header(tmp_path):
    """Every field is at the header's offset; every function has the header's number of parameters."""
    compiler = shutil.which("cc")
    if not compiler or not HEADERS[0].exists():
        pytest.skip(f"needs cc and {HEADERS[0]}")
    lines = ["#include <stdio.h>", *(f'#include "edgecc/{header.name}"' for header in HEADERS), "int main(void) {"]
    for name, struct in STRUCTS.items():
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        lines += [f'printf("{name}.{field} %zu\\n", offsetof({name}, {field}));' for field, _ in struct._fields_]
    (tmp_path / "layout.c").write_text("\n".join([*lines, "}"]))
    subprocess.run([compiler, "-I", str(HEADERS[0].parents[1]), str(tmp_path / "layout.c"), "-o", str(tmp_path / "layout")],
                   check=True)
    expected = dict(line.split() for line in subprocess.check_output([str(tmp_path / "layout")], text=True).splitlines())
    actual = {}
    for name, struct in STRUCTS.items():
        actual[name] = str(ctypes.sizeof(struct))
        actual.update({f"{name}.{field}": str(getattr(struct, field).offset) for field, _ in struct._fields_})
    assert actual == expected

    text = re.sub(r"//.*", "", "".join(header.read_text() for header in HEADERS))
    declared = {name: 0 if arguments.strip() == "void" else arguments.count(",") + 1
                for name, arguments in re.findall(r"EDGECC_API[^;]*?\b(edgecc_\w+)\(([^;]*)\);", text)}
    for name, (_, arguments) in abi._SIGNATURES.items():
        assert declared.get(name) == len(arguments), name
    enum = re.search(r"typedef enum edgecc_type \{(.*?)\}", text, re.S)[1]
    assert [n.lower() for n in re.findall(r"EDGECC_(\w+)", enum)] == abi.TYPE_NAMES


def test_load_errors_are_the_runtimes_sentence(runtime, tmp_path):
    with pytest.raises(edgecc.RunError, match="absent.edge"):
        edgecc.load(tmp_path / "absent.edge")
    (tmp_path / "garbage.edge").write_bytes(b"garbage" * 100)
    with pytest.raises(edgecc.RunError) as error:
        edgecc.load(tmp_path / "garbage.edge")
    assert error.value.code == 2
    assert len(str(error.value)) > 20


@pytest.fixture(scope="module")
def small(runtime, tmp_path_factory):
    """The small artifact of the runtime's tests: main adds (10, 20, 30) to x [n, 3]; step predicts the sum of the tokens mod 300."""
    build, directory = runtime.parents[1], tmp_path_factory.mktemp("small")
    libraries = [build / "test/runtime/libruntime_test_artifact.a", build / "runtime/libedgecc_runtime.a"]
    if not shutil.which("c++") or not all(library.exists() for library in libraries):
        pytest.skip(f"needs c++, {' and '.join(map(str, libraries))}")
    subprocess.run(["c++", "-std=c++17", "-I", str(ROOT), "-I", str(build), "-I", str(ROOT / "runtime/include"),
                    str(Path(__file__).with_name("write_artifact.cpp")), *map(str, libraries), "-lpthread", "-o",
                    str(directory / "write")], check=True)
    subprocess.run([str(directory / "write"), str(directory / "small.edge")], check=True)
    return directory / "small.edge"


def test_inspection(small):
    with edgecc.load(small) as model:
        assert [(s.name, s.min, s.max, s.role) for s in model.symbols] == [
            ("n", 1, 8, "free"), ("sequence", 1, 16, "free"), ("past", 0, 63, "position"), ("capacity", 4, 64, "capacity")]
        assert str(model.entry("main").inputs[0]) == "x: f32 [n, 3]"
        assert model.entry("step").inputs[1].shape[1] == edgecc.Dim("past + sequence", 1, 79)
        assert model.entry("step").advance == "sequence"
        assert [str(s) for s in model.states] == ["cache: i64 [capacity]"]
        assert [s["kind"] for s in model.segments] == ["weights", "code", "ledger"]
        assert model.properties == {"eos_token_id": "[299]", "vocabulary_size": "300"}
        assert model.memory(32).states - model.memory(16).states == 16 * 8 == 16 * model.memory().bytes_per_position
    with edgecc.load(small, inspect_only=True) as model, pytest.raises(edgecc.RunError):
        model.session()


def test_run(small):
    with edgecc.load(small, threads=2) as model:
        for n in (1, 8, 3):
            x = np.arange(3 * n, dtype=np.float32).reshape(n, 3)
            np.testing.assert_array_equal(model.run({"x": x})["y"], x + [10, 20, 30])
        # Transposed, of another float type, a list: what numpy users pass.
        np.testing.assert_array_equal(model.run({"x": np.ones((3, 2)).T})["y"], [[11, 21, 31]] * 2)
        for wrong, said in (({"x": np.zeros((9, 3), np.float32)}, "8"), ({"x": np.zeros((2, 4), np.float32)}, "x"),
                            ({"x": np.zeros((2, 3), np.complex64)}, "complex64"), ({"z": x}, "z"), ({}, "which entry")):
            with pytest.raises(edgecc.RunError, match=said):
                model.run(wrong)
        np.testing.assert_array_equal(model.run({"x": x}, entry="main")["y"], x + [10, 20, 30])
        with pytest.raises(edgecc.RunError, match="no entry other; the model has main, step"):
            model.run({"x": x}, entry="other")


def sums(tokens, count):
    tokens, start = list(tokens), len(tokens)
    for _ in range(count):
        tokens.append(sum(tokens) % 300)
    return tokens[start:]


def test_generate(small):
    with edgecc.load(small) as model:
        for prompt in ([5], [1, 2, 3], list(range(1, 40))):
            for chunk in (0, 1, 7):
                with model.session() as session:
                    assert list(session.generate(prompt, 8, stop=[], chunk=chunk)) == sums(prompt, 8)
        # The model stops by itself at its end token, 299; generating again starts anew.
        for _ in range(2):
            assert list(model.generate([299])) == []
            assert list(model.generate([149, 1], 3, stop=[])) == [150, 0, 0]


def test_sessions(small):
    with edgecc.load(small) as model, model.session(context=12) as one, model.session(context=12) as two:
        assert one.context == 12
        begin = list(one.generate([7], 5, stop=[]))
        two.restore(one.save())
        assert two.position == one.position == 5
        assert begin + list(two.generate(begin[-1:], 3, stop=[])) == sums([7], 8)
        assert len(list(one.generate(begin[-1:], 100, stop=[]))) == 7
        with pytest.raises(edgecc.ContextFullError):
            one.feed(np.array([1]))
        one.position = 2
        assert one.feed(np.array([1])).argmax() == (7 + 7 + 1) % 300
        with pytest.raises(edgecc.RunError):
            one.position = 9
        one.reset()
        assert one.position == 0
        with pytest.raises(edgecc.RunError):
            two.restore(b"nonsense")


def test_a_model_all_the_way(compiler, runtime, tmp_path):
    """Compiled, inspected, run; wrong inputs are refused and leave it usable."""
    onnx = pytest.importorskip("onnx")
    from onnx import helper

    f32 = onnx.TensorProto.FLOAT
    model = helper.make_model(helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Relu", ["sum"], ["y"])], "small",
        [helper.make_tensor_value_info("a", f32, ["n", 3]), helper.make_tensor_value_info("b", f32, [3])],
        [helper.make_tensor_value_info("y", f32, ["n", 3])]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    report = edgecc.compile(model, tmp_path / "small.edge", dims={"n": (1, 4)}, program=compiler)
    assert isinstance(json.dumps(report), str)
    with edgecc.load(tmp_path / "small.edge", threads=1) as loaded:
        assert [str(t) for t in loaded.entries[0].inputs] == ["a: f32 [n, 3]", "b: f32 [3]"]
        assert [(s.name, s.min, s.max, s.role) for s in loaded.symbols] == [("n", 1, 4, "free")]
        assert loaded.memory().total >= loaded.memory().weights
        assert len(loaded.source_sha256) == 64
        a, b = np.arange(-6, 6, dtype=np.float32).reshape(4, 3), np.ones(3, np.float32)
        for n in (4, 1):
            np.testing.assert_array_equal(loaded.run({"a": a[:n], "b": b})["y"], np.maximum(a[:n] + b, 0))
        # Another type is taken where it loses nothing.
        np.testing.assert_array_equal(loaded.run({"a": a.astype(np.int64), "b": b})["y"], np.maximum(a + b, 0))
        for wrong in ({"a": np.zeros((5, 3), np.float32)}, {"a": np.zeros((4, 2), np.float32)},
                      {"a": np.full((4, 3), 2**24 + 1, np.int64)}, {"a": np.zeros((4, 3), np.complex64)}, {"c": b}):
            with pytest.raises(edgecc.RunError):
                loaded.run({"b": b, **wrong})
        np.testing.assert_array_equal(loaded.run({"a": a, "b": b})["y"], np.maximum(a + b, 0))


def test_sampling():
    from edgecc.runtime import _choice, _draw

    rng, logits = np.random.default_rng(0), np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))

    def draws(count: int, *options: float) -> list[int]:
        return [_draw(_choice(logits, *options), rng) for _ in range(count)]

    assert draws(1, 0, 0, 1.0) == [0]
    counts = np.bincount(draws(4000, 1.0, 0, 1.0), minlength=4) / 4000
    np.testing.assert_allclose(counts, [0.5, 0.3, 0.15, 0.05], atol=0.03)
    assert set(draws(200, 1.0, 2, 1.0)) == {0, 1}
    assert set(draws(200, 1.0, 0, 0.7)) == {0, 1}
