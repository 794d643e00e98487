"""NaN, infinities, zeros with a sign, denormals and overflow through every operator that has an opinion on them: as ONNX Runtime,
or as ONNX's definition where ONNX Runtime departs from it; on the host and on AArch64 alike.

    pytest test/e2e/test_special_values.py [--build-dir build] [--aarch64-build-dir build/aarch64]

All operators of a group are outputs of one graph, which is compiled once for each element type and target.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import onnx  # noqa: E402
import onnxruntime  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import edgecc  # noqa: E402

F32, F16, BF16, I64, BOOL = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT64, TensorProto.BOOL)
TYPES = {"f32": F32, "f16": F16, "bf16": BF16}
NAN, INF = np.nan, np.inf
# Of f32; 6e-8 and 1e-40 are denormals of f16 and f32.
VALUES = np.array([NAN, INF, -INF, 0.0, -0.0, 1.4e-45, -1e-40, 6e-8, 1.2e-38, -3.4e38, 3.4e38, 65504, -65504, 1, -1, 0.5, -0.5, 1.5,
                   2.5, -2.5, 2, 3, -3, 88.5, 89.5, -87, -104, 0.1, 20, -20, 4.5, -7], np.float32)
ALL = np.stack([a.ravel() for a in np.meshgrid(VALUES, VALUES)])  # every pair of them
ROWS = np.array([[NAN, 1, 2], [1, NAN, 2], [1, 2, NAN], [INF, 1, 2], [-INF, 1, 2], [-INF, -INF, -INF], [INF, INF, 1], [INF, -INF, 0],
                 [-0.0, 0.0, -0.0], [0.0, -0.0, 0.0], [NAN, INF, -INF], [NAN, NAN, NAN], [1, 1, 1], [-1, -2, -3], [1e-45, 0, -1e-45],
                 [-1e4, -1e4, -1e4], [-3.4e38, -3.4e38, -3.4e38], [3e38, 3e38, 3e38], [100, 200, -300]], np.float32)

UNARY = ["Abs", "Neg", "Relu", "Sign", "Floor", "Ceil", "Round", "Sqrt", "Reciprocal", "Exp", "Log", "Erf", "Tanh", "Sigmoid", "Softplus",
         "Softsign", "Elu", "Selu", "Celu", "LeakyRelu", "ThresholdedRelu", "HardSigmoid", "HardSwish", "Mish", "Gelu", "IsNaN", "IsInf", "Sin",
         "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "Shrink", "Identity"]
BINARY = ["Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Equal", "PRelu", "Mod"]
# What says something of the sign of a zero.
SIGNED = {"Abs", "Neg", "Floor", "Ceil", "Round", "Sqrt", "Reciprocal", "Identity", "Mul", "Div", "Add", "Sub", "LeakyRelu", "Tanh",
          "Mod", "Pow", "Pow.3", "Pow.-1", "Pow.-3", "Pow.0.5"}
REDUCTIONS = ["ReduceMax", "ReduceMin", "ReduceSum", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp",
              "ReduceSumSquare"]


# ONNX Runtime approximates a sigmoid coarsely, clips at the largest number where there is no limit, and folds NaN only where it
# comes first: here the definitions.
OURS = {
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x.astype(np.float64))),
    "Clip.low": lambda x: np.maximum(x, -2), "Clip.high": lambda x: np.minimum(x, 2),
    "ReduceMax": lambda r: r.max(1, keepdims=True), "ReduceMin": lambda r: r.min(1, keepdims=True),
}
# The sine of what f32 holds in steps of more than 1e-2: no digit is right, but it is a sine (test_large_angles).
LARGE = 1e5


def bfloat16(value: np.ndarray) -> np.ndarray:
    """f32 rounded to even in its upper half."""
    bits = value.astype(np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32)
    return np.where(np.isnan(value), np.float32(np.nan), rounded)


class Case:
    """Nodes on inputs of f32, which are rounded to the type under test, and results that are widened back."""

    def __init__(self, element: int, feeds: dict[str, np.ndarray]):
        self.element, self.feeds = element, feeds
        self.lines: list[tuple[str, str, list[str], dict, int]] = []
        self.constants: dict[str, np.ndarray] = {}

    def add(self, name: str, op: str, inputs: list[str], result: int | None = None, **attributes) -> None:
        self.lines.append((name, op, inputs, attributes, self.element if result is None else result))

    def model(self, element: int) -> onnx.ModelProto:
        """With the operators in `element`: in f32 it is the oracle of narrower types, since those are computed in f32."""
        nodes = []

        def cast(name, result, to):
            nodes.append(helper.make_node("Cast", [name], [result], to=to))
            return result
        names = {}
        for name in self.feeds:
            rounded = cast(name, f"{name}.rounded", self.element)
            names[name] = rounded if element == self.element else cast(rounded, f"{name}.wide", element)
        names.update({name: name for name, value in self.constants.items() if value.dtype != np.float32})
        names.update({name: cast(name, f"{name}.rounded", element) for name, value in self.constants.items() if value.dtype == np.float32})
        outputs = []
        for name, op, inputs, attributes, result in self.lines:
            nodes.append(helper.make_node(op, [names.get(i, i) for i in inputs], [f"{name}.raw"], name=name, **attributes))
            if result == self.element:
                cast(f"{name}.raw", f"{name}.narrow", self.element)
                cast(f"{name}.narrow", name, F32)
            else:
                nodes.append(helper.make_node("Identity", [f"{name}.raw"], [name]))
            outputs.append(helper.make_tensor_value_info(name, F32 if result == self.element else result, None))
        inputs = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
                  for name, value in self.feeds.items()]
        graph = helper.make_graph(nodes, "special", inputs, outputs, [numpy_helper.from_array(v, n) for n, v in self.constants.items()])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)

    def rounded(self, value: np.ndarray) -> np.ndarray:
        """As the nodes see it."""
        if self.element == BF16:
            return bfloat16(value)
        return value.astype(np.float16).astype(np.float32) if self.element == F16 else value

    def expected(self) -> dict[str, np.ndarray]:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(self.model(F32).SerializeToString(), options, providers=["CPUExecutionProvider"])
        results = dict(zip([o.name for o in session.get_outputs()], session.run(None, self.feeds)))
        with np.errstate(all="ignore"):
            for name, function in OURS.items():
                if name in results:
                    inputs = next(i for n, _, i, _, _ in self.lines if n == name)
                    results[name] = self.rounded(function(*(self.rounded(self.feeds[i]) for i in inputs if i in self.feeds)).astype(np.float32))
        return results


def elementwise(element: int) -> Case:
    case = Case(element, {"x": VALUES, "a": ALL[0], "b": ALL[1]})
    case.constants = {f"c{e}": np.array(e, np.float32) for e in (0, 0.5, 1, 2, 3, -1, -2, -0.5, 2.5, -3)}
    case.constants |= {"low": np.array(-2, np.float32), "high": np.array(2, np.float32), "nan": np.array(NAN, np.float32)}
    for op in UNARY:
        case.add(op, op, ["x"], BOOL if op.startswith("Is") else None)
    case.add("IsInf.up", "IsInf", ["x"], BOOL, detect_negative=0)
    case.add("Gelu.tanh", "Gelu", ["x"], approximate="tanh")
    for op in BINARY:
        case.add(op, op, ["a", "b"], BOOL if op in ("Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Equal") else None,
                 **({"fmod": 1} if op == "Mod" else {}))
    for e in (0, 0.5, 1, 2, 3, -1, -2, -0.5, 2.5, -3):
        case.add(f"Pow.{e}", "Pow", ["x", f"c{e}"])
    case.add("Clip", "Clip", ["x", "low", "high"])
    case.add("Clip.low", "Clip", ["x", "low"])
    case.add("Clip.high", "Clip", ["x", "", "high"])
    case.add("Max.3", "Max", ["a", "b", "nan"])
    case.add("less", "Less", ["a", "b"], BOOL)
    case.add("Where", "Where", ["less.raw", "a", "b"])
    return case


def rows(element: int) -> Case:
    case = Case(element, {"r": ROWS})
    case.constants = {"axes": np.array([1], np.int64)}
    for op in REDUCTIONS:
        case.add(op, op, ["r", "axes"])
    for op in ("Softmax", "LogSoftmax"):
        case.add(op, op, ["r"], axis=1)
    for op in ("ArgMax", "ArgMin"):
        case.add(op, op, ["r"], I64, axis=1)
        case.add(f"{op}.last", op, ["r"], I64, axis=1, select_last_index=1)
    return case


GROUPS = {"elementwise": elementwise, "rows": rows}


# Differences near 1, of which little is left.
CANCEL = {"Gelu": 1e-6, "Gelu.tanh": 1e-6, "Mish": 1e-6, "Sigmoid": 1e-7, "Acosh": 1e-6, "LogSoftmax": 1e-6}


def relative(name: str, actual: np.ndarray, expected: np.ndarray, element: int) -> np.ndarray:
    """True where a value is right: NaN and infinite where it should be, else near."""
    if expected.dtype != np.float32:
        return actual == expected
    tolerance = max({F32: 4e-6, F16: 1.1e-3, BF16: 8e-3}[element], 3e-5 if name == "Pow" else 0)  # exp(y log x)
    # The last denormals of a type are far apart.
    least = {F32: 1e-38, F16: 6.1e-8, BF16: 1e-38}[element] + CANCEL.get(name, 0)
    with np.errstate(all="ignore"):
        near = np.abs(actual - expected) <= tolerance * np.abs(expected) + least
    if name in SIGNED:
        near &= (expected != 0) | (actual != 0) | (np.signbit(actual) == np.signbit(expected))
    return np.where(np.isnan(expected), np.isnan(actual), np.where(np.isinf(expected), actual == expected, near))


def run(case: Case, folder: Path, compiler: Path, command: list[str], *options: str) -> dict[str, np.ndarray]:
    onnx.save(case.model(case.element), folder / "model.onnx")
    np.savez(folder / "in.npz", **case.feeds)
    for line in ([str(compiler), folder / "model.onnx", "-o", folder / "model.edge", "--quiet", *options],
                 [*command, folder / "model.edge", "--inputs", folder / "in.npz", "--outputs", folder / "out.npz"]):
        done = subprocess.run(list(map(str, line)), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-4000:]
    return dict(np.load(folder / "out.npz"))


def check(case: Case, got: dict[str, np.ndarray]) -> None:
    wrong = []
    for name, expected in case.expected().items():
        right = relative(name, got[name], expected, case.element)
        inputs = next(i for n, _, i, _, _ in case.lines if n == name)
        if name in ("Sin", "Cos", "Tan"):
            right |= np.abs(case.rounded(case.feeds["x"])) > LARGE
        for at in np.argwhere(~right)[:6]:
            given = [case.feeds[i][tuple(at[:case.feeds[i].ndim])] for i in inputs if i in case.feeds and case.feeds[i].ndim >= 1
                     and case.feeds[i].shape[0] == expected.shape[0]]
            wrong.append(f"{name}({', '.join(map(str, given))})[{at}] = {got[name][tuple(at)]}, should be {expected[tuple(at)]}")
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong)


@pytest.mark.parametrize("element", TYPES)
@pytest.mark.parametrize("group", GROUPS)
def test_host(group, element, build_dir, tmp_path):
    case = GROUPS[group](TYPES[element])
    check(case, run(case, tmp_path, build_dir / "bin/edgecc", [str(build_dir / "bin/edgecc-run")]))


def test_large_angles(build_dir, tmp_path):
    """Beyond 1e5, where f32 has hardly any digits of an angle, sine and cosine stay between -1 and 1."""
    x = np.concatenate([np.geomspace(1, 3.4e38, 4000, dtype=np.float32), [INF, -INF, NAN]]).astype(np.float32)
    case = Case(F32, {"x": np.concatenate([x, -x])})
    case.add("Sin", "Sin", ["x"])
    case.add("Cos", "Cos", ["x"])
    got = run(case, tmp_path, build_dir / "bin/edgecc", [str(build_dir / "bin/edgecc-run")])
    x = case.feeds["x"]
    for name, function in (("Sin", np.sin), ("Cos", np.cos)):
        assert np.isnan(got[name][~np.isfinite(x)]).all() and (np.abs(got[name][np.isfinite(x)]) <= 1).all()
        near = np.abs(x) <= LARGE
        np.testing.assert_allclose(got[name][near], function(x[near].astype(np.float64)), atol=2e-6)


@pytest.mark.parametrize("element", TYPES)
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("variant, cpu", [("arm64-neon", "cortex-a53"), ("arm64-i8mm", "max")])
def test_aarch64(variant, cpu, group, element, build_dir, under_qemu, tmp_path):
    case = GROUPS[group](TYPES[element])
    check(case, run(case, tmp_path, build_dir / "bin/edgecc", under_qemu(cpu), "--target=linux-arm64", f"--variant={variant}"))


def test_sine_of_large_angles(build_dir, tmp_path):
    """Positions of long contexts are large angles; what libm says in float64 is the oracle."""
    graph = helper.make_graph([helper.make_node("Sin", ["x"], ["s"]), helper.make_node("Cos", ["x"], ["c"])], "angles",
                              [helper.make_tensor_value_info("x", F32, ["n"])], [helper.make_tensor_value_info(n, F32, None) for n in "sc"])
    source, edge = tmp_path / "model.onnx", tmp_path / "model.edge"
    source.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    subprocess.run([str(build_dir / "bin/edgecc"), str(source), "-o", str(edge), "--quiet", "--dim=n=1..4096"], check=True)
    model, rng = edgecc.load(edge), np.random.default_rng(0)
    for power in (0, 3, 5, 6, 9, 12):
        x = (rng.uniform(-1, 1, 4096) * 10.0 ** power).astype(np.float32)
        out = model.run({"x": x})
        np.testing.assert_allclose(out["s"], np.sin(x.astype(np.float64)), atol=2e-7)
        np.testing.assert_allclose(out["c"], np.cos(x.astype(np.float64)), atol=2e-7)
