"""Attention as one operator, with its optional inputs: ONNX's of opset 23, and com.microsoft's in their forms."""

from __future__ import annotations

import numpy as np

from graph import BOOL, F16, F32, I32, I64, Array, Case, Graph, Size, normal

from .attention import columns, seen


def broadcast(g: Graph, sizes: list[Size]) -> list[Size]:
    kept = [s if g.chance(0.6) else g.fixed(1) for s in sizes]
    return kept[int(g.pick(0, 0, 0, len(kept) - 2)):]


def onnx_attention(g: Graph) -> None:
    """Opset 23: ranks 3 and 4, masks of bools and floats, causal, soft cap, scale, and presents without pasts."""
    g.opset = 23
    b, s = g.size("b", 1, 3), g.size("s")
    causal = int(g.chance(0.4))
    t = s if causal or g.chance(0.5) else g.size("t")
    kv = int(g.pick(1, 2))
    heads, dim = kv * int(g.pick(1, 2, 3)), int(g.pick(2, 4, 8))
    wide = dim if g.chance(0.8) else int(g.pick(3, 6))
    attributes: dict[str, object] = {"is_causal": causal} if causal else {}
    if g.chance(0.3):
        attributes["scale"] = float(g.pick(0.3, 1.0))
    if g.chance(0.25):
        attributes["softcap"] = float(g.pick(2.0, 10.0))
    if g.chance(0.5):
        q, k, v = g.input("q", [b, heads, s, dim]), g.input("k", [b, kv, t, dim]), g.input("v", [b, kv, t, wide])
    else:
        q, k, v = g.input("q", [b, s, heads * dim]), g.input("k", [b, t, kv * dim]), g.input("v", [b, t, kv * wide])
        attributes |= {"q_num_heads": heads, "kv_num_heads": kv}
    inputs = [q, k, v]
    if g.chance(0.6):
        shape = broadcast(g, [b, g.fixed(heads), s, t])
        shape[-1] = t
        if g.chance(0.5):
            inputs.append(g.input("m", shape, seen, BOOL))
        else:
            inputs.append(g.input("m", shape, columns(-1e4) if g.chance(0.6) else None))
    outs = int(g.pick(1, 1, 3))
    results = g("Attention", *inputs, outs=outs, **attributes)
    for result in results if outs > 1 else [results]:
        g.output(result)


def packed_attention(g: Graph) -> None:
    """com.microsoft.Attention: one weight for query, key and value."""
    b, s = g.size("b", 1, 3), g.size("s")
    heads, dim, width = int(g.pick(1, 2, 3)), int(g.pick(2, 4)), 6
    hidden = heads * dim
    x = g.input("x", [b, s, width])
    inputs = [x, g.param(g.array(width, 3 * hidden, scale=0.5)), g.param(g.array(3 * hidden))]
    kind = g.rng.integers(4)
    if kind == 1:
        inputs.append(g.input("m", [b, s], lambda rng, shape: ones_then_zeros(rng, shape), I32))
    elif kind == 2:
        inputs += ["", "", g.input("bias", [b if g.chance(0.5) else g.fixed(1), heads, s, s])]
    attributes = {"unidirectional": 1} if g.chance(0.4) else {}
    if g.chance(0.3):
        attributes["scale"] = 0.4
    g.output(g("Attention", *inputs, domain="com.microsoft", num_heads=heads, **attributes))


