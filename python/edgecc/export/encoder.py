"""BERT (MiniLM and other sentence encoders among them) and ALBERT, whose layers share their weights."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from .checkpoint import Checkpoint, ExportError
from .graph import BOOL, FLOAT, INT64, Graph


def _norm(g: Graph, x: str, name: str, size: int, epsilon: float) -> str:
    # Old checkpoints say gamma and beta.
    scale, bias = ("gamma", "beta") if name + ".gamma" in g.checkpoint else ("weight", "bias")
    with g.scope(name.rsplit(".", 1)[-1]):
        return g.op("LayerNormalization", x, g.param(f"{name}.{scale}", (size,)), g.param(f"{name}.{bias}", (size,)), axis=-1,
                    epsilon=float(epsilon))


def _attention(g: Graph, x: str, mask: str, names: tuple[str, str, str, str], hidden: int, heads: int) -> str:
    q, k, v = (g.linear(x, name, hidden, hidden, bias=True) for name in names[:3])
    y = g.op("Attention", q, k, v, mask, q_num_heads=heads, kv_num_heads=heads)
    return g.linear(y, names[3], hidden, hidden, bias=True)


def _sentence_embedding(g: Graph, x: str) -> str:
    """The mean over the real tokens, of length 1: what sentence-transformers' models are trained to give."""
    with g.scope("pooling"):
        x = x if g.compute == FLOAT else g.cast(x, FLOAT)
        mask = g.op("Unsqueeze", g.cast("attention_mask", FLOAT), g.constant([2]))
        total = g.op("ReduceSum", g.op("Mul", x, mask), g.constant([1]), keepdims=0)
        count = g.op("Max", g.op("ReduceSum", mask, g.constant([1]), keepdims=0), g.constant(1e-9, "float32"))
        mean = g.op("Div", total, count)
        length = g.op("Max", g.op("ReduceL2", mean, g.constant([1]), keepdims=1), g.constant(1e-12, "float32"))
        return g.op("Div", mean, length)


