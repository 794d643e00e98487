"""Language models with caches: several calls in one session, masks and positions of every origin."""

from __future__ import annotations

import numpy as np

from graph import F32, I64, Array, Case, Graph, Size, uniform_ints

WORDS, LOWEST = 20, float(np.finfo(F32).min)


class Decoder:
    def __init__(self, rng: np.random.Generator):
        self.g = g = Graph(rng, dynamic=1.0)
        steps = [list(s) for s in ((4, 1, 1, 2), (1, 1, 3), (3, 2), (5, 1), (1,), (2, 1, 1, 1, 1))][int(rng.integers(6))]
        g.CALLS = len(steps)
        pasts = [sum(steps[:i]) for i in range(len(steps))]
        rows = int(g.pick(1, 1, 1, 2))
        self.batch = Size("batch", (rows,) * len(steps)) if g.chance(0.5) else g.fixed(rows)
        self.new, self.past = Size("sequence", tuple(steps)), Size("past", tuple(pasts))
        self.all = Size(str(g.pick("past + sequence", "total")), tuple(a + b for a, b in zip(steps, pasts)))
        g.bounds = {"batch": f"1..{rows}", "sequence": "1..8", "past": "0..24"}
        self.kv = int(g.pick(1, 2))
        self.heads, self.dim = self.kv * int(g.pick(1, 2)), 4
        self.width = self.heads * self.dim
        self.presents: list[tuple[str, str]] = []
        self.tokens_first = g.chance(0.12)  # caches [batch, tokens, heads, dim]: they stay inputs and outputs

    def ids(self) -> str:
        return self.g.input("input_ids", [self.batch, self.new], uniform_ints(0, WORDS), I64)

    def first(self) -> str:
        """How much the caches hold, as [1]."""
        return self.g.extent(self.past)

    def positions(self, mask: str) -> str:
        g = self.g
        how = g.rng.integers(3)
        if how == 0:
            at = iter(self.past.values)
            return g.input("position_ids", [self.batch, self.new],
                           lambda rng, shape: np.broadcast_to(next(at) + np.arange(shape[1]), shape).astype(I64), I64)
        if how == 1 and mask:
            counted = g("Sub", g("CumSum", mask, g.param(1, I64)), g.param(1, I64))
            return g("Slice", counted, self.first(), g("Add", self.first(), g.extent(self.new)), g.ints(1))
        end = g("Squeeze", g("Add", self.first(), g.extent(self.new)))
        return g("Unsqueeze", g("Range", g("Squeeze", self.first()), end, g.param(1, I64)), g.ints(0))

    def bias(self, mask: str) -> str:
        """[batch or 1, 1, new, all]: causal, perhaps of a window, with the padding mask."""
        g = self.g
        total = g("Squeeze", g("Add", self.first(), g.extent(self.new)))
        zero, one = g.param(0, I64), g.param(1, I64)
        rows = g("Unsqueeze", g("Range", g("Squeeze", self.first()), total, one), g.ints(1))
        keys = g("Unsqueeze", g("Range", zero, total, one), g.ints(0))
        if g.chance(0.2):  # from a square that is cut
            square = g("ConstantOfShape", g("Concat", g.ints(1), g.ints(1), g.ints(32), g.ints(32), axis=0))
            full = g("Trilu", g("Add", square, g.scalar(1.0)), upper=0)
            seen = g("Cast", full, to=9)
            seen = g("Slice", seen, self.first(), g("Add", self.first(), g.extent(self.new)), g.ints(2))
            seen = g("Slice", seen, g.ints(0), g("Add", self.first(), g.extent(self.new)), g.ints(3))
        else:
            seen = g("LessOrEqual", keys, rows) if g.chance(0.6) else g("Not", g("Greater", keys, rows))
            if g.chance(0.25):
                seen = g("And", seen, g("Greater", keys, g("Sub", rows, g.param(int(g.pick(1, 2, 3)), I64))))
            seen = g("Unsqueeze", seen, g.ints(0, 1))
        if mask:
            seen = g("And", seen, g("Unsqueeze", g("Cast", mask, to=9), g.ints(1, 2)))
        return g("Where", seen, g.scalar(0.0), g.scalar(float(g.pick(LOWEST, -1e9, -1e4))))

    def split(self, x: str, count: int) -> str:
        g = self.g
        y = g("MatMul", x, g.param(g.array(self.width, count * self.dim, scale=self.width ** -0.5)))
        y = g("Reshape", y, g.ints(0, g.pick(0, -1), count, self.dim))
        return y if self.tokens_first else g("Transpose", y, perm=[0, 2, 1, 3])

    def rotated(self, x: str, tables: tuple[str, str]) -> str:
        g, half = self.g, self.dim // 2
        front, back = g("Slice", x, g.ints(0), g.ints(half), g.ints(3)), g("Slice", x, g.ints(half), g.ints(2**62), g.ints(3))
        turned = g("Concat", g("Neg", back), front, axis=-1)
        return g("Add", g("Mul", x, tables[0]), g("Mul", turned, tables[1]))

    def tables(self, positions: str) -> tuple[str, str]:
        g, half = self.g, self.dim // 2
        at = g("Cast", g("Unsqueeze", positions, g.ints(1)), to=1)
        frequency = g("Transpose", g("MatMul", g.param(g.array(1, half, 1)), at), perm=[0, 2, 1])
        whole = g("Concat", frequency, frequency, axis=-1)
        axis = 2 if self.tokens_first else 1
        return g("Unsqueeze", g("Cos", whole), g.ints(axis)), g("Unsqueeze", g("Sin", whole), g.ints(axis))

    def cached(self, layer: int, kind: str, value: str) -> str:
        g, name = self.g, f"past_key_values.{layer}.{kind}"
        shape = [self.batch, self.past, self.kv, self.dim] if self.tokens_first else [self.batch, self.kv, self.past, self.dim]
        past = g.input(name, shape)
        whole = g("Concat", past, value, axis=1 if self.tokens_first else int(g.pick(2, -2)))
        self.presents.append((whole, f"present.{layer}.{kind}"))
        return g("Transpose", whole, perm=[0, 2, 1, 3]) if self.tokens_first else whole

    def spread(self, value: str) -> str:
        """KV heads, each for several queries."""
        g, times = self.g, self.heads // self.kv
        if times == 1:
            return value
        if g.chance(0.3):
            return g("Gather", value, g.param(np.repeat(np.arange(self.kv), times), I64), axis=1)
        wide = g("Expand", g("Unsqueeze", value, g.ints(2)), g.ints(1, 1, times, 1, 1))
        return g("Reshape", wide, g.ints(0, self.heads, -1, self.dim))

    def layer(self, number: int, x: str, tables: tuple[str, str] | None, bias: str) -> str:
        g = self.g
        q, k, v = self.split(x, self.heads), self.split(x, self.kv), self.split(x, self.kv)
        if tables:
            q, k = self.rotated(q, tables), self.rotated(k, tables)
        if self.tokens_first:
            q = g("Transpose", q, perm=[0, 2, 1, 3])
        k, v = self.spread(self.cached(number, "key", k)), self.spread(self.cached(number, "value", v))
        scores = g("MatMul", q, g("Transpose", k, perm=[0, 1, 3, 2]))
        scores = g("Mul", scores, g.scalar(self.dim ** -0.5)) if g.chance(0.5) else g("Div", scores, g.scalar(self.dim ** 0.5))
        if bias:
            scores = g("Add", scores, bias)
        y = g("MatMul", g("Softmax", scores, axis=-1), v)
        y = g("Reshape", g("Transpose", y, perm=[0, 2, 1, 3]), g.ints(0, g.pick(0, -1), self.width))
        y = g("MatMul", y, g.param(g.array(self.width, self.width, scale=self.width ** -0.5)))
        return g("Add", x, y)


