"""Decoders with rotary embeddings: Llama and its kin. One graph with a KV cache; a row of FAMILIES says how a family differs.

The graph says attention, rotary embedding and norms with ONNX's own operators, so nothing needs to be recognised again.
Positions and the cache are the caller's: `past` rows come in, `past + sequence` go out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Iterable

import numpy as np
import onnx

from .checkpoint import Checkpoint, ExportError
from .graph import FLOAT, INT64, Graph


@dataclass(frozen=True)
class Names:
    """Names of a family's tensors; %d is the layer. A norm without a name is not there."""

    embedding: str = "embed_tokens.weight"
    norm: str = "norm"
    head: str = "lm_head.weight"
    layer: str = "layers.%d."
    before_attention: str = "input_layernorm"
    after_attention: str = ""
    before_mlp: str = "post_attention_layernorm"
    after_mlp: str = ""
    q: str = "self_attn.q_proj"
    k: str = "self_attn.k_proj"
    v: str = "self_attn.v_proj"
    qkv: str = "self_attn.qkv_proj"
    o: str = "self_attn.o_proj"
    gate: str = "mlp.gate_proj"
    up: str = "mlp.up_proj"
    gate_up: str = "mlp.gate_up_proj"
    down: str = "mlp.down_proj"
    q_norm: str = "self_attn.q_norm"
    k_norm: str = "self_attn.k_norm"
    suffix: str = ".weight"
    prefixes: tuple[str, ...] = ("model.", "")


@dataclass(frozen=True)
class Family:
    """Differences of a family from Llama."""

    names: Names = Names()
    layer_norm: bool = False  # LayerNormalization with biases, instead of RMS norm
    norm_offset: float = 0.0  # added to the weights of norms
    qk_norm: str = ""  # RMS norm of q and k: over each "head" or the whole "width"; "heads": layer norms with weights per head
    embedding_scaled: bool = False  # by the root of the hidden size
    gated: bool = True  # down(act(gate) * up), else down(act(up))
    qkv_by_head: bool = False  # the rows of one projection: q, k and v of the first head, then of the next
    act: str = "silu"
    theta: float = 10000.0
    partial: float = 1.0  # share of a head that is rotated
    # Without layer_types: every n-th layer sees all, the others slide. 0: all slide, if there is a window.
    full_every: int | None = None


_SANDWICH = Names(after_attention="post_attention_layernorm", before_mlp="pre_feedforward_layernorm",
                  after_mlp="post_feedforward_layernorm",
                  prefixes=("model.", "", "language_model.model.", "model.language_model."))
_GEMMA = Family(_SANDWICH, norm_offset=1.0, embedding_scaled=True, act="gelu_pytorch_tanh")
_AFTER = Names(before_attention="", after_attention="post_attention_layernorm", before_mlp="",
               after_mlp="post_feedforward_layernorm")
_NEOX = Names("embed_in.weight", "final_layer_norm", "embed_out.weight", qkv="attention.query_key_value", o="attention.dense",
              up="mlp.dense_h_to_4h", down="mlp.dense_4h_to_h", prefixes=("gpt_neox.", ""))
_LFM2 = Names(norm="embedding_norm", before_attention="operator_norm", before_mlp="ffn_norm", o="self_attn.out_proj",
              gate="feed_forward.w1", up="feed_forward.w3", down="feed_forward.w2", q_norm="self_attn.q_layernorm",
              k_norm="self_attn.k_layernorm")
_LLAMA2C = Names("tok_embeddings", "norm", "output", before_attention="attention_norm", before_mlp="ffn_norm", q="wq", k="wk",
                 v="wv", o="wo", gate="w1", up="w3", down="w2", suffix="", prefixes=("",))

FAMILIES = {
    "llama": Family(),
    "mistral": Family(full_every=0),
    "qwen2": Family(),
    "qwen3": Family(qk_norm="head"),
    "gemma2": replace(_GEMMA, full_every=2),
    "gemma3_text": replace(_GEMMA, full_every=6, qk_norm="head", theta=1e6),
    "phi3": Family(full_every=0),
    "smollm3": Family(theta=2e6),
    "olmo2": Family(_AFTER, qk_norm="width"),
    "granite": Family(),
    "stablelm": Family(layer_norm=True, partial=0.25, qk_norm="heads"),
    "gpt_neox": Family(_NEOX, layer_norm=True, partial=0.25, gated=False, qkv_by_head=True, act="gelu"),
    "lfm2": Family(_LFM2, qk_norm="head", theta=1e6),
    "llama2c": Family(_LLAMA2C),
}

