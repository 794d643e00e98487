"""Integers where ONNX leaves the result undefined or a processor traps: one value on all targets, at compile time and at run time.

    pytest test/e2e/test_integers.py [--build-dir build] [--aarch64-build-dir build/aarch64]
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

TYPES = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]


def interesting(type) -> np.ndarray:
    info = np.iinfo(type)
    return np.array(sorted({info.min, info.min + 1, info.max, info.max - 1, 0, 1, 2, 3, 7, *((-1, -2, -3, -7) if info.min else ())}), type)


def wrapped(values: list[int], type) -> np.ndarray:
    bits = np.iinfo(type).bits
    return np.array([v & (2**bits - 1) for v in values], np.uint64).astype(f"u{bits // 8}").view(type)


def quotient(x: int, y: int) -> int:
    return 0 if y == 0 else abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)


# In Python's integers, which have no width: a result wraps.
DIVISIONS = {
    "Div": ("Div", {}, quotient),
    "Mod": ("Mod", {}, lambda x, y: x % y if y else 0),  # the divisor's sign
    "fmod": ("Mod", {"fmod": 1}, lambda x, y: x - quotient(x, y) * y if y else 0),  # the dividend's sign
}
SHIFTS = {"left": ("BitShift", {"direction": "LEFT"}, lambda x, y: x << y), "right": ("BitShift", {"direction": "RIGHT"}, lambda x, y: x >> y)}


def save(path: Path, nodes, feeds: dict[str, np.ndarray], outputs: list[str], constants: dict[str, np.ndarray]) -> Path:
    inputs = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in feeds.items()]
    graph = helper.make_graph(nodes, "integers", inputs, [onnx.ValueInfoProto(name=o) for o in outputs],
                              [numpy_helper.from_array(v, n) for n, v in constants.items()])
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString())
    return path


def run(model: Path, feeds: dict[str, np.ndarray], compiler: Path, command: list[str], *options: str) -> dict[str, np.ndarray]:
    folder = model.parent
    np.savez(folder / "in.npz", **feeds)
    for line in ([compiler, model, "-o", folder / "model.edge", "--quiet", *options],
                 [*command, folder / "model.edge", "--inputs", folder / "in.npz", "--outputs", folder / "out.npz"]):
        done = subprocess.run(list(map(str, line)), capture_output=True, text=True)
        assert done.returncode == 0, (done.returncode, done.stderr[-3000:])
    return dict(np.load(folder / "out.npz"))


def all_pairs(folder: Path, compiler: Path, command: list[str], *options: str) -> None:
    """Every pair of every type, as one graph."""
    nodes, feeds, expected = [], {}, {}
    for type in TYPES:
        name, values = type.__name__, interesting(type)
        x, y = (a.ravel() for a in np.meshgrid(values, values))
        feeds |= {f"{name}.x": x, f"{name}.y": y}
        cases = DIVISIONS | (SHIFTS if type in (np.uint8, np.uint16, np.uint32, np.uint64) else {})
        for case, (op, attributes, function) in cases.items():
            output = f"{name}.{case}"
            nodes.append(helper.make_node(op, [f"{name}.x", f"{name}.y"], [output], name=output, **attributes))
            far = case in SHIFTS
            expected[output] = wrapped([0 if far and int(b) >= np.iinfo(type).bits else function(int(a), int(b)) for a, b in zip(x, y)], type)
    got = run(save(folder / "model.onnx", nodes, feeds, list(expected), {}), feeds, compiler, command, *options)
    for output, value in expected.items():
        np.testing.assert_array_equal(got[output], value, err_msg=output, strict=True)


def test_pairs(build_dir, tmp_path):
    all_pairs(tmp_path, build_dir / "bin/edgecc", [str(build_dir / "bin/edgecc-run")])


@pytest.mark.parametrize("variant, cpu", [("arm64-neon", "cortex-a53"), ("arm64-i8mm", "max")])
def test_pairs_on_aarch64(variant, cpu, build_dir, under_qemu, tmp_path):
    all_pairs(tmp_path, build_dir / "bin/edgecc", under_qemu(cpu), "--target=linux-arm64", f"--variant={variant}")


@pytest.mark.parametrize("type", [np.int32, np.int64])
def test_powers_are_truncated(type, build_dir, tmp_path):
    """A power of an integer with a fractional exponent is truncated, and exact where the power is an integer."""
    bases = np.repeat(np.array([0, 1, 2, 3, 5, 8, 27, 64, 100, 125, 216, 1000], type), 7)
    exponents = np.tile(np.array([0, 1, 2, 0.5, 1.5, 1 / 3, 2 / 3], np.float32), len(bases) // 7)
    nodes = [helper.make_node("Pow", ["x", "y"], ["power"])]
    model = save(tmp_path / "model.onnx", nodes, {"x": bases, "y": exponents}, ["power"], {})
    got = run(model, {"x": bases, "y": exponents}, build_dir / "bin/edgecc", [str(build_dir / "bin/edgecc-run")])
    powers = bases.astype(np.float64) ** exponents
    expected = np.where(np.isclose(powers, np.rint(powers), rtol=1e-6, atol=0), np.rint(powers), np.trunc(powers)).astype(type)
    np.testing.assert_array_equal(got["power"], expected, strict=True)


@pytest.mark.parametrize("type", [np.int32, np.int64])
def test_constants_are_folded_alike(type, build_dir, tmp_path):
    """What the compiler evaluates itself, as it does the arithmetic of shapes, wraps and divides as the code does."""
    values = interesting(type)
    x, y = (a.ravel() for a in np.meshgrid(values, values))
    nodes, constants, expected = [], {}, {}
    cases = DIVISIONS | {"Add": ("Add", {}, lambda a, b: a + b), "Sub": ("Sub", {}, lambda a, b: a - b), "Mul": ("Mul", {}, lambda a, b: a * b)}
    compared = {"Less": lambda a, b: a < b, "LessOrEqual": lambda a, b: a <= b, "Equal": lambda a, b: a == b, "Greater": lambda a, b: a > b}
    for k in range(0, len(x), 50):
        a, b = x[k:k + 50], y[k:k + 50]
        constants |= {f"x{k}": a, f"y{k}": b}
        for case, (op, attributes, function) in cases.items():
            nodes.append(helper.make_node(op, [f"x{k}", f"y{k}"], [f"{case}{k}"], **attributes))
            expected[f"{case}{k}"] = wrapped([function(int(i), int(j)) for i, j in zip(a, b)], type)
        for case, function in compared.items():
            nodes.append(helper.make_node(case, [f"x{k}", f"y{k}"], [f"{case}{k}"]))
            expected[f"{case}{k}"] = np.array([function(int(i), int(j)) for i, j in zip(a, b)])
        for case, function in (("Max", max), ("Min", min)):
            nodes.append(helper.make_node(case, [f"x{k}", f"y{k}"], [f"{case}{k}"]))
            expected[f"{case}{k}"] = np.array([function(int(i), int(j)) for i, j in zip(a, b)], type)
    nodes.append(helper.make_node("Identity", ["in"], ["out"]))
    feeds = {"in": np.zeros(1, np.float32)}
    got = run(save(tmp_path / "model.onnx", nodes, feeds, [*expected, "out"], constants), feeds, build_dir / "bin/edgecc",
              [str(build_dir / "bin/edgecc-run")])
    for output, value in expected.items():
        np.testing.assert_array_equal(got[output], value, err_msg=output, strict=True)


def low_bits(x: float, bits: int, through: int) -> int:
    """A float as an integer, in the way of x86: the lowest integer of `through` bits if it does not fit, and of that the low bits."""
    fits = np.isfinite(x) and -2.0 ** (through - 1) <= np.trunc(x) < 2.0 ** (through - 1)
    return (int(x) if fits else -2 ** (through - 1)) & (2**bits - 1)


def casts(folder: Path, compiler: Path, command: list[str], *options: str) -> None:
    values = np.array([np.nan, np.inf, -np.inf, 1e20, -1e20, 3e9, -3e9, 300, -300, -1.5, 1.5, 0.99, -0.99, 70000, 1e10, -1e10, 2.0**31, -2.0**31,
                       2.0**63, -2.0**63, 2.0**64, 1.7e19, 127.5, 255.5, 0, -0.0], np.float32)
    nodes, expected = [], {}
    for source in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16):
        name = TensorProto.DataType.Name(source).lower()
        nodes.append(helper.make_node("Cast", ["x"], [name], to=source))
        with np.errstate(all="ignore"):
            given = values.astype(helper.tensor_dtype_to_np_dtype(source)).astype(np.float64)
        for type in TYPES:
            bits, output = np.iinfo(type).bits, f"{name}.{type.__name__}"
            nodes.append(helper.make_node("Cast", [name], [output], to=helper.np_dtype_to_tensor_dtype(np.dtype(type))))
            through = 32 if bits < 32 or type is np.int32 else 64
            numbers = [int(v) - 2**63 ^ 2**63 if type is np.uint64 and np.isfinite(v) and 2.0**63 <= v < 2.0**64
                       else 0 if type is np.uint64 and v >= 2.0**64 else low_bits(v, bits, through) for v in given]
            expected[output] = wrapped([int(v) if type is np.uint64 and np.isfinite(v) and 2.0**63 <= v < 2.0**64 else n
                                        for v, n in zip(given, numbers)], type)
    got = run(save(folder / "model.onnx", nodes, {"x": values}, list(expected), {}), {"x": values}, compiler, command, *options)
    for output, value in expected.items():
        np.testing.assert_array_equal(got[output], value, err_msg=output, strict=True)


def test_casts(build_dir, tmp_path):
    casts(tmp_path, build_dir / "bin/edgecc", [str(build_dir / "bin/edgecc-run")])


@pytest.mark.parametrize("variant, cpu", [("arm64-neon", "cortex-a53"), ("arm64-i8mm", "max")])
def test_casts_on_aarch64(variant, cpu, build_dir, under_qemu, tmp_path):
    casts(tmp_path, build_dir / "bin/edgecc", under_qemu(cpu), "--target=linux-arm64", f"--variant={variant}")


# --- Elements that no target computes with ----------------------------------------------------------------------------

NARROW = ["FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT4E2M1", "INT4", "UINT4"]
OTHERS = ["STRING", "COMPLEX64", "COMPLEX128"]


def weight(kind: str, elements: int) -> onnx.TensorProto:
    number = TensorProto.DataType.Value(kind)
    if kind == "STRING":
        return helper.make_tensor("w", number, [elements], [b"x"] * elements)
    bits = {"COMPLEX64": 64, "COMPLEX128": 128}.get(kind, 4 if "4E2" in kind or kind.endswith("INT4") else 8)
    return helper.make_tensor("w", number, [elements], bytes(elements * bits // 8), raw=True)


@pytest.mark.parametrize("elements", [64, 4096], ids=["small", "large"])
@pytest.mark.parametrize("how", ["Cast", "Reshape", "Gather", "Concat", "Add", "output", "input"])
@pytest.mark.parametrize("kind", NARROW + OTHERS)
def test_narrow_elements(kind, how, elements, build_dir, tmp_path):
    """A refusal that names the node or tensor and a way out; never LLVM's own words, and never other numbers."""
    number = TensorProto.DataType.Value(kind)
    constants = [weight(kind, elements), numpy_helper.from_array(np.array([2, -1], np.int64), "shape"),
                 numpy_helper.from_array(np.array([1, 3], np.int64), "indices")]
    nodes = {"Cast": [helper.make_node("Cast", ["w"], ["y"], name="the_node", to=TensorProto.FLOAT)],
             "Reshape": [helper.make_node("Reshape", ["w", "shape"], ["r"], name="first"), helper.make_node("Cast", ["r"], ["y"], name="the_node", to=1)],
             "Gather": [helper.make_node("Gather", ["w", "indices"], ["r"], name="the_node"), helper.make_node("Cast", ["r"], ["y"], to=1)],
             "Concat": [helper.make_node("Concat", ["w", "w"], ["r"], name="the_node", axis=0), helper.make_node("Cast", ["r"], ["y"], to=1)],
             "Add": [helper.make_node("Add", ["w", "w"], ["y"], name="the_node")],
             "output": [helper.make_node("Identity", ["w"], ["y"], name="the_node")],
             "input": [helper.make_node("Cast", ["v"], ["y"], name="the_node", to=TensorProto.FLOAT)]}[how]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]), helper.make_tensor_value_info("v", number, [elements])]
    graph = helper.make_graph([*nodes, helper.make_node("Identity", ["x"], ["z"])], "narrow", inputs[:1] if how != "input" else inputs,
                              [onnx.ValueInfoProto(name="y"), onnx.ValueInfoProto(name="z")], constants if how != "input" else [])
    (tmp_path / "model.onnx").write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11).SerializeToString())
    done = subprocess.run([str(build_dir / "bin/edgecc"), str(tmp_path / "model.onnx"), "-o", str(tmp_path / "model.edge")], capture_output=True, text=True)
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr[-2000:])
    named = any(name in done.stderr for name in ("the_node", "first", "'w'", '"y"', '"v"', "'v'", "'y'"))
    assert named and "LLVM" not in done.stderr and "not supported" in done.stderr or "cannot be" in done.stderr or "no tensors" in done.stderr, done.stderr