def _linear_classifier(g: Graph, vector: str, file: Path, hidden: int) -> None:
    try:
        with np.load(file) as arrays:
            weight, bias = (np.asarray(arrays[name], np.float32) for name in ("weight", "bias"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise ExportError(f"--classifier {file}: not an .npz with the arrays weight and bias ({error})") from None
    if weight.ndim != 2 or weight.shape[1] != hidden or bias.shape != weight.shape[:1]:
        raise ExportError(f"--classifier {file}: weight is {list(weight.shape)} and bias {list(bias.shape)}, but a label for each row of "
                          f"weight [labels, {hidden}] and bias [labels] is needed")
    with g.scope("classifier"):
        y = g.op("Add", g.op("MatMul", vector, g.constant(weight.T, "float32")), g.constant(bias, "float32"))
        g.output(y, "logits", FLOAT, ["batch", len(bias)])


def build(checkpoint: Checkpoint, metadata: dict[str, str], pooling: str, classifier: Path | None) -> tuple[Graph, onnx.ModelProto]:
    config = checkpoint.config
    albert = config["model_type"] == "albert"
    prefix = checkpoint.prefix(("albert.", "") if albert else ("bert.", ""), "embeddings.word_embeddings.weight")
    hidden, heads, layers = config["hidden_size"], config["num_attention_heads"], config["num_hidden_layers"]
    ffn, vocabulary = config["intermediate_size"], config["vocab_size"]
    width = config.get("embedding_size", hidden) if albert else hidden
    epsilon, act = config.get("layer_norm_eps", 1e-12), config.get("hidden_act", "gelu_new" if albert else "gelu")
    position_kind = config.get("position_embedding_type") or "absolute"
    if position_kind != "absolute":
        raise ExportError(f"position_embedding_type {position_kind} in config.json is not supported; only absolute is")

    g = Graph(checkpoint, prefix + "embeddings.word_embeddings.weight")
    ids = g.input("input_ids", INT64, ["batch", "sequence"])
    mask = g.input("attention_mask", INT64, ["batch", "sequence"])
    types = g.input("token_type_ids", INT64, ["batch", "sequence"])
    with g.scope("mask"):
        # [batch, 1, sequence, sequence], true where a query may look: at every token that is no padding.
        sequence = g.op("Shape", ids, start=1, end=2)
        shape = g.op("Concat", g.constant([1, 1]), sequence, g.constant([1]), axis=0)
        keys = g.op("Unsqueeze", g.cast(mask, BOOL), g.constant([1, 2]))
        keep = g.op("Expand", keys, shape)
    with g.scope("embeddings"):
        table = prefix + "embeddings."
        x = g.op("Add", g.embedding(ids, table + "word_embeddings.weight", (vocabulary, width)),
                 g.embedding(types, table + "token_type_embeddings.weight", (config["type_vocab_size"], width)))
        # The first `sequence` positions: a slice, not a gather.
        rows = g.op("Slice", g.weight(table + "position_embeddings.weight", (config["max_position_embeddings"], width)),
                    g.constant([0]), sequence, g.constant([0]))
        if g.initializers[table + "position_embeddings.weight"].data_type != g.compute:
            rows = g.cast(rows, g.compute)
        x = _norm(g, g.op("Add", x, rows), table + "LayerNorm", width, epsilon)
        if albert:
            x = g.linear(x, prefix + "encoder.embedding_hidden_mapping_in", hidden, width, bias=True)

    for i in range(layers):
        with g.scope(f"layer.{i}"):
            x = (_albert_layer if albert else _bert_layer)(g, x, keep, prefix, i, config, (hidden, heads, ffn, epsilon, act))
    if pooling == "mean":
        vector = _sentence_embedding(g, x)
        if classifier:
            _linear_classifier(g, vector, classifier, hidden)
        else:
            g.output(vector, "sentence_embedding", FLOAT, ["batch", hidden])
        return g, g.model(config["model_type"], metadata)

    kind = (config.get("architectures") or ["Model"])[0]
    if kind.endswith("ForMaskedLM") or kind.endswith("ForPreTraining"):
        _masked_head(g, x, albert, prefix, (hidden, width, vocabulary), epsilon, act)
    elif kind.endswith("ForSequenceClassification"):
        _classifier(g, x, albert, prefix, hidden, config)
    elif kind.endswith("Model"):
        g.output(x if g.compute == FLOAT else g.cast(x, FLOAT), "last_hidden_state", FLOAT, ["batch", "sequence", hidden])
    else:
        raise ExportError(f"the head of {kind} (architectures in config.json) is not supported; known are ...Model, "
                          "...ForMaskedLM, ...ForPreTraining, ...ForSequenceClassification, and --pooling mean")
    return g, g.model(config["model_type"], metadata)


def _bert_layer(g: Graph, x: str, mask: str, prefix: str, i: int, config: dict[str, Any], sizes: tuple) -> str:
    hidden, heads, ffn, epsilon, act = sizes
    layer = f"{prefix}encoder.layer.{i}."
    own = layer + "attention.self."
    with g.scope("attention"):
        y = _attention(g, x, mask, (own + "query", own + "key", own + "value", layer + "attention.output.dense"), hidden, heads)
        x = _norm(g, g.op("Add", y, x), layer + "attention.output.LayerNorm", hidden, epsilon)
    with g.scope("mlp"):
        y = g.activation(g.linear(x, layer + "intermediate.dense", ffn, hidden, bias=True), act)
        y = g.linear(y, layer + "output.dense", hidden, ffn, bias=True)
        return _norm(g, g.op("Add", y, x), layer + "output.LayerNorm", hidden, epsilon)


def _albert_layer(g: Graph, x: str, mask: str, prefix: str, i: int, config: dict[str, Any], sizes: tuple) -> str:
    hidden, heads, ffn, epsilon, act = sizes
    # Layer i uses group i * groups / layers, and runs each of the group's inner layers.
    group = i * config.get("num_hidden_groups", 1) // config["num_hidden_layers"]
    for inner in range(config.get("inner_group_num", 1)):
        layer = f"{prefix}encoder.albert_layer_groups.{group}.albert_layers.{inner}."
        own = layer + "attention."
        with g.scope("attention"):
            y = _attention(g, x, mask, (own + "query", own + "key", own + "value", own + "dense"), hidden, heads)
            x = _norm(g, g.op("Add", y, x), own + "LayerNorm", hidden, epsilon)
        with g.scope("mlp"):
            y = g.activation(g.linear(x, layer + "ffn", ffn, hidden, bias=True), act)
            y = g.linear(y, layer + "ffn_output", hidden, ffn, bias=True)
            x = _norm(g, g.op("Add", y, x), layer + "full_layer_layer_norm", hidden, epsilon)
    return x


def _masked_head(g: Graph, x: str, albert: bool, prefix: str, sizes: tuple[int, int, int], epsilon: float, act: str) -> None:
    hidden, width, vocabulary = sizes
    head = "predictions." if albert else "cls.predictions."
    transform, norm = (head + "dense", head + "LayerNorm") if albert else (head + "transform.dense",
                                                                           head + "transform.LayerNorm")
    with g.scope("head"):
        x = _norm(g, g.activation(g.linear(x, transform, width, hidden, bias=True), act), norm, width, epsilon)
        table = head + "decoder.weight"
        if table not in g.checkpoint:
            table = prefix + "embeddings.word_embeddings.weight"
        bias = head + ("bias" if head + "bias" in g.checkpoint else "decoder.bias")
        y = g.op("Add", g.op("MatMul", x, g.op("Transpose", g.param(table, (vocabulary, width)), perm=[1, 0])),
                 g.param(bias, (vocabulary,)))
        g.output(y if g.compute == FLOAT else g.cast(y, FLOAT), "logits", FLOAT, ["batch", "sequence", vocabulary])


def _classifier(g: Graph, x: str, albert: bool, prefix: str, hidden: int, config: dict[str, Any]) -> None:
    labels = g.checkpoint.weights["classifier.weight"].shape[0] if "classifier.weight" in g.checkpoint else 0
    with g.scope("classifier"):
        first = g.op("Gather", x, g.constant(0), axis=1)
        pooled = g.op("Tanh", g.linear(first, prefix + ("pooler" if albert else "pooler.dense"), hidden, hidden, bias=True))
        y = g.linear(pooled, "classifier", labels, hidden, bias=True)
        g.output(y if g.compute == FLOAT else g.cast(y, FLOAT), "logits", FLOAT, ["batch", labels])