# Settings that config.json may leave out, because transformers knows them.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "gemma2": dict(query_pre_attn_scalar=256, head_dim=256, final_logit_softcapping=30.0, attn_logit_softcapping=50.0,
                   sliding_window=4096, tie_word_embeddings=True),
    "gemma3_text": dict(query_pre_attn_scalar=256, head_dim=256, num_attention_heads=8, num_key_value_heads=4, vocab_size=262208,
                        sliding_window=4096, max_position_embeddings=131072, tie_word_embeddings=True),
    "smollm3": dict(tie_word_embeddings=True, num_key_value_heads=4),
    "olmo2": dict(rms_norm_eps=1e-5),
    "phi3": dict(rms_norm_eps=1e-5),
    "lfm2": dict(norm_eps=1e-5, num_key_value_heads=8, conv_L_cache=3, block_multiple_of=256, block_ffn_dim_multiplier=1.0,
                 block_auto_adjust_ff_dim=True, tie_word_embeddings=True),
    "stablelm": dict(layer_norm_eps=1e-5),
    "gpt_neox": dict(layer_norm_eps=1e-5, use_parallel_residual=True),
}


def text_config(config: dict[str, Any]) -> dict[str, Any]:
    """The settings of the language model: those of `text_config` where a model of several kinds of input has one, with what
    transformers assumes where nothing is said."""
    if config.get("model_type") == "gemma3":
        outer = {k: v for k, v in config.items() if k.endswith("_token_id")}
        config = {**outer, **config.get("text_config", {}), "model_type": "gemma3_text"}
    result = {**_DEFAULTS.get(config.get("model_type", ""), {}), **config}
    return _lfm2_config(result) if result.get("model_type") == "lfm2" else result


