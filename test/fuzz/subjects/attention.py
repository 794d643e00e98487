"""Attention in plain operators: scores seen in any grouping of their batch, masks of every rank between the views.

The batch of the scores is a list of atoms (batch, windows, KV heads, groups). The product, each mask, the softmax and the second
product see them in groupings of their own; an exporter's style (BART, Swin, BLOOM, NeoX) is one choice of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np

from graph import BOOL, F32, Array, Case, Graph, Size

Grouping = list[list[Size]]
LOW = (-1e4, -1e9, float(np.finfo(F32).min), float("-inf"))


def compositions(g: Graph, atoms: Sequence[Size]) -> Grouping:
    """The atoms in order, in random groups."""
    groups: Grouping = []
    for atom in atoms:
        if groups and g.chance(0.45):
            groups[-1].append(atom)
        else:
            groups.append([atom])
    return groups


def columns(low: float) -> object:
    """Masks that never hide the first key."""
    def make(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        hidden = rng.random(shape) < 0.35
        hidden[..., :1] = False
        return np.where(hidden, low, 0).astype(F32)
    return make


def seen(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    result = rng.random(shape) < 0.65
    result[..., :1] = True
    return result


@dataclass
class Scores:
    """The scores on their way: a value, and how its batch is grouped."""

    g: Graph
    value: str
    groups: Grouping
    s: Size
    t: Size

    @property
    def shape(self) -> Grouping:
        return [*self.groups, [self.s], [self.t]]

    def regroup(self, groups: Grouping) -> None:
        if groups != self.groups:
            self.value = self.g.view(self.value, [*groups, [self.s], [self.t]])
            self.groups = groups

    def mask_shape(self) -> list[Size] | None:
        """A shape that broadcasts to the scores'; none where a dynamic product cannot be a size."""
        g, sizes = self.g, []
        for group in self.shape:
            dynamic = [s for s in group if not s.fixed]
            others = int(np.prod([int(s.dim) for s in group if s.fixed]))
            if g.chance(0.4):
                sizes.append(g.fixed(1))
            elif not dynamic:
                sizes.append(g.fixed(others))
            elif len(dynamic) == 1 and others == 1:
                sizes.append(dynamic[0])
            else:
                sizes.append(g.fixed(1))
        while len(sizes) > 1 and g.chance(0.25):
            sizes.pop(0)
        return sizes


def positions(g: Graph, size: Size, axis: int) -> str:
    """0, 1, 2, ... as a column (axis 1) or a row (axis 0)."""
    end = g("Squeeze", g.extent(size))
    start = g.param(0, np.int64)
    values = g("Range", start, end, g.param(1, np.int64))
    return g("Unsqueeze", values, g.ints(axis))


def computed_condition(scores: Scores, alone: bool) -> str:
    """A mask [queries, keys] from the sizes: causal, of a window, or of blocks. Every query sees a key; the first key is hidden
    only where this mask is alone and there are as many queries as keys."""
    g = scores.g
    rows, keys = positions(g, scores.s, 1), positions(g, scores.t, 0)
    square = scores.s is scores.t
    kind = g.rng.integers(5)
    if kind == 0:
        return g("LessOrEqual", keys, rows)
    if kind == 1:
        offset = g("Sub", g.extent(scores.t), g.extent(scores.s))
        condition = g("LessOrEqual", keys, g("Add", rows, offset))
        return condition if square else first_too(g, condition, keys)
    if kind == 2:
        width = g.param(int(g.rng.integers(1, 4)), np.int64)
        condition = g(g.pick("Less", "LessOrEqual"), g("Abs", g("Sub", keys, rows)), width)
        condition = condition if g.chance(0.4) else g("And", condition, g("LessOrEqual", keys, rows))
    elif kind == 3:
        block = g.param(int(g.rng.integers(1, 4)), np.int64)
        condition = g(g.pick("Equal", "LessOrEqual"), g("Div", keys, block), g("Div", rows, block))
    else:
        ones = g("ConstantOfShape", g("Concat", g.extent(scores.s), g.extent(scores.t), axis=0), value=np_tensor(np.ones(1, F32)))
        upper = int(g.rng.integers(2))
        kept = g("Trilu", ones, g.param(int(g.pick(0, -1 if upper else 1)), np.int64), upper=upper)
        condition = g("Cast", kept, to=9)
    return condition if square and alone else first_too(g, condition, keys)


