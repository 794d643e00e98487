"""Chains of views and moves: what rearranges, cuts, joins, repeats and pads, over fixed, dynamic, empty and single sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Callable

import numpy as np

from graph import BOOL, F16, F32, I32, I64, Case, Graph, Maker, Size, uniform_ints

DTYPES = [F32] * 5 + [F16, I32, I64, np.int8, np.uint8, BOOL]


def maker(dtype: object) -> Maker:
    kind = np.dtype(dtype).kind
    if kind == "b":
        return lambda rng, shape: rng.random(shape) < 0.5
    return uniform_ints(0, 100, dtype) if kind in "iu" else lambda rng, shape: rng.standard_normal(shape).astype(dtype)


@dataclass
class Tensor:
    """A value with what is known of its shape."""

    name: str
    shape: list[Size]

    @property
    def rank(self) -> int:
        return len(self.shape)


def derived(values: list[int]) -> Size:
    """A size that is no named dimension: a number, or something computed."""
    return Size(values[0] if len(set(values)) == 1 else "?", tuple(values))


class Moves:
    def __init__(self, g: Graph, dtype: object):
        self.g, self.dtype = g, dtype

    def axis(self, x: Tensor, fixed: bool = False) -> int:
        fitting = [i for i, s in enumerate(x.shape) if s.fixed or not fixed]
        return int(self.g.pick(*fitting)) if fitting else -1

    def written(self, axis: int, rank: int) -> int:
        return axis - rank if self.g.chance(0.3) else axis

    # --- Each returns the new tensor, or none where it does not fit -----------------------------------------------------

    def transpose(self, x: Tensor) -> Tensor | None:
        perm = [int(i) for i in self.g.rng.permutation(x.rank)]
        return Tensor(self.g("Transpose", x.name, perm=perm), [x.shape[i] for i in perm])

    def merge(self, x: Tensor) -> Tensor | None:
        if x.rank < 2:
            return None
        at = int(self.g.rng.integers(x.rank - 1))
        one, two = x.shape[at], x.shape[at + 1]
        size = derived([a * b for a, b in zip(one.values, two.values)])
        shape = [*x.shape[:at], size, *x.shape[at + 2:]]
        if 0 in [v for s in x.shape for v in s.values]:
            return None
        return self.reshape(x, shape, at)

    def reshape(self, x: Tensor, shape: list[Size], rest: int) -> Tensor | None:
        """By a constant with a -1 and 0s, as far as a constant can say it."""
        target = []
        for i, size in enumerate(shape):
            if i == rest:
                target.append(-1)
            elif size.fixed:
                target.append(int(size.dim))
            elif i < x.rank and x.shape[i].values == size.values:
                target.append(0)
            else:
                return None
        return Tensor(self.g("Reshape", x.name, self.g.ints(*target)), shape)

    def split_axis(self, x: Tensor) -> Tensor | None:
        at = self.axis(x, fixed=True)
        if at < 0 or int(x.shape[at].dim) < 2:
            return None
        whole = int(x.shape[at].dim)
        part = int(self.g.pick(*[d for d in range(1, whole + 1) if whole % d == 0]))
        shape = [*x.shape[:at], self.g.fixed(part), self.g.fixed(whole // part), *x.shape[at + 1:]]
        return self.reshape(x, shape, int(self.g.pick(at, at + 1)))

    def unsqueeze(self, x: Tensor) -> Tensor | None:
        at = int(self.g.rng.integers(x.rank + 1))
        return Tensor(self.g("Unsqueeze", x.name, self.g.ints(self.written(at, x.rank + 1))), [*x.shape[:at], self.g.fixed(1), *x.shape[at:]])

    def squeeze(self, x: Tensor) -> Tensor | None:
        ones = [i for i, s in enumerate(x.shape) if s.dim == 1]
        if not ones:
            return None
        at = int(self.g.pick(*ones))
        return Tensor(self.g("Squeeze", x.name, self.g.ints(self.written(at, x.rank))), x.shape[:at] + x.shape[at + 1:])

    def slice(self, x: Tensor) -> Tensor | None:
        at = self.axis(x)
        step = int(self.g.pick(1, 1, 1, 2, 3, -1, -2))
        first, last = (int(self.g.pick(0, 1, 2, -1, -2, -100, 100, 2**62)) for _ in range(2))
        if step < 0:
            first, last = int(self.g.pick(-1, 100, 1, 2**62)), int(self.g.pick(0, -100, -2**62, -3))
        values = [len(range(n)[slice(first, last, step)]) for n in x.shape[at].values]
        if 0 in values and self.g.chance(0.8):
            return None
        g = self.g
        name = g("Slice", x.name, g.ints(first), g.ints(last), g.ints(self.written(at, x.rank)), *([g.ints(step)] if step != 1 or g.chance(0.5) else []))
        return Tensor(name, [*x.shape[:at], derived(values), *x.shape[at + 1:]])

    def gather(self, x: Tensor) -> Tensor | None:
        at = self.axis(x)
        smallest = min(x.shape[at].values)
        if smallest == 0:
            return None
        shape = self.g.pick((), (1,), (3,), (2, 2), (0,)) if self.g.chance(0.9) else (smallest,)
        low = -smallest if self.g.chance(0.3) else 0
        indices = self.g.rng.integers(low, smallest, shape)
        name = self.g("Gather", x.name, self.g.param(indices, I64), axis=self.written(at, x.rank))
        return Tensor(name, [*x.shape[:at], *map(self.g.fixed, shape), *x.shape[at + 1:]])

    def concat(self, x: Tensor) -> Tensor | None:
        at = self.axis(x)
        parts = [x.name] * int(self.g.pick(1, 2, 2, 3))
        values = [n * len(parts) for n in x.shape[at].values]
        if all(s.fixed for i, s in enumerate(x.shape) if i != at) and self.g.chance(0.4):
            extra = int(self.g.pick(0, 1, 2))
            shape = tuple(extra if i == at else int(s.dim) for i, s in enumerate(x.shape))
            parts.insert(int(self.g.rng.integers(len(parts) + 1)), self.g.param(maker(self.dtype)(self.g.rng, shape)))
            values = [v + extra for v in values]
        return Tensor(self.g("Concat", *parts, axis=self.written(at, x.rank)), [*x.shape[:at], derived(values), *x.shape[at + 1:]])

    def pad(self, x: Tensor) -> Tensor | None:
        if np.dtype(self.dtype).kind == "b":
            return None
        mode = str(self.g.pick("constant", "constant", "edge", "reflect"))
        at = self.axis(x)
        limit = min(x.shape[at].values) - 1 if mode == "reflect" else 2
        if limit < 0 or (mode == "edge" and min(x.shape[at].values) == 0):
            return None
        before, after = (int(self.g.rng.integers(0, limit + 1)) for _ in range(2))
        if mode == "constant" and self.g.chance(0.3) and min(x.shape[at].values) > 1:
            before = -1
        pads = np.zeros(2 * x.rank, np.int64)
        pads[at], pads[at + x.rank] = before, after
        value = [self.g.param(np.array(7, self.dtype))] if mode == "constant" and self.g.chance(0.5) else []
        name = self.g("Pad", x.name, self.g.param(pads), *value, mode=mode)
        return Tensor(name, [*x.shape[:at], derived([n + before + after for n in x.shape[at].values]), *x.shape[at + 1:]])

    def expand(self, x: Tensor) -> Tensor | None:
        lead = int(self.g.pick(0, 0, 1, 2))
        target = [int(self.g.pick(1, 2, 3)) for _ in range(lead)]
        shape = [self.g.fixed(n) for n in target]
        for size in x.shape:
            grows = size.dim == 1 and self.g.chance(0.7)
            target.append(int(self.g.pick(2, 3)) if grows else 1)
            shape.append(self.g.fixed(target[-1]) if grows else size)
        return Tensor(self.g("Expand", x.name, self.g.ints(*target)), shape) if len(shape) <= 6 else None

    def tile(self, x: Tensor) -> Tensor | None:
        repeats = [int(self.g.pick(1, 1, 2)) for _ in x.shape]
        return Tensor(self.g("Tile", x.name, self.g.ints(*repeats)), [derived([n * r for n in s.values]) for s, r in zip(x.shape, repeats)])

    def split(self, x: Tensor) -> Tensor | None:
        at = self.axis(x, fixed=True)
        if at < 0 or int(x.shape[at].dim) < 2:
            return None
        whole = int(x.shape[at].dim)
        first = int(self.g.rng.integers(0 if self.g.chance(0.2) else 1, whole))
        parts = self.g("Split", x.name, self.g.ints(first, whole - first), outs=2, axis=self.written(at, x.rank))
        which = int(self.g.pick(0, 1)) if first else 1
        if self.g.chance(0.3):
            self.g.output(parts[1 - which], self.dtype)
        return Tensor(parts[which], [*x.shape[:at], self.g.fixed((first, whole - first)[which]), *x.shape[at + 1:]])

    def choose(self, x: Tensor) -> Tensor | None:
        """Where with another view of the same values."""
        kept = [s if self.g.chance(0.5) else self.g.fixed(1) for s in x.shape]
        if any(s.dim == "?" for s in kept):
            return None
        condition = self.g.input(self.g.fresh("c"), kept, maker(BOOL), BOOL)
        other = self.g.param(maker(self.dtype)(self.g.rng, ()))
        return Tensor(self.g("Where", condition, *((x.name, other) if self.g.chance(0.5) else (other, x.name))), x.shape)

    def flatten(self, x: Tensor) -> Tensor | None:
        at = int(self.g.rng.integers(x.rank + 1))
        sides = [derived([math.prod(s.values[i] for s in part) for i in range(self.g.CALLS)]) for part in (x.shape[:at], x.shape[at:])]
        return Tensor(self.g("Flatten", x.name, axis=at), sides)

    def compute(self, x: Tensor) -> Tensor | None:
        """Something elementwise between the views."""
        kind = np.dtype(self.dtype).kind
        if kind == "b":
            return Tensor(self.g("Not", x.name), x.shape)
        if self.dtype in (np.int8, np.uint8):
            return None
        return Tensor(self.g(self.g.pick("Add", "Mul"), x.name, self.g.param(np.array(2, self.dtype))), x.shape)

    def add_back(self, x: Tensor) -> Tensor | None:
        """x plus its own transpose, or its own first row."""
        if np.dtype(self.dtype).kind == "b" or self.dtype in (np.int8, np.uint8) or not x.rank:
            return None
        if x.rank >= 2 and x.shape[-1].values == x.shape[-2].values:
            perm = [*range(x.rank - 2), x.rank - 1, x.rank - 2]
            return Tensor(self.g("Add", x.name, self.g("Transpose", x.name, perm=perm)), x.shape)
        if min(x.shape[0].values) == 0:
            return None
        return Tensor(self.g("Add", x.name, self.g("Gather", x.name, self.g.param(0, I64), axis=0)), x.shape)

    def reduce(self, x: Tensor) -> Tensor | None:
        if np.dtype(self.dtype).kind == "b" or self.dtype in (np.int8, np.uint8, F16):
            return None
        at, keep = self.axis(x), int(self.g.chance(0.5))
        name = self.g("ReduceSum", x.name, self.g.ints(self.written(at, x.rank)), keepdims=keep)
        return Tensor(name, [*x.shape[:at], *([self.g.fixed(1)] if keep else []), *x.shape[at + 1:]])

    def scan(self, x: Tensor) -> Tensor | None:
        if self.dtype not in (F32, I32, I64):
            return None
        at = self.axis(x)
        return Tensor(self.g("CumSum", x.name, self.g.param(at, I64), exclusive=int(self.g.chance(0.5)), reverse=int(self.g.chance(0.5))), x.shape)


def moves(rng: np.random.Generator) -> Case:
    g = Graph(rng)
    dtype = g.pick(*DTYPES)
    m = Moves(g, dtype)
    low = 0 if g.chance(0.1) else 1
    shape = [g.size("abcde"[i], low, 4) if g.chance(0.5) else g.fixed(int(g.pick(1, 2, 3, 4, 6))) for i in range(int(g.rng.integers(1, 5)))]
    x = Tensor(g.input("x", shape, maker(dtype), dtype), shape)
    steps: list[Callable[[Tensor], Tensor | None]] = [
        m.transpose, m.transpose, m.merge, m.merge, m.split_axis, m.split_axis, m.unsqueeze, m.squeeze, m.slice, m.slice, m.gather, m.concat, m.pad,
        m.expand, m.tile, m.split, m.choose, m.flatten, m.compute, m.add_back, m.reduce, m.scan]
    for _ in range(int(g.pick(1, 2, 3, 5, 8, 12))):
        step = g.pick(*steps)
        if not x.rank and step not in (m.unsqueeze, m.expand, m.compute):
            continue
        result = step(x)
        if result and len(result.shape) <= 6 and max(math.prod(s.values[i] for s in result.shape) for i in range(g.CALLS)) <= 4000:
            x = result
            if g.chance(0.1):
                g.output(x.name, dtype)
    g.output(x.name, dtype)
    return g.case(f"{np.dtype(dtype)}, rank {len(shape)}")
