"""Checkpoints of any shape with random weights, for measurements and tests: no download, no training.

A sparse one costs no disk and no time: the matrices are holes in the file and read as zeros, vectors (norms, biases) are written.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Iterator

import numpy as np

from .checkpoint import ExportError, write_safetensors

_LLAMA = dict(model_type="llama", hidden=2048, ffn=8192, layers=16, heads=32, kv_heads=8, vocabulary=128256, context=131072,
              theta=500000.0, tied=True)
# Shapes of known models, and shapes for measuring.
PRESETS: dict[str, dict[str, Any]] = {
    "llama": dict(model_type="llama", hidden=64, ffn=176, layers=2, heads=4, kv_heads=2, vocabulary=256, context=512),
    "mistral": dict(model_type="mistral", hidden=64, ffn=176, layers=2, heads=4, kv_heads=2, vocabulary=256, context=512,
                    window=16),
    "qwen2": dict(model_type="qwen2", hidden=64, ffn=176, layers=2, heads=4, kv_heads=2, vocabulary=256, context=512),
    "qwen3": dict(model_type="qwen3", hidden=64, ffn=176, layers=2, heads=4, kv_heads=2, head_dim=32, vocabulary=256,
                  context=512),
    "gpt2": dict(model_type="gpt2", hidden=64, ffn=256, layers=2, heads=4, vocabulary=256, context=512),
    "bert": dict(model_type="bert", hidden=64, ffn=256, layers=2, heads=4, vocabulary=256, context=512),
    "minilm-l6": dict(model_type="bert", hidden=384, ffn=1536, layers=6, heads=12, vocabulary=30522, context=512),
    "bert-base": dict(model_type="bert", hidden=768, ffn=3072, layers=12, heads=12, vocabulary=30522, context=512),
    "gpt2-small": dict(model_type="gpt2", hidden=768, ffn=3072, layers=12, heads=12, vocabulary=50257, context=1024),
    "tinyllama-1.1b": dict(_LLAMA, ffn=5632, layers=22, kv_heads=4, vocabulary=32000, context=2048, theta=10000.0, tied=False),
    "llama-3.2-1b": dict(_LLAMA),
    "llama-3.2-3b": dict(_LLAMA, hidden=3072, layers=28, heads=24),
    "llama-4b": dict(_LLAMA, hidden=3072, ffn=8192, layers=36, heads=24, vocabulary=128256),
    "llama-3.1-8b": dict(_LLAMA, hidden=4096, ffn=14336, layers=32, tied=False),
    "mistral-7b": dict(model_type="mistral", hidden=4096, ffn=14336, layers=32, heads=32, kv_heads=8, vocabulary=32000,
                       context=32768, window=4096, tied=False),
    "qwen2.5-0.5b": dict(model_type="qwen2", hidden=896, ffn=4864, layers=24, heads=14, kv_heads=2, vocabulary=151936,
                         context=32768, theta=1000000.0, tied=True),
    "qwen3-0.6b": dict(model_type="qwen3", hidden=1024, ffn=3072, layers=28, heads=16, kv_heads=8, head_dim=128,
                       vocabulary=151936, context=40960, theta=1000000.0, tied=True),
    "qwen3-4b": dict(model_type="qwen3", hidden=2560, ffn=9728, layers=36, heads=32, kv_heads=8, head_dim=128, vocabulary=151936,
                     context=40960, theta=1000000.0, tied=True),
}


def _config(shape: dict[str, Any]) -> dict[str, Any]:
    kind, hidden, heads = shape["model_type"], shape["hidden"], shape["heads"]
    if hidden % heads and not shape.get("head_dim"):
        raise ExportError(f"--hidden {hidden} is no multiple of --heads {heads}; give --head-dim too")
    if heads % shape.get("kv_heads", heads):
        raise ExportError(f"--heads {heads} is no multiple of --kv-heads {shape['kv_heads']}")
    if kind == "gpt2":
        return {"model_type": kind, "architectures": ["GPT2LMHeadModel"], "n_embd": hidden, "n_head": heads,
                "n_layer": shape["layers"], "n_inner": shape["ffn"], "n_positions": shape["context"],
                "vocab_size": shape["vocabulary"], "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
                "eos_token_id": shape["vocabulary"] - 1}
    config = {"model_type": kind, "hidden_size": hidden, "num_attention_heads": heads, "num_hidden_layers": shape["layers"],
              "intermediate_size": shape["ffn"], "max_position_embeddings": shape["context"],
              "vocab_size": shape["vocabulary"]}
    if kind == "bert":
        return {**config, "architectures": ["BertModel"], "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12}
    return {**config, "architectures": [kind.capitalize() + "ForCausalLM"], "num_key_value_heads": shape.get("kv_heads", heads),
            "head_dim": shape.get("head_dim") or hidden // heads, "hidden_act": "silu", "rms_norm_eps": 1e-6,
            "rope_theta": shape.get("theta", 10000.0), "tie_word_embeddings": shape.get("tied", True), "bos_token_id": 1,
            "eos_token_id": 2, "sliding_window": shape.get("window")}


def _tensors(config: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes as transformers would save them."""
    kind = config["model_type"]
    if kind == "gpt2":
        h, f = config["n_embd"], config["n_inner"]
        yield "wte.weight", (config["vocab_size"], h)
        yield "wpe.weight", (config["n_positions"], h)
        for i in range(config["n_layer"]):
            for name, size in (("ln_1", (h,)), ("attn.c_attn", (h, 3 * h)), ("attn.c_proj", (h, h)), ("ln_2", (h,)),
                                ("mlp.c_fc", (h, f)), ("mlp.c_proj", (f, h))):
                yield f"h.{i}.{name}.weight", size
                yield f"h.{i}.{name}.bias", size[-1:]
        yield "ln_f.weight", (h,)
        yield "ln_f.bias", (h,)
        return
    h, f = config["hidden_size"], config["intermediate_size"]
    if kind == "bert":
        for name, rows in (("word", config["vocab_size"]), ("position", config["max_position_embeddings"]),
                           ("token_type", config["type_vocab_size"])):
            yield f"embeddings.{name}_embeddings.weight", (rows, h)
        pairs: list[tuple[str, tuple[int, ...]]] = [("embeddings.LayerNorm", (h,))]
        for i in range(config["num_hidden_layers"]):
            layer = f"encoder.layer.{i}."
            pairs += [(layer + f"attention.self.{p}", (h, h)) for p in ("query", "key", "value")]
            pairs += [(layer + "attention.output.dense", (h, h)), (layer + "attention.output.LayerNorm", (h,)),
                      (layer + "intermediate.dense", (f, h)), (layer + "output.dense", (h, f)),
                      (layer + "output.LayerNorm", (h,))]
        for name, shape in pairs:
            yield name + ".weight", shape
            yield name + ".bias", shape[:1]
        return
    d = config["head_dim"]
    q, kv = config["num_attention_heads"] * d, config["num_key_value_heads"] * d
    yield "model.embed_tokens.weight", (config["vocab_size"], h)
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        yield layer + "input_layernorm.weight", (h,)
        for name, rows in (("q", q), ("k", kv), ("v", kv)):
            yield layer + f"self_attn.{name}_proj.weight", (rows, h)
            if kind == "qwen2":
                yield layer + f"self_attn.{name}_proj.bias", (rows,)
        if kind == "qwen3":
            yield layer + "self_attn.q_norm.weight", (d,)
            yield layer + "self_attn.k_norm.weight", (d,)
        yield layer + "self_attn.o_proj.weight", (h, q)
        yield layer + "post_attention_layernorm.weight", (h,)
        yield layer + "mlp.gate_proj.weight", (f, h)
        yield layer + "mlp.up_proj.weight", (f, h)
        yield layer + "mlp.down_proj.weight", (h, f)
    yield "model.norm.weight", (h,)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (config["vocab_size"], h)


