"""Quantized caches: what an append writes, to the bit, and what attention makes of it, against numpy."""

import itertools

import numpy as np
import pytest

from harness import DTYPES, Case, run, target_fixture, tensor

RNG = np.random.default_rng(11)
target = target_fixture()


class ByToken8:
    """8 bits: a scale for each head and token."""

    attribute = "#edge.cache<bits = 8, dim = {}>"

    def __init__(self, batch, heads, capacity, dim):
        self.shapes, self.elements = [[batch, heads, capacity, dim], [batch, heads, capacity]], ["i8", "f16"]
        self.dim, self.capacity = dim, capacity
        self.numbers = RNG.integers(0, 256, self.shapes[0]).astype(np.uint8)
        self.scales = np.full(self.shapes[1], np.nan, np.float16)

    def states(self):
        return [self.numbers.copy(), self.scales.copy()]

    def append(self, rows, position):
        """rows [batch, heads, tokens, dim]."""
        scale = (np.abs(rows).max(-1) * np.float32(1 / 127)).astype(np.float16)
        wide = scale.astype(np.float32)
        inverse = np.where(wide == 0, np.float32(0), np.float32(1) / np.where(wide == 0, 1, wide))
        numbers = np.clip(np.rint(rows * inverse[..., None]), -127, 127).astype(np.int8)
        tokens = np.s_[:, :, position:position + rows.shape[2]]
        self.numbers[tokens], self.scales[tokens] = numbers.view(np.uint8), scale

    def floats(self, length):
        tokens = np.s_[:, :, :length]
        return self.numbers.view(np.int8)[tokens].astype(np.float64) * self.scales[tokens].astype(np.float64)[..., None]