def first_too(g: Graph, condition: str, keys: str) -> str:
    return g("Or", condition, g("Equal", keys, g.param(0, np.int64)))


def np_tensor(array: Array) -> object:
    from onnx import numpy_helper
    return numpy_helper.from_array(array)


def add_mask(scores: Scores, number: int, alone: bool) -> None:
    g = scores.g
    kind = g.pick("input", "input", "boolean", "constant", "computed", "computed", "alibi", "scalar")
    low = float(g.pick(*LOW))
    finite = low if np.isfinite(low) else -1e4
    shape = scores.mask_shape()
    concrete = tuple(int(s.dim) if s.fixed else 1 for s in shape)
    if kind == "input":
        mask = g.input(f"m{number}", shape, columns(finite) if g.chance(0.6) else None)
    elif kind == "constant":
        array = np.where(g.rng.random(concrete) < 0.3, finite, 0) if g.chance(0.5) else g.rng.standard_normal(concrete)
        mask = g.param(array, F32)
    elif kind == "alibi":
        heads = g.array(*concrete[:-1], 1)
        distance = g("Cast", positions(g, scores.t, 0), to=1)
        mask = g("Mul", g.param(heads), distance)
    elif kind == "scalar":
        mask = g.scalar(0.75)
    else:
        if kind == "boolean":
            condition = g.input(f"m{number}", shape, seen, BOOL)
        else:
            condition = computed_condition(scores, alone)
            while g.chance(0.3):
                condition = g("Unsqueeze", condition, g.ints(0))
        zero, hidden = g.scalar(0.0), g.scalar(finite if kind == "computed" else low)
        how = g.rng.integers(5)
        if how == 0:
            scores.value = g("Where", condition, scores.value, hidden)
            return
        if how == 1:
            scores.value = g("Where", g("Not", condition), hidden, scores.value)
            return
        if how == 2:
            mask = g("Where", condition, zero, hidden)
        elif how == 3:
            mask = g("Where", g("Not", condition), hidden, zero)
        else:
            number_mask = g("Cast", condition, to=1)
            mask = g("Mul", g("Sub", g.scalar(1.0), number_mask), g.scalar(finite))
    if g.chance(0.1):
        scores.value = g("Sub", scores.value, g("Neg", mask))
    else:
        scores.value = g("Add", *([scores.value, mask] if g.chance(0.7) else [mask, scores.value]))


@dataclass
class Operands:
    """Query, key and value in the shapes of the two products."""

    atoms: list[Size]
    product: Grouping  # of the first product
    second: Grouping
    query: str
    key: str  # [..., dim, keys]
    value: str


def scaled(g: Graph, value: str, scale: float) -> str:
    if g.chance(0.4):
        return g("Div", value, g.scalar(1 / scale))
    return g("Mul", *([value, g.scalar(scale)] if g.chance(0.8) else [g.scalar(scale), value]))