def _lfm2_config(config: dict[str, Any]) -> dict[str, Any]:
    """LFM2's settings under the names of the others."""
    ffn, layers = config.get("block_ff_dim") or config["intermediate_size"], config["num_hidden_layers"]
    if config["block_auto_adjust_ff_dim"]:
        multiple, factor = config["block_multiple_of"], config["block_ffn_dim_multiplier"]
        ffn = int(2 * ffn / 3)
        if factor is not None:
            ffn = -(-int(factor * ffn) // multiple) * multiple
    types = config.get("layer_types")
    if not types:
        attention = config.get("full_attn_idxs")
        types = ["full_attention" if attention is None or i in attention else "conv" for i in range(layers)]
    done = ("block_ff_dim", "block_auto_adjust_ff_dim", "block_multiple_of", "block_ffn_dim_multiplier", "full_attn_idxs",
            "norm_eps", "block_dim", "block_mlp_init_scale", "block_norm_eps", "block_out_init_scale", "block_use_swiglu",
            "block_use_xavier_init", "conv_dim", "conv_dim_out", "conv_use_xavier_init", "tie_embedding", "use_pos_enc",
            "num_heads", "theta")
    return {**{k: v for k, v in config.items() if k not in done}, "intermediate_size": ffn, "layer_types": types,
            "rms_norm_eps": config["norm_eps"], "tie_word_embeddings": config.get("tie_embedding", config["tie_word_embeddings"])}


def _first(config: dict[str, Any], *keys: str) -> Any:
    """The first setting that says something, of several names for one."""
    return next((v for v in [config.get(key) for key in keys] if v), None)


def _rope_settings(config: dict[str, Any], family: Family, layer_type: str) -> dict[str, Any]:
    """rope_parameters (since transformers 5) of layers of a type; or rope_theta and rope_scaling (until 4)."""
    settings = config.get("rope_parameters") or {}
    scaling, local = config.get("rope_scaling") or {}, config.get("rope_local_base_freq") or 10000.0
    theta = _first(config, "rope_theta", "rotary_emb_base") or family.theta
    partial = _first(config, "partial_rotary_factor", "rotary_pct", "rope_pct") or family.partial
    if isinstance(settings.get(layer_type), dict):
        rope = settings[layer_type]
    elif config["model_type"] == "gemma3_text" and layer_type == "sliding_attention":
        rope = {"rope_theta": local}
    else:
        rope = settings or scaling
    rope = {"rope_theta": theta, "partial_rotary_factor": partial, **{k: v for k, v in rope.items() if v is not None}}
    if config.get("original_max_position_embeddings"):
        rope["original_max_position_embeddings"] = config["original_max_position_embeddings"]
    if "short_factor" in rope:  # also called su and yarn
        rope["rope_type"] = "longrope"
    return rope


def rope_frequencies(config: dict[str, Any], rope: dict[str, Any], rotary: int) -> tuple[np.ndarray, float]:
    """The angle per position of each of the rotary/2 pairs, and the factor on cos and sin (YaRN, LongRoPE)."""
    theta = rope["rope_theta"]
    kind = rope.get("rope_type") or rope.get("type") or "default"
    frequencies = 1.0 / theta ** (np.arange(0, rotary, 2, dtype=np.float64) / rotary)
    if kind == "default":
        return frequencies.astype(np.float32), 1.0
    if kind == "divided":  # by a table in the file (GGUF)
        return (frequencies / _pairs(rope, "divisors", rotary)).astype(np.float32), 1.0
    if kind not in ("linear", "llama3", "yarn", "longrope"):
        raise ExportError(f"rope_type {kind} in config.json is not supported; known are default, linear, llama3, yarn, longrope")
    if kind == "longrope":
        return _longrope(config, rope, frequencies, rotary)
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


def _pairs(rope: dict[str, Any], name: str, rotary: int) -> np.ndarray:
    values = np.asarray(rope[name], np.float64)
    if values.shape != (rotary // 2,):
        raise ExportError(f"{name} of the rotary embedding has {values.size} numbers, but heads have {rotary // 2} rotated pairs")
    return values


def _longrope(config: dict[str, Any], rope: dict[str, Any], frequencies: np.ndarray, rotary: int) -> tuple[np.ndarray, float]:
    """LongRoPE (Ding 2024): one table of divisors up to the original context, another beyond it. A cache that was filled with one
    is of no use with the other, so the export decides: `long_context` takes the second from the first token on."""
    longest, original = config["max_position_embeddings"], rope["original_max_position_embeddings"]
    factor = rope.get("factor") or longest / original
    scale = rope.get("attention_factor")
    if scale is None:
        scale = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    divisors = _pairs(rope, "long_factor" if config.get("long_context") else "short_factor", rotary)
    return (frequencies / divisors).astype(np.float32), float(scale)


def _window(config: dict[str, Any]) -> int | None:
    """The sliding window, None if it is as long as the context and hides nothing (Phi-3.5)."""
    window: int | None = config.get("sliding_window")
    longest = config.get("max_position_embeddings")
    return None if window and longest and window >= longest else window


def _layer_types(config: dict[str, Any], family: Family) -> list[str]:
    """full_attention or sliding_attention for each layer."""
    layers, window, types = config["num_hidden_layers"], _window(config), config.get("layer_types")
    slides, full = config.get("use_sliding_window"), config.get("max_window_layers", layers)
    every = config.get("sliding_window_pattern") or family.full_every
    if types:
        unknown = set(types) - {"full_attention", "sliding_attention", *(["conv"] if config["model_type"] == "lfm2" else [])}
        if unknown:
            raise ExportError(f"layer_types in config.json: {', '.join(sorted(unknown))} is not supported")
        if config.get("sliding_window") and not _window(config):
            types = ["full_attention" if t == "sliding_attention" else t for t in types]
        if len(types) != layers:
            raise ExportError(f"layer_types in config.json has {len(types)} entries for {layers} layers")
        return list(types)
    if config["model_type"] == "smollm3":
        return ["sliding_attention" if slides and window and not rope else "full_attention" for rope in _rotated(config)]
    if slides and window:
        return ["full_attention" if i < full else "sliding_attention" for i in range(layers)]
    if every is None or not window:
        return ["full_attention"] * layers
    return ["full_attention" if every and (i + 1) % every == 0 else "sliding_attention" for i in range(layers)]


def _rotated(config: dict[str, Any]) -> list[bool]:
    """Returns for each layer if it knows positions (SmolLM3: three of four do)."""
    layers, interval = config["num_hidden_layers"], config.get("no_rope_layer_interval") or 4
    chosen = config.get("no_rope_layers")  # 1: the layer has a rotary embedding
    if config["model_type"] != "smollm3":
        return [True] * layers
    return [bool(c) for c in chosen] if chosen else [(i + 1) % interval != 0 for i in range(layers)]


def cache_inputs(g: Graph, layers: Iterable[int], kv_heads: int, head_dim: int) -> None:
    """past_key_values.N.key/value [batch, kv_heads, past, head_dim], in the compute type."""
    for i in layers:
        for part in ("key", "value"):
            g.input(f"past_key_values.{i}.{part}", g.compute, ["batch", kv_heads, "past", head_dim])


def cache_outputs(g: Graph, layers: Iterable[int], kv_heads: int, head_dim: int) -> None:
    for i in layers:
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


def logits(g: Graph, x: str, table: str, vocabulary: int, hidden: int, bias: str | None = None, divisor: float = 1.0,
           cap: float | None = None) -> None:
    """The head: x times the table transposed. Always f32, whatever the weights are: sampling wants it so."""
    with g.scope("lm_head"):
        y = g.op("MatMul", g.ordered(x, table), g.op("Transpose", g.param(table, (vocabulary, hidden)), perm=[1, 0]))
        if bias:
            y = g.op("Add", y, g.param(bias, (vocabulary,)))
        if g.compute != FLOAT:
            y = g.cast(y, FLOAT)
        if divisor != 1.0:
            y = g.op("Div", y, g.constant(divisor, np.float32))
        if cap:
            limit = g.constant(cap, np.float32)
            y = g.op("Mul", g.op("Tanh", g.op("Div", y, limit)), limit)
    g.output(y, "logits", FLOAT, ["batch", "sequence", vocabulary])


def split_rows(checkpoint: Checkpoint, fused: str, parts: dict[str, int]) -> None:
    """Makes the rows of one projection several, without a copy."""
    for kind in (".weight", ".bias"):
        weight = checkpoint.weights.get(fused + kind)
        if weight is None:
            continue
        if weight.shape[0] != sum(parts.values()):
            raise ExportError(
                f"{checkpoint.directory}: the tensor {fused}{kind} has {weight.shape[0]} rows, but config.json makes it "
                f"{sum(parts.values())}")
        begin = 0
        for name, rows in parts.items():
            checkpoint.weights[name + kind] = weight.rows(name + kind, begin, begin + rows)
            begin += rows


class _Sizes:
    """Sizes and scalars of config.json."""

    def __init__(self, config: dict[str, Any], family: Family):
        self.hidden, self.heads = config["hidden_size"], config["num_attention_heads"]
        self.kv_heads = config.get("num_key_value_heads") or self.heads
        self.head_dim = config.get("head_dim") or self.hidden // self.heads
        self.layers, self.vocabulary, self.ffn = config["num_hidden_layers"], config["vocab_size"], config["intermediate_size"]
        self.epsilon = config.get("layer_norm_eps" if family.layer_norm else "rms_norm_eps", 1e-6)
        scalar = config.get("query_pre_attn_scalar")
        self.attention_scale = float(config.get("attention_multiplier") or (scalar or self.head_dim) ** -0.5)
        self.embedding_scale = float(config.get("embedding_multiplier") or (self.hidden**0.5 if family.embedding_scaled else 1.0))
        self.residual_scale = float(config.get("residual_multiplier") or 1.0)
        self.logits_divisor = float(config.get("logits_scaling") or 1.0)
        self.attention_cap = config.get("attn_logit_softcapping")
        self.logits_cap = config.get("final_logit_softcapping")
        self.parallel = bool(config.get("use_parallel_residual"))


class _Builder:
    """The parts of a decoder's graph."""

    def __init__(self, checkpoint: Checkpoint):
        self.checkpoint, self.config = checkpoint, checkpoint.config
        self.family = FAMILIES[self.config["model_type"]]
        self.names, self.sizes = self.family.names, _Sizes(self.config, self.family)
        self.prefix = checkpoint.prefix(self.names.prefixes, self.names.embedding)
        self.act = _first(self.config, "hidden_activation", "hidden_act") or self.family.act
        # A GGUF's norms have the offset in them already.
        self.norm_offset = self.config.get("norm_offset", self.family.norm_offset)
        self.llama2c = self.config["model_type"] == "llama2c"
        # bitllama's layers have no norms of their own: each linear divides its input by the root mean square and the size.
        self.bit = self.llama2c and not any(self.names.before_attention in name for name in checkpoint.weights)
        self.g = g = Graph(checkpoint, self.prefix + self.names.embedding)
        self.ids = g.input("input_ids", INT64, ["batch", "sequence"])
        self.positions = g.input("position_ids", INT64, ["batch", "sequence"])
        self.types = _layer_types(self.config, self.family)
        self.attending = [i for i, kind in enumerate(self.types) if kind != "conv"]
        self.taps = self.config["conv_L_cache"] if len(self.attending) < len(self.types) else 0
        cache_inputs(g, self.attending, self.sizes.kv_heads, self.sizes.head_dim)
        for i, kind in enumerate(self.types):
            if kind == "conv":
                g.input(f"past_conv.{i}", g.compute, ["batch", self.sizes.hidden, self.taps - 1])

    def norm(self, x: str, name: str, size: int) -> str:
        g = self.g
        with g.scope(name.rsplit(".", 1)[-1]):
            scale = g.vector(name + self.names.suffix, (size,), self.norm_offset)
            if self.family.layer_norm:
                return g.op("LayerNormalization",
                            x,
                            scale,
                            g.param(name + ".bias", (size, )),
                            axis=-1,
                            epsilon=float(self.sizes.epsilon))
            return g.op("RMSNormalization", x, scale, axis=-1, epsilon=float(self.sizes.epsilon), stash_type=1)

    def linear(self, x: str, name: str, rows: int, columns: int, bias: bool | None = None) -> str:
        g = self.g
        if not self.llama2c:
            return g.linear(x, name, rows, columns, bias or None)
        with g.scope(name.rsplit(".", 1)[-1]):
            return g.op("MatMul", x, g.op("Transpose", g.param(name, (rows, columns)), perm=[1, 0]))

    def bit_norm(self, x: str, size: int) -> str:
        if not self.bit:
            return x
        with self.g.scope("bit_norm"):
            share = self.g.constant(np.full(size, 1 / size), np.float32)
            return self.g.op("RMSNormalization", x, share, axis=-1, epsilon=1e-24, stash_type=1)

    def layer_norm(self, x: str, name: str) -> str:
        if self.bit:
            return self.bit_norm(x, self.sizes.hidden)
        y = self.norm(x, name, self.sizes.hidden)
        # out2Msp: relu(norm - 1), so that most activations are zero.
        return self.g.op("Relu", self.g.op("Sub", y, self.g.scalar(1.0))) if self.act == "shifted_relu" else y

    def scaled(self, x: str, factor: float) -> str:
        return x if factor == 1.0 else self.g.op("Mul", x, self.g.scalar(factor))

    def rotary(self, layer_type: str) -> tuple[str, str, int]:
        """cos and sin [batch, sequence, rotary / 2], computed: a table for all positions would be tens of megabytes."""
        g, rope = self.g, _rope_settings(self.config, self.family, layer_type)
        rotary = int(self.sizes.head_dim * rope["partial_rotary_factor"])
        with g.scope("rotary" if layer_type == "full_attention" else "rotary_sliding"):
            frequencies, factor = rope_frequencies(self.config, rope, rotary)
            angle = g.op("Mul", g.cast(g.op("Unsqueeze", self.positions, g.constant([2])), FLOAT),
                         g.constant(frequencies, np.float32))
            cos, sin = g.op("Cos", angle), g.op("Sin", angle)
            if factor != 1.0:
                cos, sin = (g.op("Mul", v, g.constant(factor, np.float32)) for v in (cos, sin))
            if g.compute != FLOAT:
                cos, sin = g.cast(cos, g.compute), g.cast(sin, g.compute)
        return cos, sin, rotary

    def rotate(self, x: str, count: int, tables: tuple[str, str, int]) -> str:
        cos, sin, rotary = tables
        attributes: dict[str, Any] = {"rotary_embedding_dim": rotary} if rotary != self.sizes.head_dim else {}
        return self.g.op("RotaryEmbedding", x, cos, sin, num_heads=count,
                         interleaved=int(self.config.get("llama2c_interleaved", False)), **attributes)

    def normed_heads(self, x: str, layer: str, part: str, count: int) -> str:
        """q or k after the family's norm of it."""
        g, kind, head_dim = self.g, self.family.qk_norm, self.sizes.head_dim
        if kind == "width":
            return self.norm(x, layer + (self.names.q_norm if part == "q" else self.names.k_norm), count * head_dim)
        if not kind or (kind == "heads" and not self.config.get("qk_layernorm")):
            return x
        heads = g.op("Reshape", x, g.constant([0, 0, count, head_dim]))
        if kind == "head":
            y = self.norm(heads, layer + (self.names.q_norm if part == "q" else self.names.k_norm), head_dim)
        else:
            # StableLM: each head's weights are a tensor of their own.
            rows = [g.values(f"{layer}self_attn.{part}_layernorm.norms.{n}.weight", (head_dim,)) for n in range(count)]
            one, float_type = np.ones(head_dim), np.float32 if g.compute == FLOAT else np.float16
            y = g.op("LayerNormalization", heads, g.constant(one, float_type), axis=-1, epsilon=float(self.sizes.epsilon))
            y = g.op("Mul", y, g.constant(np.stack(rows), float_type))
        return g.op("Reshape", y, g.constant([0, 0, count * head_dim]))

    def projections(self, x: str, layer: str) -> list[str]:
        """q, k and v of the normalized x."""
        g, names, s = self.g, self.names, self.sizes
        q_rows, kv_rows = s.heads * s.head_dim, s.kv_heads * s.head_dim
        bias = self.config.get("attention_bias") or self.config.get("use_qkv_bias")
        if self.family.qkv_by_head:
            y = g.op("Reshape", self.linear(x, layer + names.qkv, 3 * q_rows, s.hidden, bias),
                     g.constant([0, 0, s.heads, 3 * s.head_dim]))
            parts = [f"/{layer.strip('.')}/{part}" for part in "qkv"]
            g.op("Split", y, outputs=parts, axis=-1, num_outputs=3)
            return [g.op("Reshape", part, g.constant([0, 0, q_rows])) for part in parts]
        if layer + names.q + names.suffix not in self.checkpoint:
            split_rows(self.checkpoint, layer + names.qkv,
                       {layer + names.q: q_rows, layer + names.k: kv_rows, layer + names.v: kv_rows})
        return [self.linear(x, layer + name, rows, s.hidden, bias)
                for name, rows in ((names.q, q_rows), (names.k, kv_rows), (names.v, kv_rows))]

    def attention(self, x: str, i: int, tables: tuple[str, str, int] | None, mask: str) -> str:
        g, names, s = self.g, self.names, self.sizes
        layer = self.prefix + names.layer % i
        q, k, v = self.projections(x, layer)
        q, k = self.normed_heads(q, layer, "q", s.heads), self.normed_heads(k, layer, "k", s.kv_heads)
        if tables:
            q, k = self.rotate(q, s.heads, tables), self.rotate(k, s.kv_heads, tables)
        attributes: dict[str, Any] = {} if mask else {"is_causal": 1}
        if s.attention_cap:
            attributes["softcap"] = float(s.attention_cap)
        y = g.op("Attention", q, k, v, mask, f"past_key_values.{i}.key", f"past_key_values.{i}.value",
                 outputs=[f"/layers.{i}/self_attn/Attention_out", f"present.{i}.key", f"present.{i}.value"],
                 q_num_heads=s.heads, kv_num_heads=s.kv_heads, scale=s.attention_scale, **attributes)
        y = self.bit_norm(y, s.heads * s.head_dim)
        return self.linear(y, layer + names.o, s.hidden, s.heads * s.head_dim, self.config.get("attention_bias"))

    def convolution(self, x: str, i: int) -> str:
        """LFM2: out(c * conv(b * x)), where conv sees the last few positions of each channel. Those of earlier calls come in as
        past_conv.N [batch, hidden, taps - 1], which has one size at every length."""
        g, hidden = self.g, self.sizes.hidden
        layer, bias = f"{self.prefix}{self.names.layer % i}conv.", self.config.get("conv_bias")
        parts = [f"/layers.{i}/conv/{part}" for part in "bcx"]
        g.op("Split", self.linear(x, layer + "in_proj", 3 * hidden, hidden, bias), outputs=parts, axis=-1, num_outputs=3)
        new = g.op("Transpose", g.op("Mul", parts[0], parts[2]), perm=[0, 2, 1])
        rows = g.op("Concat", f"past_conv.{i}", new, axis=2)
        weight = [
            g.param(layer + "conv.weight", (hidden, 1, self.taps)), *([g.param(layer + "conv.bias", (hidden, ))] if bias else [])
        ]
        y = g.op("Conv", rows, *weight, group=hidden, kernel_shape=[self.taps])
        last = g.op("Slice", rows, g.constant([1 - self.taps]), g.constant([2**31 - 1]), g.constant([2]))
        g.output(last, f"present_conv.{i}", g.compute, ["batch", hidden, self.taps - 1])
        y = g.op("Mul", parts[1], g.op("Transpose", y, perm=[0, 2, 1]))
        return self.linear(y, layer + "out_proj", hidden, hidden, bias)

    def mlp(self, x: str, i: int) -> str:
        g, names, s = self.g, self.names, self.sizes
        layer, bias = self.prefix + names.layer % i, self.config.get("mlp_bias")
        if not self.family.gated:
            return self.linear(g.activation(self.linear(x, layer + names.up, s.ffn, s.hidden, bias), self.act), layer + names.down,
                               s.hidden, s.ffn, bias)
        if layer + names.gate + names.suffix not in self.checkpoint:
            split_rows(self.checkpoint, layer + names.gate_up, {layer + names.gate: s.ffn, layer + names.up: s.ffn})
        gate, up = (self.linear(x, layer + name, s.ffn, s.hidden, bias) for name in (names.gate, names.up))
        if self.act == "shifted_relu":
            gate = g.op("Relu", g.op("Sub", gate, g.scalar(0.25)))
        else:
            gate = g.activation(gate, self.act)
        y = self.bit_norm(g.op("Mul", gate, up), s.ffn)
        return self.linear(y, layer + names.down, s.hidden, s.ffn, bias)

    def layer(self, x: str, i: int, tables: tuple[str, str, int] | None, mask: str) -> str:
        g, names, s = self.g, self.names, self.sizes
        layer = self.prefix + names.layer % i

        def branch(y: str, after: str) -> str:
            y = self.layer_norm(y, layer + after) if after else y
            return self.scaled(y, s.residual_scale)

        with g.scope(f"layers.{i}"):
            with g.scope("self_attn"):
                first = self.layer_norm(x, layer + names.before_attention) if names.before_attention else x
                mixed = self.convolution(first, i) if self.types[i] == "conv" else self.attention(first, i, tables, mask)
                attended = branch(mixed, names.after_attention)
                if not s.parallel:
                    x = g.op("Add", x, attended)
            with g.scope("mlp"):
                shares_norm = s.parallel and layer + names.before_mlp + names.suffix not in self.checkpoint
                h = first if shares_norm else self.layer_norm(x, layer + names.before_mlp) if names.before_mlp else x
                y = branch(self.mlp(h, i), names.after_mlp)
                x = g.op("Add", x, y)
                return g.op("Add", x, attended) if s.parallel else x

    def build(self) -> None:
        g, s, names = self.g, self.sizes, self.names
        types, rotated, window = self.types, _rotated(self.config), _window(self.config)
        if "sliding_attention" in types and not window:
            raise ExportError(
                f"{self.checkpoint.directory}: layer_types in config.json has sliding_attention, but sliding_window is missing")
        tables = {t: self.rotary(t) for t in sorted(set(types))} if self.config["model_type"] == "gemma3_text" else \
            dict.fromkeys(set(types), self.rotary("full_attention"))
        masks = {t: window_mask(g, window) if window and t == "sliding_attention" else "" for t in sorted(set(types))}
        with g.scope("embed_tokens"):
            x = g.embedding(self.ids, self.prefix + names.embedding, (s.vocabulary, s.hidden))
            x = self.scaled(x, s.embedding_scale)
        for i, kind in enumerate(types):
            x = self.layer(x, i, tables[kind] if rotated[i] else None, masks[kind])
        x = self.norm(x, self.prefix + names.norm, s.hidden)
        tied, may_tie = names.head not in self.checkpoint, self.config.get("tie_word_embeddings", False)
        if tied and not may_tie:
            raise ExportError(
                f"{self.checkpoint.directory}: no tensor {names.head}, and tie_word_embeddings is not true in config.json: "
                "a checkpoint without a language-model head cannot be exported")
        logits(g, x, self.prefix + names.embedding if tied else names.head, s.vocabulary, s.hidden, divisor=s.logits_divisor,
               cap=s.logits_cap)
        cache_outputs(g, self.attending, s.kv_heads, s.head_dim)


def build(checkpoint: Checkpoint, metadata: dict[str, str]) -> tuple[Graph, onnx.ModelProto]:
    builder = _Builder(checkpoint)
    builder.build()
    return builder.g, builder.g.model(checkpoint.config["model_type"], metadata)
