"""Elementwise operators and reductions: all element types, special values, every broadcast."""

from __future__ import annotations

import numpy as np

from graph import BOOL, F16, F32, I32, I64, Array, Case, Graph, Maker, Size

FLOAT_UNARY = ["Abs", "Neg", "Exp", "Log", "Sqrt", "Reciprocal", "Floor", "Ceil", "Round", "Sigmoid", "Tanh", "Erf", "Relu", "Sin", "Cos", "Tan",
               "Sign", "Softplus", "Softsign", "Elu", "Selu", "LeakyRelu", "HardSigmoid", "HardSwish", "Celu", "Atan", "Asinh", "Sinh",
               "ThresholdedRelu", "Identity"]
BINARY = ["Add", "Sub", "Mul", "Div", "Min", "Max", "Pow", "Mod", "PRelu"]
COMPARE = ["Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"]
REDUCE = ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "ArgMax", "ArgMin",
          "Softmax", "LogSoftmax", "Hardmax", "TopK", "ReduceLogSum"]
DTYPES = [F32] * 8 + [F16, F16, I32, I64, I64, np.int8, np.uint8, np.int16, np.uint16, np.uint32, np.uint64, BOOL]
TO = {1: F32, 10: F16, 6: I32, 7: I64, 3: np.int8, 2: np.uint8, 9: BOOL, 5: np.int16, 4: np.uint16, 12: np.uint32, 13: np.uint64}