class Groups4:
    """4 bits in groups of 32 tokens, and recent tokens as f16 (dialects/edge/Cache.h)."""

    def __init__(self, batch, heads, capacity, dim):
        self.dim, self.groups = dim, -(-capacity // 32)
        self.stretch = 32 if self.by_channel or dim % 32 == 0 else 16 if dim % 16 == 0 else 8
        stretches = 32 * dim // self.stretch
        self.shapes = [[batch, heads, self.groups + 13, 16 * dim], [batch, heads, self.groups, 2 * stretches]]
        self.elements = ["i8", "f16"]
        # As a session begins.
        self.numbers, self.scales = np.zeros(self.shapes[0], np.uint8), np.zeros(self.shapes[1], np.float16)

    def states(self):
        return [self.numbers.copy(), self.scales.copy()]

    def heads(self):
        """For each head its numbers, scales, recent rows and the table of their groups, which share the states' memory."""
        for at in np.ndindex(*self.shapes[0][:2]):
            numbers = self.numbers[at]
            recent = numbers[self.groups:self.groups + 12].reshape(-1).view(np.float16).reshape(3, 32, self.dim)
            yield at, numbers, self.scales[at], recent, numbers[self.groups + 12, :12].view(np.int32)

    @staticmethod
    def first_recent(length):
        return max(length // 32, 1) - 1

    def widened(self, numbers, scales, group):
        """[32, dim] f32."""
        packed = numbers[group].reshape(-1, self.stretch // 2)
        n = np.concatenate([packed & 15, packed >> 4], 1).astype(np.float64)
        scale, least = scales[group].astype(np.float64).reshape(2, -1, 1)
        x = (n * scale + least).astype(np.float32)
        return x.T if self.by_channel else x.reshape(32, self.dim)

    def round(self, rows, numbers, scales, group):
        x = (rows.T if self.by_channel else rows.reshape(-1, self.stretch)).astype(np.float32)
        low, high = x.min(1), x.max(1)
        scale, least = ((high - low) * np.float32(1 / 15)).astype(np.float16), low.astype(np.float16)
        wide = scale.astype(np.float32)
        inverse = np.where(wide == 0, np.float32(0), np.float32(1) / np.where(wide == 0, 1, wide))
        n = np.clip(np.rint((x - least.astype(np.float32)[:, None]) * inverse[:, None]), 0, 15).astype(np.uint8)
        half = self.stretch // 2
        numbers[group], scales[group] = (n[:, :half] | n[:, half:] << 4).reshape(-1), np.concatenate([scale, least])

    def append(self, rows, position):
        length = position + rows.shape[2]
        first, end = self.first_recent(position), self.first_recent(length)
        for at, numbers, scales, recent, held in self.heads():
            new = rows[at].astype(np.float16)
            for group in range(first, -(-position // 32)):
                if held[group % 3] != group:
                    count = min(position - group * 32, 32)
                    recent[group % 3, :count] = self.widened(numbers, scales, group)[:count]
                    held[group % 3] = group
            for group in range(first, end):
                self.round(np.stack([recent[group % 3, t % 32] if t < position else new[t - position] for t in range(group * 32, group * 32 + 32)]),
                           numbers, scales, group)
            for t in range(max(position, 32 * (max(end, 1) - 1)), length):
                recent[t // 32 % 3, t % 32], held[t // 32 % 3] = new[t - position], t // 32

    def floats(self, length):
        result = np.zeros(self.shapes[0][:2] + [length, self.dim])
        for at, numbers, scales, recent, held in self.heads():
            for group in range(-(-length // 32)):
                count = min(length - group * 32, 32)
                if group >= self.first_recent(length):
                    assert held[group % 3] == group
                whole = self.widened(numbers, scales, group) if group < self.first_recent(length) else recent[group % 3]
                result[at][group * 32:group * 32 + count] = whole[:count]
        return result


class Keys4(Groups4):
    by_channel, attribute = True, "#edge.cache<bits = 4, dim = {}, form = channel>"


class Values4(Groups4):
    by_channel, attribute = False, "#edge.cache<bits = 4, dim = {}>"


class Step(Case):
    """One call of a session: rows of keys and values into their caches, and the attention of its queries."""

    def __init__(self, keys, values, position, tokens, heads, window=0, decode=False, rows_first=False, zero=False):
        batch, kv_heads = keys.shapes[0][:2]
        length = position + tokens
        q = RNG.standard_normal((batch, tokens, heads, keys.dim)).astype(np.float32)
        k, v = (RNG.standard_normal((batch, kv_heads, tokens, c.dim)).astype(np.float32) * np.float32(3) for c in (keys, values))
        k[..., 0] += 5  # a channel that is always large, as keys have them
        if zero:
            k[:, :, 0], v[:, :, 0] = 0, 0
        before = keys.states() + values.states()
        keys.append(k, position)
        values.append(v, position)
        after = keys.states() + values.states()
        y = self.attend(q, keys.floats(length), values.floats(length), position, window)
        if not rows_first:
            k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)
        t = tokens if decode else "s0"
        row = lambda dim: [batch, kv_heads, t, dim] if rows_first else [batch, t, kv_heads, dim]
        shapes = [[batch, t, heads, keys.dim], row(keys.dim), row(values.dim)] + keys.shapes + values.shapes
        elements = ["f32"] * 3 + keys.elements + values.elements
        inputs = [q, np.ascontiguousarray(k), np.ascontiguousarray(v)] + before
        super().__init__("", inputs, np.zeros(sum(s.nbytes for s in after) + y.size * 4, np.uint8), shapes, [], elements, "ui8", [tokens, position])
        self.result_type = tensor([batch, t, heads, values.dim], "f32")
        self.states, self.outputs = list(range(3, len(inputs))), [y.size * 4]
        self.after, self.y = after, y
        self.text = self.body(keys, values, window, rows_first)

    @staticmethod
    def attend(q, k, v, position, window):
        group = q.shape[2] // k.shape[1]
        k, v = (np.repeat(x, group, 1) for x in (k, v))
        s = q.astype(np.float64).transpose(0, 2, 1, 3) @ k.transpose(0, 1, 3, 2) * q.shape[3] ** -0.5
        i, j = np.arange(q.shape[1])[:, None] + position, np.arange(k.shape[2])[None]
        s = np.where((j <= i) & ((i - j < window) if window else True), s, -np.inf)
        p = np.exp(s - s.max(-1, keepdims=True))
        return (p / p.sum(-1, keepdims=True) @ v).transpose(0, 2, 1, 3)

    def body(self, keys, values, window, rows_first):
        count, types = len(keys.shapes), self.types
        lines, names, cut = [], [], 3
        for i, cache in ((1, keys), (2, values)):
            states = range(cut, cut + count)
            cut += count
            name = "%%n%d" % i
            lines.append("  {}:{} = edge.append %{}, %{} parts({} : {}) at affine_map<()[s0, s1] -> (s1)> {{cache = {}{}}} : {}, {} -> {}".format(
                name, count, states[0], i, ", ".join("%%%d" % s for s in states[1:]), ", ".join(types[s] for s in states[1:]),
                cache.attribute.format(cache.dim), ", rows_heads_first" if rows_first else "", types[states[0]], types[i],
                ", ".join(types[s] for s in states)))
            names.append((name, states))
        parts = ["{}_parts({} : {})".format(kind, ", ".join("%s#%d" % (name, j) for j in range(1, count)), ", ".join(types[s] for s in states[1:]))
                 for kind, (name, states) in zip(("key", "value"), names)]
        flags = ["scale = %r : f32" % keys.dim ** -0.5, "length = affine_map<()[s0, s1] -> (s0 + s1)>", "offset = affine_map<()[s0, s1] -> (s1)>",
                 "causal = true", "key_heads_first", "key_cache = " + keys.attribute.format(keys.dim), "value_cache = " + values.attribute.format(values.dim)]
        flags += ["window = %d : i64" % window] * bool(window)
        lines.append("  %r = edge.attention %0, {}#0, {}#0 {} {{{}}} : {}, {}, {} -> {}".format(
            names[0][0], names[1][0], " ".join(parts), ", ".join(flags), types[0], types[3], types[3 + count], self.result_type))
        self.updated = ["%s#%d" % (name, j) for name, states in names for j in range(count)]
        return "\n".join(lines)

    def function(self, name):
        state = lambda i: ' {edge.state = %d : i64, edge.name = "state", edge.element = "f32"}' % (i - 3)
        arguments = ["%%%d: %s%s" % (i, t, state(i) if i >= 3 else "") for i, t in enumerate(self.types)]
        results = [self.result_type] + [self.types[i] + state(i) for i in self.states]
        types = [self.result_type] + [self.types[i] for i in self.states]
        return "func.func @%s(%s) -> (%s) {\n%s\n  return %s : %s\n}\n" % (
            name, ", ".join(arguments), ", ".join(results), self.text, ", ".join(["%r"] + self.updated), ", ".join(types))

    def check(self, result):
        at = 0
        for number, want in enumerate(self.after):
            got = np.frombuffer(result.tobytes()[at:at + want.nbytes], want.dtype).reshape(want.shape)
            at += want.nbytes
            np.testing.assert_array_equal(got, want, "state %d of\n%s" % (number, self.function("f")))
        got = np.frombuffer(result.tobytes()[at:], np.float32).reshape(self.y.shape)
        assert np.abs(got - self.y).max() <= 3e-5 * np.abs(self.y).max(), "%g of\n%s" % (np.abs(got - self.y).max(), self.function("f"))


def session(form, calls, kv_heads=2, heads=4, dim=16, value_dim=None, capacity=200, batch=1, **options):
    """Calls one after the other on the same caches: numbers of tokens; a negative one goes back before."""
    keys, values = (f(batch, kv_heads, capacity, d) for f, d in zip(form, (dim, value_dim or dim)))
    position, steps = 0, []
    for tokens in calls:
        if tokens < 0:
            position += tokens
            continue
        steps.append(Step(keys, values, position, tokens, heads, decode=tokens == 1, **options))
        position += tokens
    return steps


def verify(steps, target, tmp_path):
    for step, result in zip(steps, run(steps, target, tmp_path)):
        step.check(result)


INT8 = (ByToken8, ByToken8)


def test_int8_grows(target, tmp_path):
    """A prompt, then token by token across the borders of tiles; then another prompt behind it."""
    verify(session(INT8, [60, 1, 1, 1, 1, 1, 1, 30, 1, 1, 1, 1]), target, tmp_path)


def test_int8_shapes(target, tmp_path):
    verify([step for (heads, kv), dim, window in itertools.product(((1, 1), (6, 2), (7, 1)), (8, 20, 64), (0, 5))
            for step in session(INT8, [3, 1, 9, 1], kv, heads, dim, window=window, capacity=14)] +
           session(INT8, [70, 1], 1, 2, 128, capacity=71) + session(INT8, [5, 1], 1, 8, 256, value_dim=24, capacity=6), target, tmp_path)


def test_int8_batch_and_rows(target, tmp_path):
    """Rows that stand heads first, several sequences, rows of zeros; going back writes over what was there."""
    verify(session(INT8, [5, 1, -3, 4, 1], batch=2, rows_first=True, capacity=8, zero=True), target, tmp_path)


def test_int8_parts(target, tmp_path):
    """Behind a long context the keys of a token are cut into parts, which are joined."""
    verify(session(INT8, [500, 12, 1, 1, 600, 1], 2, 4, 16, capacity=1200) + session(INT8, [1100, 1], 1, 3, 8, capacity=1200, window=700), target, tmp_path)


INT4 = (Keys4, Values4)


def test_int4_grows(target, tmp_path):
    """Token by token over three groups, then prompts of any length across their borders."""
    verify(session(INT4, [1] * 100, dim=8, heads=2, kv_heads=1), target, tmp_path)
    verify(session(INT4, [5, 26, 1, 1, 30, 1, 1, 70, 1, 40, 1, 1, 1, 1]), target, tmp_path)


def test_int4_shapes(target, tmp_path):
    verify([step for (heads, kv), dim, window in itertools.product(((1, 1), (6, 2), (7, 1)), (8, 48, 64), (0, 37))
            for step in session(INT4, [40, 1, 59, 1], kv, heads, dim, window=window, capacity=101)] +
           session(INT4, [170, 1], 1, 2, 128, capacity=171) + session(INT4, [70, 1], 1, 8, 256, value_dim=24, capacity=71), target, tmp_path)


def test_int4_goes_back(target, tmp_path):
    """Into recent tokens, whose rows are still there, and into groups of numbers, which become rows again."""
    verify(session(INT4, [97, 1, -2, 1, 1, -33, 1, 1, 60, -32, 3, 1], batch=2, rows_first=True, zero=True), target, tmp_path)
    verify(session(INT4, [150, 1, -100, 1, 1, 30, -60, 1, 200, -141, 1, 1], capacity=260), target, tmp_path)


def test_int4_parts(target, tmp_path):
    verify(session(INT4, [500, 12, 1, 1, 600, 1], 2, 4, 16, capacity=1200) + session(INT4, [1100, 1], 1, 3, 8, capacity=1200, window=700), target, tmp_path)
