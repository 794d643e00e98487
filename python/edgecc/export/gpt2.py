"""GPT-2: learned positions, layer norms before the blocks, one fused q/k/v projection stored [in, out]."""

from __future__ import annotations

import onnx

from .checkpoint import Checkpoint, ExportError
from .decoder import cache_inputs, cache_outputs, logits
from .graph import INT64, Graph


def build(checkpoint: Checkpoint, metadata: dict[str, str]) -> tuple[Graph, onnx.ModelProto]:
    config = checkpoint.config
    for flag in ("scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "add_cross_attention"):
        if config.get(flag):
            raise ExportError(f"{flag} in config.json is not supported for gpt2")
    prefix = checkpoint.prefix(("transformer.", ""), "wte.weight")
    hidden, heads, layers = config["n_embd"], config["n_head"], config["n_layer"]
    vocabulary, ffn = config["vocab_size"], config.get("n_inner") or 4 * hidden
    epsilon, act = config.get("layer_norm_epsilon", 1e-5), config.get("activation_function", "gelu_new")
    head_dim = hidden // heads

    g = Graph(checkpoint, prefix + "wte.weight")
    ids = g.input("input_ids", INT64, ["batch", "sequence"])
    positions = g.input("position_ids", INT64, ["batch", "sequence"])
    cache_inputs(g, range(layers), heads, head_dim)

    def norm(x: str, name: str) -> str:
        with g.scope(name.rsplit(".", 1)[-1]):
            return g.op("LayerNormalization", x, g.param(name + ".weight", (hidden,)), g.param(name + ".bias", (hidden,)),
                        axis=-1, epsilon=float(epsilon))

    def conv1d(x: str, name: str, columns: int, rows: int) -> str:
        """GPT-2's weights lie [in, out]: no Transpose."""
        with g.scope(name.rsplit(".", 1)[-1]):
            y = g.op("MatMul", x, g.param(name + ".weight", (columns, rows)))
            return g.op("Add", y, g.param(name + ".bias", (rows,)))

    with g.scope("embeddings"):
        x = g.op("Add", g.embedding(ids, prefix + "wte.weight", (vocabulary, hidden)),
                 g.embedding(positions, prefix + "wpe.weight", (config["n_positions"], hidden)))
    for i in range(layers):
        layer = f"{prefix}h.{i}."
        with g.scope(f"layers.{i}"):
            with g.scope("attn"):
                qkv = conv1d(norm(x, layer + "ln_1"), layer + "attn.c_attn", hidden, 3 * hidden)
                parts = [f"/layers.{i}/attn/{part}" for part in ("query", "key", "value")]
                g.op("Split", qkv, outputs=parts, axis=-1, num_outputs=3)
                scale = {} if config.get("scale_attn_weights", True) else {"scale": 1.0}
                y = g.op("Attention", *parts, "", f"past_key_values.{i}.key", f"past_key_values.{i}.value",
                         outputs=[f"/layers.{i}/attn/Attention_out", f"present.{i}.key", f"present.{i}.value"],
                         q_num_heads=heads, kv_num_heads=heads, is_causal=1, **scale)
                x = g.op("Add", conv1d(y, layer + "attn.c_proj", hidden, hidden), x)
            with g.scope("mlp"):
                y = g.activation(conv1d(norm(x, layer + "ln_2"), layer + "mlp.c_fc", hidden, ffn), act)
                x = g.op("Add", x, conv1d(y, layer + "mlp.c_proj", ffn, hidden))
    x = norm(x, prefix + "ln_f")
    tied = config.get("tie_word_embeddings", True)
    head = "lm_head.weight" if "lm_head.weight" in checkpoint else prefix + "wte.weight"
    if not tied and "lm_head.weight" not in checkpoint:
        raise ExportError(f"{checkpoint.directory}: no tensor lm_head.weight, and tie_word_embeddings is false in config.json")
    logits(g, x, head, vocabulary, hidden)
    cache_outputs(g, range(layers), heads, head_dim)
    return g, g.model("gpt2", metadata)