def maker(dtype: object, special: float) -> Maker:
    """Random values, a share of them special ones of the type."""
    kind = np.dtype(dtype).kind

    def make(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        if kind == "b":
            return rng.random(shape) < 0.5
        if kind == "f":
            values, rare = rng.standard_normal(shape) * 2, [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, -2.5, 60000.0]
        else:
            info = np.iinfo(dtype)
            values, rare = rng.integers(0 if kind == "u" else -20, 20, shape), [info.min, info.max, 0, 1]
        with np.errstate(all="ignore"):
            result = np.asarray(values).astype(dtype)
            return np.where(rng.random(shape) < special, rng.choice(np.array(rare, dtype), shape), result).astype(dtype)
    return make


class Elements:
    def __init__(self, g: Graph, shape: list[Size], special: float):
        self.g, self.shape, self.special, self.known = g, shape, special, []

    def operand(self, dtype: object) -> str:
        """A value of this type: known, an input with a shape that broadcasts, or a constant."""
        fitting = [n for n, d in self.known if d is dtype]
        how = self.g.rng.random()
        if fitting and how < 0.6:
            return self.g.pick(*fitting)
        if how < 0.85:
            kept = [s if self.g.chance(0.7) else self.g.fixed(1) for s in self.shape]
            kept = kept[int(self.g.rng.integers(len(kept) + 1)):] if self.g.chance(0.3) else kept
            return self.g.input(self.g.fresh("i"), kept, maker(dtype, self.special), dtype)
        shape = tuple(int(s.dim) if s.fixed and self.g.chance(0.5) else 1 for s in self.shape)
        return self.g.param(maker(dtype, 0.05)(self.g.rng, shape if self.g.chance(0.5) else ()))

    def step(self, x: str, dtype: object) -> tuple[str, object]:
        g, kind = self.g, np.dtype(dtype).kind
        how = g.rng.random()
        if how < 0.12:
            to = int(g.pick(*TO))
            return g("Cast", x, to=to), TO[to]
        if kind == "b":
            if how < 0.5:
                return g("Not", x), BOOL
            if how < 0.8:
                return g(g.pick("And", "Or", "Xor"), x, self.operand(BOOL)), BOOL
            return g("Where", x, self.operand(F32), self.operand(F32)), F32
        if how < 0.25:
            return g(g.pick(*COMPARE), x, self.operand(dtype)), BOOL
        if how < 0.33:
            return g("Where", self.operand(BOOL), x, self.operand(dtype)), dtype
        if how < 0.6:
            op = g.pick(*BINARY[:-1]) if kind != "f" or np.dtype(dtype).itemsize < 4 else g.pick(*BINARY)
            other = self.operand(dtype)
            if kind != "f" and op in ("Div", "Mod"):  # not by 0, and not the lowest by -1
                other = g.param(np.array(g.pick(1, 2, 3, 7), dtype))
            if op == "Pow":
                other = g.param(np.array(g.pick(0, 1, 2, 3), dtype)) if kind != "f" or g.chance(0.6) else other
            attributes = {"fmod": 1} if op == "Mod" and kind == "f" else {}
            return g(op, *((x, other) if g.chance(0.7) or op in ("Div", "Mod", "Pow", "PRelu") else (other, x)), **attributes), dtype
        if how < 0.66:
            low, high = np.array(g.pick(-1, 0, 0), dtype) if kind != "u" else np.array(0, dtype), np.array(5, dtype)
            return g("Clip", x, g.param(low) if g.chance(0.8) else "", *([g.param(high)] if g.chance(0.7) else [])), dtype
        if kind == "f":
            if how < 0.7:
                return g(g.pick("IsNaN", "IsInf"), x), BOOL
            return g(g.pick(*FLOAT_UNARY), x), dtype
        return g(g.pick("Abs", "Sign") if kind == "i" or g.chance(0.5) else "Identity", x), dtype

    def reduced(self, x: str, dtype: object) -> tuple[str, object]:
        """The last step; the shape is not known behind it."""
        g, op, rank = self.g, self.g.pick(*REDUCE), len(self.shape)
        if np.dtype(dtype).kind != "f" and op not in ("ReduceSum", "ReduceMax", "ReduceMin", "ArgMax", "ArgMin", "ReduceProd"):
            op = "ReduceMax"
        if np.dtype(dtype).itemsize < 4 and dtype is not F16:
            x, dtype = g("Cast", x, to=6), I32
        axis = int(g.rng.integers(-rank, rank))
        if op in ("Softmax", "LogSoftmax", "Hardmax"):
            return g(op, x, axis=axis), dtype
        if op in ("ArgMax", "ArgMin"):
            return g(op, x, axis=axis, keepdims=int(g.chance(0.5)), select_last_index=int(g.chance(0.3))), I64
        if op == "TopK":
            size = self.shape[axis]
            values, indices = g("TopK", x, g.ints(int(g.rng.integers(1, min(size.values) + 1))), outs=2, axis=axis, largest=int(g.chance(0.6)))
            g.output(indices, I64)
            return values, dtype
        axes = sorted({int(a) for a in g.rng.integers(0, rank, int(g.pick(1, 1, 2)))})
        keep = int(g.chance(0.5))
        return (g(op, x, g.ints(*axes), keepdims=keep) if op == "ReduceSum" else g(op, x, axes=axes, keepdims=keep)), dtype


def elementwise(rng: np.random.Generator) -> Case:
    g = Graph(rng)
    low = 0 if g.chance(0.06) else 1
    shape = [g.size("abcd"[i], low, 5) if g.chance(0.5) else g.fixed(int(g.pick(1, 2, 3, 17))) for i in range(int(g.rng.integers(1, 4)))]
    dtype = g.pick(*DTYPES)
    e = Elements(g, shape, special=float(g.pick(0, 0, 0.1, 0.3)))
    x = g.input("x", shape, maker(dtype, e.special), dtype)
    e.known.append((x, dtype))
    for _ in range(int(g.pick(1, 1, 2, 3, 5, 8))):
        x, dtype = e.step(x, dtype)
        e.known.append((x, dtype))
        if g.chance(0.1):
            g.output(x, dtype)
    if g.chance(0.4) and np.dtype(dtype).kind != "b":
        x, dtype = e.reduced(x, dtype)
    g.output(x, dtype)
    return g.case(f"rank {len(shape)}, special {e.special}")