def decoders(rng: np.random.Generator) -> Case:
    d = Decoder(rng)
    g = d.g
    x = g("Gather", g.param(g.array(WORDS, d.width)), d.ids())
    layers = int(g.pick(1, 1, 2))
    for name in [f"past_key_values.{i}.{k}" for i in range(layers) for k in ("key", "value")][:1]:
        g.origin["past"] = (name, 1 if d.tokens_first else 2)
    mask = ""
    if g.chance(0.6):
        mask = g.input("attention_mask", [d.batch, d.all], lambda rng, shape: np.ones(shape, I64), I64)
    positions = d.positions(mask) if g.chance(0.75) else ""
    tables = None
    if positions and g.chance(0.6):
        tables = d.tables(positions)
    elif positions:
        x = g("Add", x, g("Gather", g.param(g.array(64, d.width, scale=0.5)), positions))
    bias = d.bias(mask) if g.chance(0.9) else ""
    for i in range(layers):
        x = d.layer(i, x, tables, bias)
    logits = g("MatMul", x, g.param(g.array(d.width, WORDS)))
    g.output(logits, name="logits")
    for value, name in d.presents:
        g.output(value, name=name)
    return g.case(f"{g.CALLS} calls, batch {d.batch.dim}, {'tokens first' if d.tokens_first else 'heads first'}", stateful=True,
                  tolerance=1e-3)