def ones_then_zeros(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Sequences padded on the right: each has a token at least."""
    lengths = rng.integers(1, shape[-1] + 1, shape[:-1])
    return (np.arange(shape[-1]) < lengths[..., None]).astype(I32)


def multi_head(g: Graph) -> None:
    """com.microsoft.MultiHeadAttention: operands by token or by head, a bias, a padding mask, a bias of the scores."""
    b, s = g.size("b", 1, 3), g.size("s")
    t = s if g.chance(0.5) else g.size("t")
    heads, dim = int(g.pick(1, 2, 3)), int(g.pick(2, 4))
    hidden = heads * dim
    apart = g.chance(0.35)
    if apart:
        inputs = [g.input("q", [b, s, hidden]), g.input("k", [b, heads, t, dim]), g.input("v", [b, heads, t, dim])]
    else:
        inputs = [g.input("q", [b, s, hidden]), g.input("k", [b, t, hidden]), g.input("v", [b, t, hidden])]
    bias = g.param(g.array(3 * hidden)) if not apart and g.chance(0.4) else ""
    mask = ""
    if g.chance(0.4):
        mask = g.input("m", [b, t], ones_then_zeros, I32)
    added = g.input("bias", [b if g.chance(0.5) else g.fixed(1), heads if g.chance(0.6) else 1, s, t]) if g.chance(0.4) else ""
    inputs += [bias, mask, added]
    while not inputs[-1]:
        inputs.pop()
    attributes = {"scale": 0.4} if g.chance(0.3) else {}
    if g.chance(0.2) and s is t:
        attributes["unidirectional"] = 1
    g.output(g("MultiHeadAttention", *inputs, domain="com.microsoft", num_heads=heads, **attributes))


def fused(g: Graph) -> None:
    """FusedMatMul, as ONNX Runtime's optimizer writes scales and transposes, and attention made of it."""
    b, s, dim = g.size("b", 1, 3), g.size("s"), int(g.pick(2, 4))
    turned = int(g.chance(0.5))
    k = g.input("k", [b, 2, s, dim] if turned else [b, 2, dim, s])
    scores = g("FusedMatMul", g.input("q", [b, 2, s, dim]), k, domain="com.microsoft", alpha=float(g.pick(1.0, 0.5)), transB=turned)
    if g.chance(0.6):
        scores = g("Add", scores, g.input("m", broadcast(g, [b, g.fixed(2), s, s]), columns(-1e4)))
    p = g("Softmax", scores, axis=-1)
    v = g.input("v", [b, 2, s, dim])
    g.output(g("MatMul", p, v) if g.chance(0.5) else g("FusedMatMul", p, v, domain="com.microsoft", alpha=float(g.pick(1.0, 2.0))))


def rotary(g: Graph) -> None:
    """RotaryEmbedding of both domains."""
    b, s, heads, half = g.size("b", 1, 3), g.size("s"), int(g.pick(1, 2)), int(g.pick(1, 2, 3))
    own = g.chance(0.5)
    if own:
        g.opset = 23
    angle = np.outer(np.arange(16), 10.0 ** (-np.arange(half) / half))
    cos, sin = g.param(np.cos(angle), F32), g.param(np.sin(angle), F32)
    interleaved = int(g.chance(0.4))
    def positions(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return rng.integers(0, 16, shape).astype(I64)
    at = g.input("p", [b, s], positions, I64)
    flat = g.chance(0.5)
    rest = 0 if g.chance(0.7) or (not own and not flat) else 2
    shape = [b, s, heads * (2 * half + rest)] if flat else [b, heads, s, 2 * half + rest]
    x = g.input("x", shape)
    attributes = {"interleaved": interleaved}
    if rest or (flat and not own and g.chance(0.5)):
        attributes |= {"rotary_embedding_dim": 2 * half if rest else 0, "num_heads": heads}
    elif flat:
        attributes["num_heads"] = heads
    if own:
        g.output(g("RotaryEmbedding", x, cos, sin, at, **attributes))
    else:
        g.output(g("RotaryEmbedding", x, at, cos, sin, domain="com.microsoft", **attributes))


def operators(rng: np.random.Generator) -> Case:
    g = Graph(rng)
    form = g.pick(onnx_attention, onnx_attention, packed_attention, multi_head, multi_head, fused, rotary)
    form(g)
    return g.case(form.__name__, tolerance=5e-4)
