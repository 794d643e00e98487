"""Llama and its kin: Mistral, Qwen2, Qwen3 and llama2.c checkpoints. One graph with a KV cache.

The graph says attention, rotary embedding and RMS norm with ONNX's own operators, so nothing needs to be recognised again.
Positions and the cache are the caller's: `past` rows come in, `past + sequence` go out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from .checkpoint import Checkpoint, ExportError
from .graph import FLOAT, INT64, Graph


@dataclass(frozen=True)
class Names:
    """How a family calls its tensors; %d is the layer."""

    embedding: str
    norm: str
    head: str
    layer: str
    input_norm: str = "input_layernorm"
    post_norm: str = "post_attention_layernorm"
    q: str = "self_attn.q_proj"
    k: str = "self_attn.k_proj"
    v: str = "self_attn.v_proj"
    o: str = "self_attn.o_proj"
    gate: str = "mlp.gate_proj"
    up: str = "mlp.up_proj"
    down: str = "mlp.down_proj"
    suffix: str = ".weight"


LLAMA2C = Names("tok_embeddings", "norm", "output", "layers.%d.", "attention_norm", "ffn_norm", "wq", "wk", "wv", "wo",
                "w1", "w3", "w2", suffix="")


def rope_frequencies(config: dict[str, Any], rotary: int) -> tuple[np.ndarray, float]:
    """The angle per position of each of the rotary/2 pairs, and the factor on cos and sin (YaRN), from config.json's
    rope_theta/rope_scaling (until transformers 4) or rope_parameters (since 5)."""
    rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    theta = rope.get("rope_theta") or config.get("rope_theta") or 10000.0
    kind = rope.get("rope_type") or rope.get("type") or "default"
    frequencies = 1.0 / theta ** (np.arange(0, rotary, 2, dtype=np.float64) / rotary)
    if kind == "default":
        return frequencies.astype(np.float32), 1.0
    if kind not in ("linear", "llama3", "yarn"):
        raise ExportError(f"rope_type {kind} in config.json is not supported; known are default, linear, llama3, yarn")
    factor = rope["factor"]
    if kind == "linear":
        return (frequencies / factor).astype(np.float32), 1.0
    original = rope.get("original_max_position_embeddings") or config["max_position_embeddings"]
    if kind == "llama3":
        wavelength = 2 * math.pi / frequencies
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        smooth = np.clip((original / wavelength - low) / (high - low), 0, 1)
        return ((1 - smooth) * frequencies / factor + smooth * frequencies).astype(np.float32), 1.0

    # YaRN (Peng 2023): interpolate the slow pairs, keep the fast ones, a ramp between them.
    def pair_of(rotations: float) -> float:
        return rotary * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(theta))

    low, high = pair_of(rope.get("beta_fast") or 32), pair_of(rope.get("beta_slow") or 1)
    if rope.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rotary - 1)
    ramp = np.clip((np.arange(rotary // 2) - low) / max(high - low, 0.001), 0, 1)
    scale = rope.get("attention_factor")
    if scale is None:
        def magnitude(m: float) -> float:
            return 0.1 * m * math.log(factor) + 1.0 if factor > 1 else 1.0

        mscale, mscale_all = rope.get("mscale"), rope.get("mscale_all_dim")
        scale = magnitude(mscale) / magnitude(mscale_all) if mscale and mscale_all else magnitude(1.0)
    return (frequencies / factor * ramp + frequencies * (1 - ramp)).astype(np.float32), float(scale)


def _windows(config: dict[str, Any]) -> list[int | None]:
    """The sliding window of each layer, None for full attention."""
    layers, window = config["num_hidden_layers"], config.get("sliding_window")
    types = config.get("layer_types")
    if types:
        unknown = set(types) - {"full_attention", "sliding_attention"}
        if unknown:
            raise ExportError(f"layer_types in config.json: {', '.join(sorted(unknown))} is not supported")
        return [window if t == "sliding_attention" else None for t in types]
    if config["model_type"] == "mistral":
        return [window] * layers
    if config.get("use_sliding_window"):
        full = config.get("max_window_layers", layers)
        return [None if i < full else window for i in range(layers)]
    return [None] * layers


def cache_inputs(g: Graph, layers: int, kv_heads: int, head_dim: int) -> None:
    """past_key_values.N.key/value [batch, kv_heads, past, head_dim], in the compute type."""
    for i in range(layers):
        for part in ("key", "value"):
            g.input(f"past_key_values.{i}.{part}", g.compute, ["batch", kv_heads, "past", head_dim])


def cache_outputs(g: Graph, layers: int, kv_heads: int, head_dim: int) -> None:
    for i in range(layers):
        for part in ("key", "value"):
            g.output(f"present.{i}.{part}", f"present.{i}.{part}", g.compute, ["batch", kv_heads, "past + sequence", head_dim])


def window_mask(g: Graph, window: int) -> str:
    """[sequence, past + sequence], true where a query may look: the last `window` positions up to its own."""
    with g.scope(f"sliding_window_{window}"):
        zero, one = g.constant(0), g.constant(1)
        sequence = g.op("Squeeze", g.op("Shape", "input_ids", start=1, end=2), g.constant([0]))
        past = g.op("Squeeze", g.op("Shape", "past_key_values.0.key", start=2, end=3), g.constant([0]))
        total = g.op("Add", past, sequence)
        keys = g.op("Range", zero, total, one)
        queries = g.op("Unsqueeze", g.op("Range", past, total, one), g.constant([1]))
        distance = g.op("Sub", queries, keys)
        return g.op("And", g.op("GreaterOrEqual", distance, zero), g.op("Less", distance, g.constant(window)))


def logits(g: Graph, x: str, table: str, vocabulary: int, hidden: int, bias: str | None = None) -> None:
    """The head: x times the table transposed. Always f32, whatever the weights are: sampling wants it so."""
    with g.scope("lm_head"):
        y = g.op("MatMul", x, g.op("Transpose", g.param(table, (vocabulary, hidden)), perm=[1, 0]))
        if bias:
            y = g.op("Add", y, g.param(bias, (vocabulary,)))
        if g.compute != FLOAT:
            y = g.cast(y, FLOAT)
    g.output(y, "logits", FLOAT, ["batch", "sequence", vocabulary])


def build(checkpoint: Checkpoint, metadata: dict[str, str]) -> tuple[Graph, onnx.ModelProto]:
    config = checkpoint.config
    llama2c = config["model_type"] == "llama2c"
    if llama2c:
        names = LLAMA2C
    else:
        prefix = checkpoint.prefix(("model.", ""), "embed_tokens.weight")
        names = Names(prefix + "embed_tokens.weight", prefix + "norm", "lm_head.weight", prefix + "layers.%d.")
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    head_dim = config.get("head_dim") or hidden // heads
    layers, vocabulary, ffn = config["num_hidden_layers"], config["vocab_size"], config["intermediate_size"]
    epsilon = config.get("rms_norm_eps", 1e-6)
    rope = config.get("rope_parameters") or {}
    rotary = int(head_dim * (rope.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0))
    act = config.get("hidden_act", "silu")

    g = Graph(checkpoint, names.embedding)
    ids = g.input("input_ids", INT64, ["batch", "sequence"])
    positions = g.input("position_ids", INT64, ["batch", "sequence"])
    cache_inputs(g, layers, kv_heads, head_dim)

    def norm(x: str, name: str, size: int = hidden) -> str:
        with g.scope(name.rsplit(".", 1)[-1]):
            return g.op("RMSNormalization", x, g.param(name + names.suffix, (size,)), axis=-1, epsilon=float(epsilon),
                        stash_type=1)

    def linear(x: str, name: str, rows: int, columns: int) -> str:
        if not llama2c:
            return g.linear(x, name, rows, columns)
        with g.scope(name.rsplit(".", 1)[-1]):
            return g.op("MatMul", x, g.op("Transpose", g.param(name, (rows, columns)), perm=[1, 0]))

    # bitllama's layers have no norms of their own: each linear divides its input by the root mean square and the size.
    bit = llama2c and not any(names.input_norm in name for name in checkpoint.weights)
    shares: dict[int, str] = {}

    def bit_norm(x: str, size: int) -> str:
        if not bit:
            return x
        shares.setdefault(size, g.constant(np.full(size, 1 / size), np.float32))
        return g.op("RMSNormalization", x, shares[size], axis=-1, epsilon=1e-24, stash_type=1)

    def layer_norm(x: str, name: str) -> str:
        return bit_norm(x, hidden) if bit else shift(norm(x, name))

    def shift(x: str) -> str:
        """out2Msp: relu(norm - 1), so that most activations are zero."""
        return g.op("Relu", g.op("Sub", x, g.scalar(1.0))) if act == "shifted_relu" else x

    with g.scope("rotary"):
        # cos and sin [batch, sequence, rotary / 2], computed: a table for all positions would be tens of megabytes.
        frequencies, factor = rope_frequencies(config, rotary)
        angle = g.op("Mul", g.cast(g.op("Unsqueeze", positions, g.constant([2])), FLOAT), g.constant(frequencies, np.float32))
        cos, sin = g.op("Cos", angle), g.op("Sin", angle)
        if factor != 1.0:
            cos, sin = (g.op("Mul", v, g.constant(factor, np.float32)) for v in (cos, sin))
        if g.compute != FLOAT:
            cos, sin = g.cast(cos, g.compute), g.cast(sin, g.compute)

    def rotate(x: str, count: int) -> str:
        attributes: dict[str, Any] = {"rotary_embedding_dim": rotary} if rotary != head_dim else {}
        return g.op("RotaryEmbedding", x, cos, sin, num_heads=count, interleaved=int(config.get("llama2c_interleaved", False)),
                    **attributes)

    def head_norm(x: str, name: str, count: int) -> str:
        """Qwen3: an RMS norm over each head of q and k."""
        if name + ".weight" not in checkpoint:
            return x
        split = g.op("Reshape", x, g.constant([0, 0, count, head_dim]))
        return g.op("Reshape", norm(split, name, head_dim), g.constant([0, 0, count * head_dim]))

    windows = _windows(config)
    masks = {w: window_mask(g, w) for w in sorted({w for w in windows if w})}
    with g.scope("embed_tokens"):
        x = g.embedding(ids, names.embedding, (vocabulary, hidden))
    for i in range(layers):
        layer = names.layer % i
        with g.scope(f"layers.{i}"):
            with g.scope("self_attn"):
                h = layer_norm(x, layer + names.input_norm)
                q = linear(h, layer + names.q, heads * head_dim, hidden)
                k = linear(h, layer + names.k, kv_heads * head_dim, hidden)
                v = linear(h, layer + names.v, kv_heads * head_dim, hidden)
                q = rotate(head_norm(q, layer + "self_attn.q_norm", heads), heads)
                k = rotate(head_norm(k, layer + "self_attn.k_norm", kv_heads), kv_heads)
                window = windows[i]
                attributes = {} if window else {"is_causal": 1}
                y = g.op("Attention", q, k, v, masks[window] if window else "", f"past_key_values.{i}.key",
                         f"past_key_values.{i}.value", outputs=[f"/layers.{i}/self_attn/Attention_out", f"present.{i}.key",
                                                                f"present.{i}.value"],
                         q_num_heads=heads, kv_num_heads=kv_heads, scale=float(head_dim**-0.5), **attributes)
                x = g.op("Add", x, linear(bit_norm(y, heads * head_dim), layer + names.o, hidden, heads * head_dim))
            with g.scope("mlp"):
                h = layer_norm(x, layer + names.post_norm)
                gate, up = linear(h, layer + names.gate, ffn, hidden), linear(h, layer + names.up, ffn, hidden)
                if act == "shifted_relu":
                    gate = g.op("Relu", g.op("Sub", gate, g.scalar(0.25)))
                else:
                    gate = g.activation(gate, act)
                x = g.op("Add", x, linear(bit_norm(g.op("Mul", gate, up), ffn), layer + names.down, hidden, ffn))
    x = norm(x, names.norm)
    tied = names.head not in checkpoint
    if tied and not config.get("tie_word_embeddings", False):
        raise ExportError(f"{checkpoint.directory}: no tensor {names.head}, and tie_word_embeddings is not true in config.json: "
                          "a checkpoint without a language-model head cannot be exported")
    logits(g, x, names.embedding if tied else names.head, vocabulary, hidden)
    cache_outputs(g, layers, kv_heads, head_dim)
    return g, g.model(config["model_type"], metadata)