def free_operands(g: Graph, atoms: list[Size], s: Size, t: Size, dim: int) -> Operands:
    """Inputs of the graph in the atoms' shape, seen as the products want them; key and value may be of size 1 in some atoms."""
    product, second = compositions(g, atoms), compositions(g, atoms)
    whole = [[a] for a in atoms]

    def operand(name: str, groups: Grouping, rows: Size, turned: bool) -> str:
        tail = [g.fixed(dim), rows] if turned and g.chance(0.5) else [rows, g.fixed(dim)]
        value = g.input(name, [*atoms, *tail])
        if groups != whole:
            value = g.view(value, [*groups, [tail[0]], [tail[1]]])
        rank = len(groups) + 2
        if turned and tail[0] is rows:
            value = g("Transpose", value, perm=[*range(rank - 2), rank - 1, rank - 2])
        return value

    def shared(name: str, groups: Grouping, rows: Size, turned: bool) -> str:
        """One key for several of the groups, by broadcasting in the product."""
        sizes = [group[0] if len(group) == 1 and g.chance(0.6) else g.fixed(1) for group in groups]
        while sizes and isinstance(sizes[0].dim, int) and sizes[0].dim == 1 and g.chance(0.5):
            sizes.pop(0)
        return g.input(name, [*sizes, g.fixed(dim), rows] if turned else [*sizes, rows, g.fixed(dim)])

    make = shared if g.chance(0.25) else operand
    return Operands(atoms, product, second, operand("q", product, s, False), make("k", product, t, True),
                    make("v", second, t, False))


