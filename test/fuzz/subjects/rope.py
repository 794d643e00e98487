"""Rotary embeddings: halves or neighbours, whole heads or a part, tables or angles computed, and nearly so."""

from __future__ import annotations

import numpy as np

from graph import F32, I64, Case, Graph, Size, uniform_ints

MANY = 2**62


def cut(g: Graph, x: str, first: int, last: int, axis: int, step: int = 1) -> str:
    if step == 1 and g.chance(0.5):
        return g("Slice", x, g.ints(first), g.ints(last), g.ints(axis))
    return g("Slice", x, g.ints(first), g.ints(last), g.ints(axis), g.ints(step))


def tables(g: Graph, shape: list[Size], half: int, heads_first: bool) -> tuple[str, str, int]:
    """cos and sin that broadcast to the queries, and their width; angles are equal in pairs."""
    b, tokens = shape[0], shape[2 if heads_first else 1]
    how = g.rng.integers(4)
    wide = g.chance(0.7)
    width = 2 * half if wide else half
    if how == 0:  # rows of a table, by an input or by counting
        angle = np.outer(np.arange(32), 10.0 ** (-np.arange(half) / half))
        cos, sin = ((np.concatenate([f(angle)] * 2, -1) if wide else f(angle)) for f in (np.cos, np.sin))
        if g.interleaved and wide:
            cos, sin = (np.repeat(f(angle), 2, -1) for f in (np.cos, np.sin))
        if g.chance(0.6):
            at = g.input("p", [b, tokens], uniform_ints(0, 32), I64)
        else:
            at = g("Unsqueeze", g("Range", g.param(0, I64), g("Squeeze", g.extent(tokens)), g.param(1, I64)), g.ints(0))
        c, s = g("Gather", g.param(cos, F32), at), g("Gather", g.param(sin, F32), at)
    elif how == 1:  # angles of positions
        at = g("Cast", g("Unsqueeze", g.input("p", [b, tokens], uniform_ints(0, 100), I64), g.ints(1)), to=1)
        inverse = g.param(10.0 ** (-np.arange(half) / half), F32)
        frequency = g("MatMul", g("Reshape", inverse, g.ints(1, half, 1)), at)
        frequency = g("Transpose", frequency, perm=[0, 2, 1])
        if wide and g.interleaved:
            column = g("Unsqueeze", frequency, g.ints(3))
            frequency = g("Reshape", g("Concat", column, column, axis=-1), g.ints(0, 0, 2 * half))
        elif wide:
            frequency = g("Concat", frequency, frequency, axis=-1)
        c, s = g("Cos", frequency), g("Sin", frequency)
        if g.chance(0.2):
            c, s = g("Mul", c, g.scalar(1.25)), g("Mul", s, g.scalar(1.25))
    else:  # inputs of the graph: nothing says that they are equal in pairs
        sizes = [g.pick(b, g.fixed(1)), tokens]
        c, s = g.input("cos", [*sizes, width]), g.input("sin", [*sizes, width])
        if how == 3 and wide:
            front, back = (cut(g, t, 0, half, 2) for t in (c, s))
            c, s = g("Concat", front, front, axis=-1), g("Concat", back, back, axis=-1)
    axis = 1 if heads_first else 2
    return g("Unsqueeze", c, g.ints(axis)), g("Unsqueeze", s, g.ints(axis)), width


def turned(g: Graph, x: str, half: int) -> str:
    """The pairs (a, b) as (-b, a)."""
    if not g.interleaved:
        if g.chance(0.3):
            front, back = g("Split", x, g.ints(half, half), outs=2, axis=-1)
        else:
            front, back = cut(g, x, 0, half, 3), cut(g, x, half, int(g.pick(2 * half, MANY)), 3)
        return g("Concat", g("Neg", back) if g.chance(0.8) else g("Mul", back, g.scalar(-1.0)), front, axis=-1)
    even, odd = cut(g, x, 0, MANY, 3, 2), cut(g, x, 1, MANY, 3, 2)
    columns = [g("Unsqueeze", v, g.ints(4)) for v in (g("Neg", odd), even)]
    return g("Reshape", g("Concat", *columns, axis=-1), g.ints(0, 0, 0, 2 * half))


def rotated(g: Graph, x: str, c: str, s: str, half: int) -> str:
    products = [g("Mul", *((x, c) if g.chance(0.6) else (c, x))), g("Mul", turned(g, x, half), s)]
    return g("Add", *(products if g.chance(0.7) else reversed(products)))


def apart(g: Graph, x: str, c: str, s: str, half: int) -> str:
    """Sides rotated apart and put together again; the tables have half of the width."""
    if g.interleaved:
        a, b = cut(g, x, 0, MANY, 3, 2), cut(g, x, 1, MANY, 3, 2)
    else:
        a, b = cut(g, x, 0, half, 3), cut(g, x, half, MANY, 3)
    first = g("Sub", g("Mul", a, c), g("Mul", b, s))
    second = g("Add", g("Mul", b, c), g("Mul", a, s)) if g.chance(0.5) else g("Add", g("Mul", a, s), g("Mul", b, c))
    if not g.interleaved:
        return g("Concat", first, second, axis=-1)
    return g("Reshape", g("Concat", *[g("Unsqueeze", v, g.ints(4)) for v in (first, second)], axis=-1), g.ints(0, 0, 0, 2 * half))


def rope(rng: np.random.Generator) -> Case:
    g = Graph(rng)
    half, rest = int(g.pick(1, 2, 3, 4)), int(g.pick(0, 0, 2, 3))
    g.interleaved = g.chance(0.4)
    heads_first = g.chance(0.65)
    b, tokens, heads = g.size("b", 1, 3), g.size("s"), g.fixed(int(g.pick(1, 2, 3)))
    shape = [b, heads, tokens] if heads_first else [b, tokens, heads]
    x = g.input("x", [*shape, 2 * half + rest])
    if not heads_first and g.chance(0.4):
        x, heads_first, shape = g("Transpose", x, perm=[0, 2, 1, 3]), True, [b, heads, tokens]
    c, s, width = tables(g, shape, half, heads_first)
    whole = x
    if rest:
        first = int(g.pick(0, 0, 0, rest))
        x = cut(g, whole, first, first + 2 * half, 3)
    if g.chance(0.15):
        x = g("Cast", g("Cast", x, to=10), to=1)
    y = rotated(g, x, c, s, half) if width == 2 * half else apart(g, x, c, s, half)
    if rest:
        other = cut(g, whole, 2 * half, MANY, 3) if first == 0 else cut(g, whole, 0, rest, 3)
        y = g("Concat", *((y, other) if first == 0 or g.chance(0.3) else (other, y)), axis=-1)
    if g.chance(0.3):
        y = g("MatMul", y, g("Transpose", y, perm=[0, 1, 3, 2]))
    g.output(y)
    return g.case(f"half {half}, rest {rest}, {'interleaved' if g.interleaved else 'halves'}, table {width}")
