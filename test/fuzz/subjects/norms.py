"""Layer and RMS norms in every spelling, scaled or not, and what comes between their parts."""

from __future__ import annotations

import numpy as np

from graph import F32, Case, Graph, Size


def mean(g: Graph, x: str, width: int) -> str:
    how = g.rng.integers(5)
    if how == 0:
        return g("ReduceMean", x, axes=[-1], keepdims=1)
    if how == 1:
        return g("ReduceMean", x, axes=[g.rank - 1], keepdims=1)
    total = g("ReduceSum", x, g.ints(-1), keepdims=1)
    if how == 2:
        return g("Div", total, g.scalar(float(width)))
    if how == 3:
        return g("Mul", total, g.scalar(1 / width))
    return g("Mul", g.scalar(1 / width), total)


def square(g: Graph, x: str) -> str:
    return g("Mul", x, x) if g.chance(0.5) else g("Pow", x, g.scalar(2.0))


def casts(g: Graph, x: str) -> str:
    return g("Cast", g("Cast", x, to=10), to=1) if g.chance(0.05) else x


def divided(g: Graph, numerator: str, variance: str, epsilon: float) -> str:
    inner = g("Add", *((variance, g.scalar(epsilon)) if g.chance(0.7) else (g.scalar(epsilon), variance)))
    how = g.rng.integers(5)
    if how == 0:
        return g("Div", numerator, g("Sqrt", inner))
    if how == 1:
        return g("Mul", numerator, g("Reciprocal", g("Sqrt", inner)))
    if how == 2:
        return g("Mul", numerator, g("Div", g.scalar(1.0), g("Sqrt", inner)))
    if how == 3:
        return g("Mul", numerator, g("Pow", inner, g.scalar(-0.5)))
    return g("Div", numerator, g("Pow", inner, g.scalar(0.5)))


def row(g: Graph, shape: list[Size], width: int) -> str:
    """A scale or bias: mostly a row, sometimes what broadcasts in another way; a constant or an input."""
    if g.chance(0.15):
        kept = [s if g.chance(0.5) else g.fixed(1) for s in shape]
        return g.input(g.fresh("r"), kept[int(g.rng.integers(0, len(kept))):])
    if g.chance(0.15):
        return g.input(g.fresh("r"), [width])
    if g.chance(0.1):
        return g.scalar(1.25)
    lead = (1,) * int(g.pick(0, 0, 0, 1, len(shape) - 1))
    return g.param(g.array(*lead, width) + 1, F32)


def spelled(g: Graph, x: str, shape: list[Size], width: int) -> str:
    epsilon = float(g.pick(1e-5, 1e-6, 1e-12, 0.0625, 0.0))
    kind = g.rng.integers(4)
    if kind == 0:  # RMS
        y = divided(g, x, mean(g, square(g, x), width), epsilon)
    elif kind == 1:  # layer
        centered = g("Sub", x, mean(g, x, width))
        again = g("Sub", x, mean(g, x, width)) if g.chance(0.2) else centered
        y = divided(g, centered, mean(g, square(g, again), width), epsilon)
    elif kind == 2:  # the other form of the variance
        m = mean(g, x, width)
        variance = g("Sub", mean(g, square(g, x), width), square(g, m))
        if g.chance(0.4):
            variance = g("Max", variance, g.scalar(0.0)) if g.chance(0.5) else g("Relu", variance)
        y = divided(g, g("Sub", x, m), variance, max(epsilon, 1e-5))
    else:  # folded
        m = mean(g, x, width)
        variance = mean(g, square(g, g("Sub", x, m)), width)
        factor = divided(g, row(g, shape, width) if g.chance(0.7) else g.scalar(1.0), variance, max(epsilon, 1e-5))
        shift = g("Mul", m, factor)
        whole = g("Mul", x, factor)
        return g("Add", whole, g("Sub", row(g, shape, width), shift)) if g.chance(0.6) else g("Sub", whole, shift)
    y = casts(g, y)
    for op in ("Mul", "Add"):
        if g.chance(0.7):
            other = row(g, shape, width)
            y = g(op, *((y, other) if g.chance(0.6) else (other, y)))
    return y


def operator(g: Graph, x: str, shape: list[Size], width: int) -> str:
    how, rank = g.rng.integers(4), len(shape)
    scale, bias = g.param(g.array(width) + 1, F32), g.param(g.array(width), F32)
    if how < 2 and g.chance(0.3):  # a scale with leading sizes, of 1 or of the input
        lead = [int(s.dim) if s.fixed and g.chance(0.5) else 1 for s in shape[:-1]][int(g.rng.integers(0, rank)):]
        scale = g.param(g.array(*lead, width) + 1, F32)
    if how == 0:
        outs = int(g.pick(1, 3))
        results = g("LayerNormalization", x, scale, *([bias] if g.chance(0.7) else []), outs=outs, axis=int(g.pick(-1, rank - 1)), epsilon=1e-5)
        if outs > 1:
            g.output(results[1])
            g.output(results[2])
        return results if outs == 1 else results[0]
    if how == 1:
        return g("LayerNormalization", x, scale, axis=-1, epsilon=float(g.pick(0.1, 1e-6)))
    if how == 2:
        return g("SimplifiedLayerNormalization", x, scale, axis=-1, epsilon=1e-5)
    skip = g("Mul", x, g.scalar(0.5))
    outs = g("SkipLayerNormalization", x, skip, scale, bias, *([bias] if g.chance(0.4) else []), outs=4, domain="com.microsoft", epsilon=1e-5)
    g.nodes[-1].output[1] = g.nodes[-1].output[2] = ""
    if g.chance(0.6):
        g.output(outs[3])
    return outs[0]


def norms(rng: np.random.Generator) -> Case:
    g = Graph(rng)
    width = int(g.pick(1, 4, 6, 16, 33))
    shape = [g.size("b", 1, 3), g.size("s")][int(g.rng.integers(0, 2)):] + ([g.fixed(2)] if g.chance(0.3) else [])
    shape.append(g.fixed(width))
    g.rank = len(shape)
    x = g.input("x", shape)
    if g.chance(0.3):
        x = g("Add", x, g.input("y", shape))
        if g.chance(0.5):
            g.output(x)
    for _ in range(int(g.pick(1, 1, 2))):
        if g.rank == 3 and g.chance(0.25):
            x = operator(g, x, shape, width)
        else:
            x = spelled(g, x, shape, width)
    if g.chance(0.4):
        x = g("MatMul", x, g.param(g.array(width, 5)))
    g.output(x)
    return g.case(f"width {width}")