def write_random_checkpoint(directory: Path, shape: dict[str, Any], dtype: str, seed: int | None) -> None:
    """Writes config.json and model.safetensors. `dtype` is f32, f16 or bf16; `seed` None makes a sparse file."""
    config = _config(shape)
    kind = {"f32": "F32", "f16": "F16", "bf16": "BF16"}[dtype]
    rng = np.random.default_rng(seed)

    def encode(values: np.ndarray) -> bytes:
        if kind == "BF16":
            return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes()
        return values.astype(np.float16 if kind == "F16" else np.float32).tobytes()

    def fill(stream: Any, name: str, dtype: str, shape: tuple[int, ...]) -> None:
        count = math.prod(shape)
        if len(shape) == 1:
            noise = 0.1 * rng.standard_normal(count, np.float32)
            stream.write(encode(noise if name.endswith("bias") else 1 + noise))
        elif seed is not None:
            # The embedding too: a larger one outshouts the layers, and a tied head then repeats the last token for ever.
            deviation = 0.5 * shape[-1] ** -0.5 if "embed" in name or name.startswith("w") else shape[-1] ** -0.5
            while count:
                chunk = min(count, 1 << 20)
                stream.write(encode(deviation * rng.standard_normal(chunk, np.float32)))
                count -= chunk

    directory.mkdir(parents=True, exist_ok=True)
    write_safetensors(directory / "model.safetensors", ((n, kind, s) for n, s in _tensors(config)), fill, {"format": "pt"})
    (directory / "config.json").write_text(json.dumps(config, indent=1) + "\n")
