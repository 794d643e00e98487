"""Every layer's kernel, and through edge.linear every row of kernels.def, against a reference in float64."""

import itertools

import ml_dtypes
import numpy as np
import pytest

from harness import DTYPES, Case, target_fixture, tensor, verify

RNG = np.random.default_rng(7)
# What these have beside the others is integers only (test_quantized_kernels.py).
INTEGERS = ("x86-64-v4-vnni", "arm64-dotprod")


def random(shape, element):
    return RNG.standard_normal(shape).astype(DTYPES[element])


def wide(x):
    return np.asarray(x, np.float64)


def pack(w):
    """[n, k] -> [ceil(n / 16), k, 16]"""
    n, k = w.shape
    padded = np.zeros((-(-n // 16) * 16, k), w.dtype)
    padded[:n] = w
    return np.ascontiguousarray(padded.reshape(-1, 16, k).transpose(0, 2, 1))


target = target_fixture(INTEGERS)


# ---- linear --------------------------------------------------------------------------------------------------------------------


def linear(m, k, n, lhs="f32", rhs="f32", out=None, layout="panels", dynamic=True, epilogue=None):
    out = out or lhs
    x, w = random((m, k), lhs), random((n, k), rhs)
    stored = {"panels": pack(w), "nk": w, "kn": np.ascontiguousarray(w.T)}[layout]
    y = wide(x) @ wide(w).T
    shapes, elements, inputs = [["s0" if dynamic else m, k], list(stored.shape)], [lhs, rhs], [x, stored]
    extras, region = "", ""
    if epilogue == "bias":
        bias = random((n,), "f32")
        y, extras = y + bias, "extras(%2 : tensor<{}xf32>)".format(n)
        shapes, elements, inputs = shapes + [[n]], elements + ["f32"], inputs + [bias]
        cast = "" if out == "f32" else "%t = arith.truncf %s : f32 to {}\n".format(out)
        region = "{{\n^bb0(%a: f32, %b: f32):\n%s = arith.addf %a, %b : f32\n{}edge.yield {} : {}\n}}".format(cast, "%t" if cast else "%s", out)
    if epilogue == "gate":  # x * sigmoid-like gate of another tensor of the result's shape, and a mask
        gate, mask = random((m, n), "f16"), RNG.random((n,)) < 0.5
        y = np.where(mask, np.tanh(y) * wide(gate), 0)
        shape = ["s0" if dynamic else m, n]
        extras = "extras(%2, %3 : {}, tensor<{}xi1>)".format(tensor(shape, "f16"), n)
        shapes, elements, inputs = shapes + [shape, [n]], elements + ["f16", "i1"], inputs + [gate, mask]
        assert out == "f32"
        region = ("{\n^bb0(%a: f32, %g: f16, %m: i1):\n%z = arith.constant 0.0 : f32\n%e = arith.extf %g : f16 to f32\n%t = math.tanh %a : f32\n"
                  "%p = arith.mulf %t, %e : f32\n%q = arith.select %m, %p, %z : f32\nedge.yield %q : f32\n}")
    result = ["s0" if dynamic else m, n]
    number = {"nk": 0, "kn": 1, "panels": 2}[layout]
    text = "  %r = edge.linear %0, %1 {} {{layout = {} : i32}} : {}, {} -> {} {}".format(
        extras, number, tensor(shapes[0], lhs), tensor(shapes[1], rhs), tensor(result, out), region)
    return Case(text, inputs, y, shapes, result, elements, out, [m])


def test_linear_small(target):
    # All heights around the tallest tile, widths around a panel, depths around the steps of k.
    verify([linear(m, k, n) for m in (1, 2, 3, 4, 5, 7, 11, 12, 13) for k, n in ((1, 1), (3, 16), (8, 17), (9, 40))], target)


@pytest.mark.parametrize("rhs", ["f16", "bf16"])
def test_linear_narrow_weights(target, rhs):
    verify([linear(m, k, n, rhs=rhs) for m, (k, n) in itertools.product((1, 6, 17), ((5, 16), (16, 37)))], target)


@pytest.mark.parametrize("element", ["f16", "bf16"])
def test_linear_narrow_activations(target, element):
    # 64 elements of k are widened at a time.
    verify([linear(m, k, n, lhs=element, rhs=element) for m, (k, n) in itertools.product((1, 6, 17), ((5, 16), (16, 37), (64, 32), (150, 16)))], target)


def test_linear_static_rows(target):
    verify([linear(m, k, n, dynamic=False) for m, k, n in ((1, 64, 144), (1, 33, 7), (2, 16, 64), (5, 20, 50))], target)


def test_linear_large(target):
    verify([linear(m, k, n) for m, k, n in ((1, 512, 1000), (131, 96, 200), (60, 1030, 64))], target)


def test_linear_epilogue(target):
    verify([linear(m, 8, n, epilogue=e) for m, n, e in itertools.product((1, 5, 13), (16, 37), ("bias", "gate"))] +
           [linear(5, 8, 37, lhs="f16", rhs="f16", epilogue="bias")], target)


@pytest.mark.parametrize("layout", ["nk", "kn"])
def test_linear_unpacked(target, layout):
    verify([linear(m, k, n, layout=layout) for m, k, n in ((1, 1, 1), (4, 7, 3), (5, 40, 19), (9, 33, 32))] +
           [linear(5, 40, 19, lhs="f16", rhs="f16", layout=layout)], target)


# ---- rows ----------------------------------------------------------------------------------------------------------------------


def norm(kind, rows, width, element="f32", scale=True, bias=True):
    x = random((rows, width), element) + DTYPES[element](1)
    v = wide(x)
    g, b = random((width,), element), random((width,), element)
    t, w = tensor(["s0", width], element), tensor([width], element)
    inputs, shapes = [x], [["s0", width]]
    if kind == "rms_norm":
        y = v / np.sqrt((v * v).mean(-1, keepdims=True) + 1e-5)
        text = "edge.rms_norm %0{} {{epsilon = 1.0e-5 : f32}} : {} -> {}".format(", %%1 : %s" % w if scale else "", t, t)
    else:
        y = (v - v.mean(-1, keepdims=True)) / np.sqrt(v.var(-1, keepdims=True) + 1e-5)
        text = "edge.layer_norm %0{}{} {{epsilon = 1.0e-5 : f32}} : {} -> {}".format(
            " scale(%%1 : %s)" % w if scale else "", " bias(%%2 : %s)" % w if scale and bias else "", t, t)
    if scale:
        y, inputs, shapes = y * wide(g), inputs + [g], shapes + [[width]]
        if kind == "layer_norm" and bias:
            y, inputs, shapes = y + wide(b), inputs + [b], shapes + [[width]]
    return Case("  %r = " + text, inputs, y, shapes, ["s0", width], [element] * len(inputs), element, [rows])


@pytest.mark.parametrize("kind", ["rms_norm", "layer_norm"])
def test_norms(target, kind):
    verify([norm(kind, rows, width) for rows, width in ((1, 1), (3, 15), (2, 64), (70, 100), (2, 384))] +
           [norm(kind, 3, 40, "f16"), norm(kind, 3, 40, "bf16"), norm(kind, 3, 40, scale=False), norm(kind, 3, 40, bias=False)], target)


def softmax(rows, width, element="f32", log=False, dynamic=False, masked=None):
    x = (random((rows, width), element) * DTYPES[element](4)).astype(DTYPES[element])
    if masked is not None:
        x[:, width // 3:] = masked
    v = wide(x)
    e = np.exp(v - v.max(-1, keepdims=True))
    y = e / e.sum(-1, keepdims=True)
    y = np.log(y) if log else y
    shape = ["s0", "s1" if dynamic else width]
    t = tensor(shape, element)
    return Case("  %r = edge.softmax %0 {} : {} -> {}".format("{log}" if log else "", t, t), [x], y, [shape], shape, [element], element, [rows, width])


def test_softmax(target):
    verify([softmax(r, w, e, l, d) for (r, w), (e, l, d) in itertools.product(
        ((1, 1), (3, 17), (65, 100)), (("f32", False, False), ("f32", True, True), ("f16", False, True), ("bf16", True, False)))], target)


def test_softmax_masked(target):
    # Masks that were added before: minus infinity, and the lowest number that exporters write for it.
    verify([softmax(3, w, masked=m) for w, m in itertools.product((5, 100), (-np.inf, -3.4028235e38))], target)


# ---- moves ---------------------------------------------------------------------------------------------------------------------


def rope(batch, tokens, heads, dim, half, interleaved=False, heads_first=False, element="f32", tables=1):
    x = random((batch, tokens, heads, dim), element)
    angle = RNG.random((tables, tokens, half)) * 6
    cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    v, y = wide(x), wide(x).copy()
    a, b = (np.s_[..., 0:2 * half:2], np.s_[..., 1:2 * half:2]) if interleaved else (np.s_[..., :half], np.s_[..., half:2 * half])
    c, s = wide(cos)[:, :, None, :], wide(sin)[:, :, None, :]
    y[a], y[b] = v[a] * c - v[b] * s, v[b] * c + v[a] * s
    shape, table = ["s0", "s1", heads, dim], [tables if tables == 1 else "s0", "s1", half]
    if heads_first:
        x, y, shape = x.transpose(0, 2, 1, 3), y.transpose(0, 2, 1, 3), ["s0", heads, "s1", dim]
    flags = ", ".join(f for f, on in (("interleaved", interleaved), ("heads_first", heads_first)) if on)
    t = tensor(shape, element)
    text = "  %r = edge.rope %0, %1, %2 {{{}}} : {}, {} -> {}".format(flags, t, tensor(table, "f32"), t)
    return Case(text, [x, cos, sin], y, [shape, table, table], shape, [element, "f32", "f32"], element, [batch, tokens])


def test_rope(target):
    verify([rope(2, 5, 3, 8, 4, i, h, tables=b) for i, h, b in itertools.product((False, True), (False, True), (1, 2))] +
           [rope(1, 3, 2, 100, 40), rope(1, 3, 2, 80, 40, True, element="f16"), rope(1, 70, 2, 64, 32, heads_first=True)], target)


def embedding(ids, rows, width, element="f32", layout="nk", index="i64"):
    table = random((rows, width), element)
    ids = np.asarray(ids, DTYPES[index])
    where = np.where(ids < 0, ids + rows, ids)
    y = wide(table)[np.where((where < 0) | (where >= rows), 0, where)]
    stored = pack(table) if layout == "panels" else table
    text = "  %r = edge.embedding %0, %1 {{layout = {} : i32{}}} : {}, {} -> {}".format(
        2 if layout == "panels" else 0, ", rows = %d : i64" % rows if layout == "panels" else "", tensor([1, "s0"], index),
        tensor(list(stored.shape), element), tensor([1, "s0", width], element))
    return Case(text, [ids[None], stored], y[None], [[1, "s0"], list(stored.shape)], [1, "s0", width], [index, element], element, [len(ids)])


def test_embedding(target):
    verify([embedding([0, 4, -1, 9, -7, 2], 5, w, e, l, i) for w, (e, l, i) in itertools.product(
        (1, 40), (("f32", "nk", "i64"), ("f16", "nk", "i32"), ("f32", "panels", "i64"), ("bf16", "panels", "i32")))], target)


def append(batch, heads, capacity, tokens, dim, position, state="f32", rows="f32", heads_first=False):
    old, new = random((batch, heads, capacity, dim), state), random((batch, heads, tokens, dim), rows)
    y = wide(old).copy()
    y[:, :, position:position + tokens] = wide(new.astype(DTYPES[state]))
    given = new if heads_first else np.ascontiguousarray(new.transpose(0, 2, 1, 3))
    shape = [batch, heads, capacity, dim]
    added = [batch, heads, "s0", dim] if heads_first else [batch, "s0", heads, dim]
    text = "  %r = edge.append %0, %1 at affine_map<()[s0, s1] -> (s1)> {} : {}, {} -> {}".format(
        "{rows_heads_first}" if heads_first else "", tensor(shape, state), tensor(added, rows), tensor(shape, state))
    return Case(text, [old, given], y, [shape, added], shape, [state, rows], state, [tokens, position], state=0)


def test_append(target):
    for case in (append(2, 3, 9, 4, 20, 5), append(1, 2, 9, 1, 64, 8, heads_first=True), append(1, 2, 9, 3, 64, 2, state="f16")):
        verify([case], target)


# ---- attention -----------------------------------------------------------------------------------------------------------------


def attention(batch=1, tokens=3, length=None, capacity=None, heads=4, kv_heads=2, dim=16, value_dim=None, causal=False, window=0, softcap=0.0,
              mask=None, element="f32", cache=None, first=(False, False, False), decode=False, lowest=None):
    length = length or tokens
    capacity, value_dim, cache = capacity or length, value_dim or dim, cache or element
    q, k, v = random((batch, heads, tokens, dim), element), random((batch, kv_heads, capacity, dim), cache), random((batch, kv_heads, capacity, value_dim), cache)
    offset = length - tokens
    scale = dim ** -0.5
    group = heads // kv_heads
    kk, vv = (np.repeat(wide(x)[:, :, :length], group, 1) for x in (k, v))
    s = scale * wide(q) @ kk.transpose(0, 1, 3, 2)
    if softcap:
        s = softcap * np.tanh(s / softcap)
    i, j = np.arange(tokens)[:, None] + offset, np.arange(length)[None]
    seen = np.ones((tokens, length), bool)
    if causal:
        seen &= j <= i
    if window:
        seen &= i - j < window
    inputs, elements = [q, k, v], [element, cache, cache]
    mask_text = ""
    symbolic = {"b": batch, "h": heads, "t": tokens if decode else "s0", "l": "s1", "1": 1}
    mask_shape = None
    if mask:
        kind, dims = mask
        concrete = [{"b": batch, "h": heads, "t": tokens, "l": length, "1": 1}[d] for d in dims]
        mask_shape = [symbolic[d] for d in dims]
        if kind == "i1":
            m = RNG.random(concrete) < 0.7
            seen = seen & m
        else:
            m = random(concrete, kind) if lowest is None else np.where(RNG.random(concrete) < 0.5, 0, lowest).astype(DTYPES[kind])
            if lowest == -1e4:
                m[..., 0] = 0  # scores that are all masked so lose their digits in f32
            s = s + wide(m)
        inputs, elements = inputs + [m], elements + [kind]
        mask_text = "mask(%%3 : %s)" % tensor(mask_shape, kind)
    s = np.where(seen, s, -np.inf)
    top = s.max(-1, keepdims=True)
    p = np.where(np.isfinite(s), np.exp(s - np.where(np.isfinite(top), top, 0)), 0)
    y = p / np.maximum(p.sum(-1, keepdims=True), 1e-300) @ vv
    t, c = tokens if decode else "s0", capacity if capacity != length else "s1"
    shapes = [[batch, heads, t, dim], [batch, kv_heads, c, dim], [batch, kv_heads, c, value_dim]]
    result = [batch, heads, t, value_dim]
    swap = lambda x: [x[0], x[2], x[1], x[3]]
    if not first[0]:
        shapes[0], inputs[0] = swap(shapes[0]), q.transpose(0, 2, 1, 3)
    if not first[1]:
        for n in (1, 2):
            shapes[n], inputs[n] = swap(shapes[n]), inputs[n].transpose(0, 2, 1, 3)
    if not first[2]:
        result, y = swap(result), y.transpose(0, 2, 1, 3)
    flags = ["scale = %r : f32" % scale, "length = affine_map<()[s0, s1] -> (s1)>",
             "offset = affine_map<()[s0, s1] -> (s1 - %s)>" % ("s0" if not decode else tokens)]
    flags += ["causal = true"] * causal + ["window = %d : i64" % window] * bool(window) + ["softcap = %r : f32" % softcap] * bool(softcap)
    flags += [name for name, on in zip(("query_heads_first", "key_heads_first", "result_heads_first"), first) if on]
    text = "  %r = edge.attention %0, %1, %2 {} {{{}}} : {}, {}, {} -> {}".format(
        mask_text, ", ".join(flags), *(tensor(s, e) for s, e in zip(shapes, elements)), tensor(result, element))
    if mask:
        shapes.append(mask_shape)
    return Case(text, inputs, y, shapes, result, elements, element, [tokens, length])


def test_attention_layouts(target):
    verify([attention(2, 5, 7, first=f) for f in itertools.product((False, True), repeat=3)], target)


def test_attention_shapes(target):
    verify([attention(1, t, l, heads=h, kv_heads=g, dim=d, causal=c) for (t, l), (h, g), d, c in itertools.product(
        ((1, 1), (9, 9), (3, 80)), ((1, 1), (6, 2)), (3, 20, 64), (False, True))], target)


def test_attention_long(target):
    verify([attention(1, 70, 150, capacity=160, causal=True, window=w, dim=32) for w in (0, 40)] +
           [attention(1, 33, 200, heads=2, kv_heads=1, dim=128), attention(1, 5, 20, dim=256, value_dim=24, heads=8, kv_heads=1)], target)


def test_attention_decode(target):
    verify([attention(2, 1, l, capacity=200, heads=h, kv_heads=g, dim=d, causal=True, window=w, decode=True, first=(False, True, False), cache=e)
            for l, (h, g), (d, e), w in itertools.product((1, 64, 130), ((2, 2), (7, 1), (8, 2)), ((64, "f32"), (40, "f16")), (0, 30))], target)


def test_attention_masks(target):
    verify([attention(2, 5, 70, mask=(kind, dims), causal=c) for kind, dims, c in itertools.product(
        ("f32", "i1"), ("bhtl", "11tl", "b11l", "1h1l", "tl", "bht1"), (False, True))] +
           [attention(1, 4, 9, mask=("f32", "tl"), lowest=v, causal=True) for v in (-np.inf, -3.4028235e38, -1e4)] +
           [attention(1, 3, 9, softcap=2.0), attention(1, 3, 9, softcap=2.0, mask=("f32", "tl")), attention(1, 3, 9, element="f16", mask=("f16", "l"))], target)
