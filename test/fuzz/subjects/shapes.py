"""Shape arithmetic: sizes taken apart, computed and put together, and what is built of them."""

from __future__ import annotations

import numpy as np

from graph import I64, Case, Graph, Size


class Arithmetic:
    """Scalars and lists of sizes, with the numbers they have in each call."""

    def __init__(self, g: Graph, sizes: list[Size]):
        self.g, self.known = g, [(g("Squeeze", g.extent(s)) if g.chance(0.8) else g("Squeeze", g.extent(s), g.ints(0)), s.values) for s in sizes]

    def step(self) -> None:
        g = self.g
        value, numbers = self.known[g.rng.integers(len(self.known))]
        other, others = self.known[g.rng.integers(len(self.known))]
        how = g.rng.integers(9)
        number = int(g.pick(1, 2, 3))
        constant = g.param(number, I64)
        if how == 0:
            made = g("Add", value, other), [a + b for a, b in zip(numbers, others)]
        elif how == 1:
            made = g("Mul", value, constant), [a * number for a in numbers]
        elif how == 2:
            made = g("Div", value, constant), [a // number for a in numbers]
        elif how == 3:
            made = g("Sub", value, constant), [a - number for a in numbers]
        elif how == 4:
            made = g("Mod", value, constant), [a % number for a in numbers]
        elif how == 5:
            made = g("Max", value, other), [max(a, b) for a, b in zip(numbers, others)]
        elif how == 6:
            made = g("Min", value, constant), [min(a, number) for a in numbers]
        elif how == 7:  # the ceiling of a quotient, in floats
            quotient = g("Div", g("Cast", value, to=1), g.scalar(float(number)))
            made = g("Cast", g("Squeeze", g("Ceil", quotient)), to=7), [-(-a // number) for a in numbers]
        else:
            condition = g(g.pick("Greater", "Less"), value, constant)
            greater = g.nodes[-1].op_type == "Greater"
            made = (g("Where", condition, value, other),
                    [a if (a > number if greater else a < number) else b for a, b in zip(numbers, others)])
        if max(made[1]) <= 40 and min(made[1]) >= 0:
            self.known.append((made[0], tuple(made[1])))

    def within(self, size: Size) -> str:
        """A value that is never more than a size: what reaches beyond a free size is not defined."""
        fitting = [v for v, numbers in self.known if all(0 <= n <= s for n, s in zip(numbers, size.values))]
        return fitting[self.g.rng.integers(len(fitting))] if fitting else self.g.param(0, I64)

    def pick(self, least: int = 1, most: int = 12) -> tuple[str, tuple[int, ...]]:
        fitting = [k for k in self.known if min(k[1]) >= least and max(k[1]) <= most]
        return fitting[self.g.rng.integers(len(fitting))] if fitting else (self.g.param(least, I64), (least,) * self.g.CALLS)


def one(g: Graph, value: str) -> str:
    return g("Unsqueeze", value, g.ints(0)) if g.chance(0.6) else g("Reshape", value, g.ints(1))


def use(g: Graph, a: Arithmetic, x: str, shape: list[Size]) -> str:
    """Something whose shape or contents are the sizes."""
    how = g.rng.integers(8)
    if how == 0:
        n, _ = a.pick(0)
        ranged = g("Range", g.param(0, I64), n, g.param(int(g.pick(1, 2)), I64))
        return g("Mul", g("Cast", ranged, to=1), g.scalar(0.5))
    if how == 1:
        (n, _), (m, _) = a.pick(0), a.pick(0)
        target = g("Concat", one(g, n), one(g, m), axis=0)
        return g("Expand", g.scalar(2.0), target) if g.chance(0.5) else g("Cast", g("ConstantOfShape", target), to=1)
    if how == 2:
        axis = int(g.rng.integers(len(shape)))
        return g("Slice", x, g.ints(0), one(g, a.within(shape[axis])), g.ints(axis))
    if how == 3:
        axis = int(g.rng.integers(len(shape)))
        return g("Slice", x, one(g, a.within(shape[axis])), g.ints(2**62), g.ints(axis))
    if how == 4:
        return g("Mul", x, g("Cast", a.pick(0, 40)[0], to=1))
    if how == 5:
        n, _ = a.pick(0, 4)
        pads = [g.ints(0)] * (2 * len(shape))
        pads[g.rng.integers(len(pads))] = one(g, n)
        return g("Pad", x, g("Concat", *pads, axis=0))
    if how == 6:
        flat = g("Reshape", x, g.ints(-1))
        back = g("Concat", *[g.extent(s) for s in shape], axis=0) if g.chance(0.5) else g("Shape", x)
        return g("Reshape", flat, back)
    n, _ = a.pick(1, 4)
    repeats = [g.ints(1)] * len(shape)
    repeats[g.rng.integers(len(shape))] = one(g, n)
    return g("Tile", x, g("Concat", *repeats, axis=0))


def shapes(rng: np.random.Generator) -> Case:
    g = Graph(rng, dynamic=0.85)
    shape = [g.size("abc"[i], 1, 5) if g.chance(0.7) else g.fixed(int(g.pick(1, 2, 4))) for i in range(int(g.rng.integers(1, 4)))]
    x = g.input("x", shape)
    a = Arithmetic(g, shape)
    for _ in range(int(g.rng.integers(0, 6))):
        a.step()
    for _ in range(int(g.pick(1, 1, 2))):
        g.output(use(g, a, x, shape))
    if g.chance(0.4):
        g.output(g("Concat", *[one(g, v) for v, _ in a.known[-3:]], axis=0), I64)
    return g.case(f"rank {len(shape)}")