def projected_operands(g: Graph, atoms: list[Size], s: Size, t: Size, dim: int) -> Operands:
    """From hidden states [batch, tokens, heads * dim], split and transposed, with fewer KV heads that are repeated."""
    batch, heads = atoms[0], int(np.prod([int(a.dim) for a in atoms[1:]]))
    kv = int(g.pick(*[n for n in (1, 2, heads) if heads % n == 0]))
    hidden = heads * dim
    x = g.input("x", [batch, s, hidden])
    context = x if s is t else g.input("c", [batch, t, hidden])
    product, second = compositions(g, atoms), compositions(g, atoms)
    split_heads = [[batch], [g.fixed(heads)]]

    def split(source: str, rows: Size, count: int, may_turn: bool) -> tuple[str, bool]:
        """[batch, heads, rows, dim], or with the last two turned."""
        value = source
        if not (count == heads and g.chance(0.15)):
            value = g("MatMul", source, g.param(g.array(hidden, count * dim, scale=hidden ** -0.5)))
            if g.chance(0.4):
                bias = g.param(g.array(count * dim, scale=0.3))
                value = g("Add", *([value, bias] if g.chance(0.5) else [bias, value]))
        value = g.view(value, [[batch], [rows], [g.fixed(count)], [g.fixed(dim)]])
        if may_turn and count == heads and g.chance(0.3):
            return g("Transpose", value, perm=[0, 2, 3, 1]), True
        value = g("Transpose", value, perm=[0, 2, 1, 3])
        if count != heads:
            value = repeated(g, value, batch, rows, count, heads // count, dim)
        if may_turn and g.chance(0.5):
            return g("Transpose", value, perm=[0, 1, 3, 2]), True
        return value, False

    def operand(source: str, groups: Grouping, rows: Size, count: int, turned: bool) -> str:
        value, is_turned = split(source, rows, count, turned)
        if groups != split_heads:
            tail = [[rows], [g.fixed(dim)]]
            value = g.view(value, [*groups, *(reversed(tail) if is_turned else tail)])
        rank = len(groups) + 2
        if turned and not is_turned:
            value = g("Transpose", value, perm=[*range(rank - 2), rank - 1, rank - 2])
        return value

    return Operands(atoms, product, second, operand(x, product, s, heads, False), operand(context, product, t, kv, True),
                    operand(context, second, t, kv, False))


def repeated(g: Graph, value: str, batch: Size, rows: Size, count: int, times: int, dim: int) -> str:
    """KV heads [batch, count, rows, dim], each several times, or all of them several times."""
    how = g.rng.integers(4)
    shape = [[batch], [g.fixed(count * times)], [rows], [g.fixed(dim)]]
    if how == 0:
        axis = g.pick(2, 2, 1)
        five = [batch, g.fixed(count), g.fixed(1), rows, g.fixed(dim)] if axis == 2 else \
            [batch, g.fixed(1), g.fixed(count), rows, g.fixed(dim)]
        wide = [g.fixed(times) if i == axis else size for i, size in enumerate(five)]
        value = g("Unsqueeze", value, g.ints(axis))
        if all(size.fixed for size in wide):
            target = g.ints(*[int(size.dim) for size in wide])
        elif g.chance(0.4):
            target = g.ints(*[times if i == axis else 1 for i in range(5)])
        else:
            target = g("Concat", *[g.extent(size) for size in wide], axis=0)
        return g.view(g("Expand", value, target), shape)
    if how == 1:
        return g("Tile", value, g.ints(1, times, 1, 1))
    if how == 2:
        indices = np.repeat(np.arange(count), times) if g.chance(0.7) else g.rng.integers(0, count, count * times)
        return g("Gather", value, g.param(indices, np.int64), axis=1)
    return g("Concat", *[value] * times, axis=1)


def finish(g: Graph, operands: Operands, scores: Scores, dim: int) -> str:
    """The second product, and heads joined again."""
    scores.regroup(operands.second)
    y = g("MatMul", scores.value, operands.value)
    style = g.rng.integers(4)
    if style == 0:
        return y
    heads = operands.atoms[1:]
    four = [[operands.atoms[0]], list(heads), [scores.s], [g.fixed(dim)]]
    if not heads or style == 1:
        return g.view(y, [[a] for a in operands.atoms] + [[scores.s], [g.fixed(dim)]])
    y = g.view(y, four)
    y = g("Transpose", y, perm=[0, 2, 1, 3])
    hidden = dim * int(np.prod([int(a.dim) for a in heads]))
    y = g.view(y, [[operands.atoms[0]], [scores.s], [g.fixed(hidden)]])
    return g("MatMul", y, g.param(g.array(hidden, 5, scale=hidden ** -0.5))) if g.chance(0.5) else y


def attention(rng: np.random.Generator) -> Case:
    g = Graph(rng)
    s = g.size("s")
    t = s if g.chance(0.5) else g.size("t")
    dim = int(g.pick(2, 4, 8))
    atoms = [g.size("b", 1, 3)] + [g.fixed(int(g.pick(1, 2, 2, 3))) for _ in range(g.rng.integers(0, 4))]
    projected = len(atoms) > 1 and g.chance(0.5)
    operands = (projected_operands if projected else free_operands)(g, atoms, s, t, dim)
    query, key = operands.query, operands.key
    scale = float(g.pick(dim ** -0.5, 0.5, 1.5))
    where = g.rng.integers(5)
    if where in (0, 2):
        query = scaled(g, query, scale)
    if where in (1, 2):
        key = scaled(g, key, scale ** 0.5)
    scores = Scores(g, g("MatMul", query, key), operands.product, s, t)
    if where == 3:
        scores.value = scaled(g, scores.value, scale)
    if g.chance(0.2):
        cap = float(g.pick(2.0, 5.0))
        scores.value = g("Mul", g("Tanh", g("Div", scores.value, g.scalar(cap))), g.scalar(cap))
    masks = int(g.pick(0, 1, 1, 2, 3))
    for number in range(masks):
        if g.chance(0.6):
            scores.regroup(compositions(g, atoms))
        add_mask(scores, number, alone=masks == 1)
        if g.chance(0.15):
            scores.value = scaled(g, scores.value, 0.7)
    if g.chance(0.6):
        scores.regroup(compositions(g, atoms))
    rank = len(scores.groups) + 2
    scores.value = g("Softmax", scores.value, axis=int(g.pick(-1, rank - 1)))
    if g.chance(0.1):
        p = scores.value
        scores.value = g("Where", g("IsNaN", p), g.scalar(0.0), p)
    if g.chance(0.1):
        g.output(scores.value)
    g.output(finish(g, operands, scores, dim))
    return g.case(f"{[a.dim for a in atoms]} heads, {'projected' if projected else 'free'}")
