"""BERT and its kin (MiniLM and other sentence encoders among them), ALBERT, whose layers share their weights, and ModernBERT.

Padding is on the right: positions count from the first token.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from .checkpoint import Checkpoint, ExportError, rewritten
from .decoder import split_rows
from .graph import BOOL, FLOAT, INT64, Graph


@dataclass(frozen=True)
class Family:
    """Names of a family's tensors; %d is the layer. `types`: token types are an input, the "first" for all, or not there.
    `reserved`: rows of the position table before the first token's, besides one for each id up to the padding's."""

    prefixes: tuple[str, ...]
    types: str = "input"
    reserved: int = 0
    layer: str = "encoder.layer.%d."
    q: str = "attention.self.query"
    k: str = "attention.self.key"
    v: str = "attention.self.value"
    o: str = "attention.output.dense"
    attention_norm: str = "attention.output.LayerNorm"
    up: str = "intermediate.dense"
    down: str = "output.dense"
    output_norm: str = "output.LayerNorm"


FAMILIES = {
    "bert": Family(("bert.", "")),
    "albert": Family(("albert.", "")),
    "electra": Family(("electra.", "")),
    "roberta": Family(("roberta.", ""), "first", 1),
    "xlm-roberta": Family(("roberta.", ""), "first", 1),
    "camembert": Family(("roberta.", ""), "first", 1),
    "mpnet": Family(("mpnet.", ""),
                    "",
                    1,
                    q="attention.attn.q",
                    k="attention.attn.k",
                    v="attention.attn.v",
                    o="attention.attn.o",
                    attention_norm="attention.LayerNorm"),
    "distilbert": Family(("distilbert.", ""),
                         "",
                         layer="transformer.layer.%d.",
                         q="attention.q_lin",
                         k="attention.k_lin",
                         v="attention.v_lin",
                         o="attention.out_lin",
                         attention_norm="sa_layer_norm",
                         up="ffn.lin1",
                         down="ffn.lin2",
                         output_norm="output_layer_norm"),
    "deberta-v2": Family(("deberta.", ""),
                         "",
                         q="attention.self.query_proj",
                         k="attention.self.key_proj",
                         v="attention.self.value_proj"),
    "modernbert": Family(("model.", "")),
}


def first_position(config: dict[str, Any]) -> int:
    """The row of the position table that the first token has: RoBERTa and MPNet count from after the padding's id."""
    kind = config["model_type"]
    if not FAMILIES[kind].reserved:
        return 0
    padding = 1 if kind == "mpnet" else config.get("pad_token_id")
    return (1 if padding is None else int(padding)) + 1


def encoder_config(config: dict[str, Any]) -> dict[str, Any]:
    """DistilBERT's settings under BERT's names."""
    if config.get("model_type") != "distilbert":
        return config
    names = {
        "dim": "hidden_size", "hidden_dim": "intermediate_size", "n_layers": "num_hidden_layers", "n_heads": "num_attention_heads",
        "activation": "hidden_act"
    }
    # Its table of positions is in the checkpoint, whether it was learned or computed.
    return {names.get(k, k): v for k, v in config.items() if k != "sinusoidal_pos_embds"}


def _norm(g: Graph, x: str, name: str, size: int, epsilon: float) -> str:
    # Old checkpoints say gamma and beta.
    scale, bias = ("gamma", "beta") if name + ".gamma" in g.checkpoint else ("weight", "bias")
    with g.scope(name.rsplit(".", 1)[-1]):
        return g.op("LayerNormalization", x, g.param(f"{name}.{scale}", (size,)), g.param(f"{name}.{bias}", (size,)), axis=-1,
                    epsilon=float(epsilon))


def _attention(g: Graph, x: str, mask: str, names: tuple[str, str, str, str], hidden: int, heads: int,
               bias: _Disentangled | None = None) -> str:
    q, k, v = (g.linear(x, name, hidden, hidden, bias=True) for name in names[:3])
    scale: dict[str, Any] = {"scale": bias.scale} if bias else {}
    y = g.op("Attention", q, k, v, bias.of(q, k, names) if bias else mask, q_num_heads=heads, kv_num_heads=heads, **scale)
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
        raise ExportError(
            f"--classifier {file}: weight is {list(weight.shape)} and bias {list(bias.shape)}, but a label for each row of "
            f"weight [labels, {hidden}] and bias [labels] is needed")
    with g.scope("classifier"):
        y = g.op("Add", g.op("MatMul", vector, g.constant(weight.T, "float32")), g.constant(bias, "float32"))
        g.output(y, "logits", FLOAT, ["batch", len(bias)])


# Settings that a head reads which this model may not have.
_OF_HEADS = ("classifier_activation", "classifier_bias", "classifier_pooling", "decoder_bias", "layer_norm_eps", "legacy",
             "num_labels", "pad_token_id", "pooler_dropout", "pooler_hidden_act", "pooler_hidden_size", "tie_weights_",
             "tie_word_embeddings", "type_vocab_size")


def _keep(g: Graph, ids: str, mask: str) -> str:
    """[batch, 1, sequence, sequence], true where a query may look: at every token that is no padding."""
    with g.scope("mask"):
        sequence = g.op("Shape", ids, start=1, end=2)
        shape = g.op("Concat", g.constant([1, 1]), sequence, g.constant([1]), axis=0)
        keys = g.op("Unsqueeze", g.cast(mask, BOOL), g.constant([1, 2]))
        return g.op("Expand", keys, shape)


def _distances(g: Graph, ids: str) -> str:
    """[sequence, sequence]: position of the key less that of the query."""
    sequence = g.op("Squeeze", g.op("Shape", ids, start=1, end=2), g.constant([0]))
    keys = g.op("Range", g.constant(0), sequence, g.constant(1))
    return g.op("Sub", keys, g.op("Unsqueeze", keys, g.constant([1])))


def position_buckets(buckets: int, furthest: int = 128) -> np.ndarray:
    """T5's buckets of the distances -furthest..furthest; those beyond fall into the last (Raffel 2020, section 2.1)."""
    distance = -np.arange(-furthest, furthest + 1)
    half, exact = buckets // 2, buckets // 4
    size = np.abs(distance).astype(np.float32)
    with np.errstate(divide="ignore"):
        large = np.log(size / np.float32(exact)) / np.float32(np.log(furthest / exact)) * np.float32(half - exact)
    large = np.minimum(exact + np.where(size < exact, 0, large).astype(np.int64), half - 1)
    result: np.ndarray = np.where(distance < 0, half, 0) + np.where(size < exact, size.astype(np.int64), large)
    return result


def _position_bias(g: Graph, ids: str, keep: str, name: str, buckets: int, heads: int) -> str:
    """MPNet: a number for each head and distance, added to the scores; minus infinity at padding."""
    if buckets != 32:
        raise ExportError(f"relative_attention_num_buckets {buckets} in config.json is not supported; only 32 is")
    with g.scope("position_bias"):
        near = g.op("Clip", _distances(g, ids), g.constant(-128), g.constant(128))
        bucket = g.op("Gather", g.constant(position_buckets(buckets)), g.op("Add", near, g.constant(128)), axis=0)
        bias = g.op("Transpose", g.op("Gather", g.param(name, (buckets, heads)), bucket, axis=0), perm=[2, 0, 1])
        return g.op("Where", keep, g.op("Unsqueeze", bias, g.constant([0])), g.scalar(-np.inf))


def _deberta_embeddings(g: Graph, config: dict[str, Any], ids: str, mask: str, prefix: str, epsilon: float) -> str:
    """Word embeddings alone; padding becomes zeros."""
    table, hidden = prefix + "embeddings.", config["hidden_size"]
    wanted = {"relative_attention": True, "share_att_key": True, "position_biased_input": False, "type_vocab_size": 0}
    for key, value in wanted.items():
        if config.get(key, value if key == "type_vocab_size" else None) != value:
            raise ExportError(
                f"{key} {config.get(key)} in config.json is not supported for deberta-v2; only {value} (DeBERTa-v3) is")
    if config.get("conv_kernel_size") or config.get("embedding_size", hidden) != hidden:
        raise ExportError("conv_kernel_size and embedding_size in config.json are not supported for deberta-v2")
    with g.scope("embeddings"):
        x = _norm(g, g.embedding(ids, table + "word_embeddings.weight", (config["vocab_size"], hidden)), table + "LayerNorm",
                  hidden, epsilon)
        return g.op("Mul", x, g.op("Unsqueeze", g.cast(mask, g.compute), g.constant([2])))


def log_buckets(buckets: int, longest: int) -> np.ndarray:
    """Buckets of the distances -(longest - 1)..longest - 1: exact near zero, logarithmic beyond (He 2021, DeBERTa-v2)."""
    distance = np.arange(1 - longest, longest)
    if buckets <= 0:
        return distance
    middle = buckets // 2
    size = np.where(np.abs(distance) < middle, middle - 1, np.abs(distance)).astype(np.float32)
    large = np.ceil(np.log(size / np.float32(middle)) / np.log(np.float32(
        (longest - 1) / middle)) * np.float32(middle - 1)) + middle
    result: np.ndarray = np.where(size <= middle, distance, large * np.sign(distance)).astype(np.int64)
    return result


class _Disentangled:
    """DeBERTa's scores of content and distance (He 2020, section 3.1), added to those of content and content."""

    def __init__(self, g: Graph, config: dict[str, Any], prefix: str, ids: str, keep: str, epsilon: float):
        self.g, self.prefix, self.keep, self.epsilon = g, prefix, keep, epsilon
        self.hidden, self.heads = config["hidden_size"], config["num_attention_heads"]
        self.head_dim = self.hidden // self.heads
        kinds, longest, buckets = config.get("pos_att_type") or [], config.get("max_relative_positions",
                                                                               -1), config.get("position_buckets", -1)
        self.kinds = [k.strip() for k in kinds.lower().split("|")] if isinstance(kinds, str) else list(kinds)
        if set(self.kinds) - {"c2p", "p2c"}:
            raise ExportError(f"pos_att_type {kinds} in config.json is not supported; c2p and p2c are")
        if config.get("attention_head_size", self.head_dim) != self.head_dim:
            raise ExportError(
                f"attention_head_size {config['attention_head_size']} in config.json is not supported; only {self.head_dim} is")
        self.normed = "layer_norm" in str(config.get("norm_rel_ebd", "none")).lower()
        longest = longest if longest > 0 else config["max_position_embeddings"]
        self.span = buckets if buckets > 0 else longest
        self.scale = float((self.head_dim * (1 + len(self.kinds))) ** -0.5)
        g.stored(prefix + "encoder.rel_embeddings.weight", (2 * self.span, self.hidden))
        rows = np.clip(log_buckets(buckets, longest) + self.span, 0, 2 * self.span - 1)
        with g.scope("distances"):
            table, distance, middle = g.constant(rows), _distances(g, ids), g.constant(longest - 1)
            place = {"c2p": g.op("Sub", middle, distance), "p2c": g.op("Add", middle, distance)}
            shape = g.op("Shape", keep)
            shape = g.op("Concat",
                         g.op("Slice", shape, g.constant([0]), g.constant([1]), g.constant([0])),
                         g.constant([self.heads]),
                         g.op("Slice", shape, g.constant([2]), g.constant([4]), g.constant([0])),
                         axis=0)
            self.rows = {kind: g.op("Expand", g.op("Gather", table, place[kind], axis=0), shape) for kind in self.kinds}

    def _table(self, projection: str) -> str:
        """The embeddings of distances through a projection of this layer, [heads, head_dim, 2 * span]. No text changes them."""
        g, weights, shape = self.g, self.g.checkpoint.weights, (self.heads, self.head_dim, 2 * self.span)

        def make() -> np.ndarray:
            x = g.values(self.prefix + "encoder.rel_embeddings.weight", (2 * self.span, self.hidden))
            if self.normed:
                norm = [g.values(f"{self.prefix}encoder.LayerNorm.{part}", (self.hidden,)) for part in ("weight", "bias")]
                x = x - x.mean(-1, keepdims=True)
                x = x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(self.epsilon)) * norm[0] + norm[1]
            y = x @ g.values(projection + ".weight", (self.hidden, self.hidden)).T + g.values(projection + ".bias", (self.hidden,))
            values: np.ndarray = y.T.reshape(shape).astype(np.float32 if g.compute == FLOAT else np.float16)
            return values

        name = projection + ".distances"
        weights[name] = rewritten(name, "F32" if g.compute == FLOAT else "F16", shape, make)
        return g.param(name, shape)

    def of(self, q: str, k: str, names: tuple[str, str, str, str]) -> str:
        """The scores of a layer [batch, heads, sequence, sequence], minus infinity at padding."""
        g, total = self.g, ""
        with g.scope("distances"):
            for kind, x, projection in (("c2p", q, names[1]), ("p2c", k, names[0])):
                if kind not in self.kinds:
                    continue
                heads = g.op("Transpose", g.op("Reshape", x, g.constant([0, 0, self.heads, self.head_dim])), perm=[0, 2, 1, 3])
                y = g.op("GatherElements", g.op("MatMul", heads, self._table(projection)), self.rows[kind], axis=3)
                y = g.op("Transpose", y, perm=[0, 1, 3, 2]) if kind == "p2c" else y
                total = g.op("Add", total, y) if total else y
            if not total:
                return self.keep
            return g.op("Where", self.keep, g.op("Mul", total, g.scalar(self.scale)), g.scalar(-np.inf))


def _embeddings(g: Graph, family: Family, config: dict[str, Any], ids: str, prefix: str, width: int, epsilon: float) -> str:
    table, positions, first = prefix + "embeddings.", config["max_position_embeddings"], first_position(config)
    with g.scope("embeddings"):
        x = g.embedding(ids, table + "word_embeddings.weight", (config["vocab_size"], width))
        if family.types == "input":
            types = g.input("token_type_ids", INT64, ["batch", "sequence"])
            x = g.op("Add", x, g.embedding(types, table + "token_type_embeddings.weight", (config["type_vocab_size"], width)))
        # The first `sequence` positions: a slice, not a gather.
        name = table + "position_embeddings.weight"
        sequence = g.op("Shape", ids, start=1, end=2)
        end = g.op("Add", sequence, g.constant([first])) if first else sequence
        rows = g.op("Slice", g.weight(name, (positions, width)), g.constant([first]), end, g.constant([0]))
        if g.initializers[name].data_type != g.compute:
            rows = g.cast(rows, g.compute)
        if family.types == "first":
            types_table = g.param(table + "token_type_embeddings.weight", (config.get("type_vocab_size", 2), width))
            rows = g.op("Add", rows, g.op("Slice", types_table, g.constant([0]), g.constant([1]), g.constant([0])))
        return _norm(g, g.op("Add", x, rows), table + "LayerNorm", width, epsilon)


def build(checkpoint: Checkpoint, metadata: dict[str, str], pooling: str, classifier: Path | None) -> tuple[Graph, onnx.ModelProto]:
    config = checkpoint.config
    kind = config["model_type"]
    family = FAMILIES[kind]
    hidden, heads, layers = config["hidden_size"], config["num_attention_heads"], config["num_hidden_layers"]
    position_kind = config.get("position_embedding_type") or "absolute"
    if position_kind != "absolute":
        raise ExportError(f"position_embedding_type {position_kind} in config.json is not supported; only absolute is")
    modern = kind == "modernbert"
    prefix = checkpoint.prefix(family.prefixes,
                               "embeddings.tok_embeddings.weight" if modern else "embeddings.word_embeddings.weight")
    g = Graph(checkpoint, prefix + ("embeddings.tok_embeddings.weight" if modern else "embeddings.word_embeddings.weight"))
    ids = g.input("input_ids", INT64, ["batch", "sequence"])
    mask = g.input("attention_mask", INT64, ["batch", "sequence"])
    keep = _keep(g, ids, mask)
    if modern:
        x = _modern_layers(g, config, prefix, ids, keep)
        width, epsilon, act = hidden, config.get("norm_eps", 1e-5), config.get("classifier_activation", "gelu")
    else:
        ffn = config["intermediate_size"]
        width = config.get("embedding_size") or hidden if kind in ("albert", "electra") else hidden
        epsilon, act = config.get("layer_norm_eps", 1e-12), config.get("hidden_act", "gelu_new" if kind == "albert" else "gelu")
        x = _embeddings(g, family, config, ids, prefix, width, epsilon) if kind != "deberta-v2" else \
            _deberta_embeddings(g, config, ids, mask, prefix, epsilon)
        if kind == "albert":
            x = g.linear(x, prefix + "encoder.embedding_hidden_mapping_in", hidden, width, bias=True)
        elif width != hidden:
            x = g.linear(x, prefix + "embeddings_project", hidden, width, bias=True)
        if kind == "mpnet":
            keep = _position_bias(g, ids, keep, prefix + "encoder.relative_attention_bias.weight",
                                  config.get("relative_attention_num_buckets", 32), heads)
        bias = _Disentangled(g, config, prefix, ids, keep, epsilon) if kind == "deberta-v2" else None
        for i in range(layers):
            with g.scope(f"layer.{i}"):
                if kind == "albert":
                    x = _albert_layer(g, x, keep, prefix, i, config, (hidden, heads, ffn, epsilon, act))
                else:
                    x = _bert_layer(g, x, keep, prefix, i, config, (hidden, heads, ffn, epsilon, act), bias)
    for key in _OF_HEADS:
        config.get(key)
    if pooling == "mean":
        vector = _sentence_embedding(g, x)
        if classifier:
            _linear_classifier(g, vector, classifier, hidden)
        else:
            g.output(vector, "sentence_embedding", FLOAT, ["batch", hidden])
        return g, g.model(config["model_type"], metadata)

    model = (config.get("architectures") or ["Model"])[0]
    if model.endswith("ForMaskedLM") or (model.endswith("ForPreTraining") and kind != "electra"):
        _masked_head(g, x, kind, prefix, (hidden, width, config["vocab_size"]), epsilon, act)
    elif model.endswith("ForPreTraining"):
        with g.scope("head"):
            y = g.activation(g.linear(x, "discriminator_predictions.dense", hidden, hidden, bias=True), act)
            y = g.op("Squeeze", g.linear(y, "discriminator_predictions.dense_prediction", 1, hidden, bias=True), g.constant([2]))
        g.output(y if g.compute == FLOAT else g.cast(y, FLOAT), "logits", FLOAT, ["batch", "sequence"])
    elif model.endswith("ForSequenceClassification"):
        _classifier(g, x, kind, prefix, hidden, epsilon, config)
    elif model.endswith("ForTokenClassification") and not modern:
        labels = _labels(g, "classifier")
        y = g.linear(x, "classifier", labels, hidden, bias=True)
        g.output(y if g.compute == FLOAT else g.cast(y, FLOAT), "logits", FLOAT, ["batch", "sequence", labels])
    elif model.endswith("Model"):
        g.output(x if g.compute == FLOAT else g.cast(x, FLOAT), "last_hidden_state", FLOAT, ["batch", "sequence", hidden])
    else:
        raise ExportError(
            f"the head of {model} (architectures in config.json) is not supported; known are ...Model, ...ForMaskedLM, "
            "...ForPreTraining, ...ForSequenceClassification, ...ForTokenClassification, and --pooling mean")
    return g, g.model(kind, metadata)


def _bert_layer(g: Graph, x: str, mask: str, prefix: str, i: int, config: dict[str, Any], sizes: tuple,
                bias: _Disentangled | None = None) -> str:
    hidden, heads, ffn, epsilon, act = sizes
    names = FAMILIES[config["model_type"]]
    layer = prefix + names.layer % i
    with g.scope("attention"):
        y = _attention(g, x, mask, (layer + names.q, layer + names.k, layer + names.v, layer + names.o), hidden, heads, bias)
        x = _norm(g, g.op("Add", y, x), layer + names.attention_norm, hidden, epsilon)
    with g.scope("mlp"):
        y = g.activation(g.linear(x, layer + names.up, ffn, hidden, bias=True), act)
        y = g.linear(y, layer + names.down, hidden, ffn, bias=True)
        return _norm(g, g.op("Add", y, x), layer + names.output_norm, hidden, epsilon)


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


def _modern_norm(g: Graph, x: str, name: str, hidden: int, config: dict[str, Any]) -> str:
    bias = [g.param(name + ".bias", (hidden,))] if config.get("norm_bias") else []
    with g.scope(name.rsplit(".", 1)[-1]):
        return g.op("LayerNormalization",
                    x,
                    g.param(name + ".weight", (hidden, )),
                    *bias,
                    axis=-1,
                    epsilon=float(config.get("norm_eps", 1e-5)))


def _modern_layers(g: Graph, config: dict[str, Any], prefix: str, ids: str, keep: str) -> str:
    """ModernBERT (Warner 2024): norms before, rotary positions, gated feed-forward, and layers that see a window."""
    hidden, heads, layers, ffn = (config[k]
                                  for k in ("hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size"))
    types, every = config.get("layer_types"), config.get("global_attn_every_n_layers") or 3
    types = types or ["sliding_attention" if i % every else "full_attention" for i in range(layers)]
    bases = {
        "full_attention": config.get("global_rope_theta") or 160000.0, "sliding_attention": config.get("local_rope_theta")
        or 10000.0
    }
    settings, window = config.get("rope_parameters") or {}, config.get("local_attention", 128) // 2
    act, attention_bias, mlp_bias = config.get("hidden_activation", "gelu"), config.get("attention_bias"), config.get("mlp_bias")
    head_dim = hidden // heads
    with g.scope("mask"):
        near = g.op("LessOrEqual", g.op("Abs", _distances(g, ids)), g.constant(window))
        masks = {"full_attention": keep, "sliding_attention": g.op("And", keep, near)}
    tables = {}
    for kind in sorted(set(types)):
        rope = {"rope_theta": bases[kind], **(settings.get(kind) or {})}
        if rope.get("rope_type", "default") != "default":
            raise ExportError(f"rope_type {rope['rope_type']} in config.json is not supported for modernbert; only default is")
        with g.scope("rotary" if kind == "full_attention" else "rotary_sliding"):
            sequence = g.op("Squeeze", g.op("Shape", ids, start=1, end=2), g.constant([0]))
            positions = g.cast(g.op("Range", g.constant(0), sequence, g.constant(1)), FLOAT)
            frequencies = (1.0 / rope["rope_theta"] ** (np.arange(0, head_dim, 2) / head_dim)).astype(np.float32)
            angle = g.op("Mul", g.op("Unsqueeze", positions, g.constant([0, 2])), g.constant(frequencies, np.float32))
            shape = g.op("Concat", g.op("Shape", ids), g.constant([head_dim // 2]), axis=0)
            pair = [g.op("Expand", g.op(function, angle), shape) for function in ("Cos", "Sin")]
            tables[kind] = pair if g.compute == FLOAT else [g.cast(v, g.compute) for v in pair]
    with g.scope("embeddings"):
        x = g.embedding(ids, prefix + "embeddings.tok_embeddings.weight", (config["vocab_size"], hidden))
        x = _modern_norm(g, x, prefix + "embeddings.norm", hidden, config)
    for i, kind in enumerate(types):
        layer = f"{prefix}layers.{i}."
        split_rows(g.checkpoint, layer + "attn.Wqkv", {f"{layer}attn.{part}": hidden for part in "qkv"})
        split_rows(g.checkpoint, layer + "mlp.Wi", {f"{layer}mlp.{part}": ffn for part in ("input", "gate")})
        with g.scope(f"layer.{i}"):
            with g.scope("attention"):
                h = _modern_norm(g, x, layer + "attn_norm", hidden, config) if i else x
                q, k, v = (g.linear(h, f"{layer}attn.{part}", hidden, hidden, bias=attention_bias) for part in "qkv")
                q, k = (g.op("RotaryEmbedding", y, *tables[kind], num_heads=heads) for y in (q, k))
                y = g.op("Attention", q, k, v, masks[kind], q_num_heads=heads, kv_num_heads=heads)
                x = g.op("Add", x, g.linear(y, layer + "attn.Wo", hidden, hidden, bias=attention_bias))
            with g.scope("mlp"):
                h = _modern_norm(g, x, layer + "mlp_norm", hidden, config)
                first, gate = (g.linear(h, f"{layer}mlp.{part}", ffn, hidden, bias=mlp_bias) for part in ("input", "gate"))
                y = g.op("Mul", g.activation(first, act), gate)
                x = g.op("Add", x, g.linear(y, layer + "mlp.Wo", hidden, ffn, bias=mlp_bias))
    return _modern_norm(g, x, prefix + "final_norm", hidden, config)


# The layers of the masked-token head: a linear layer, a norm, and the product with the word table and its bias.
_MASKED_HEADS = {
    "bert": ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.decoder.weight",
             ("cls.predictions.bias", "cls.predictions.decoder.bias")),
    "albert": ("predictions.dense", "predictions.LayerNorm", "predictions.decoder.weight", ("predictions.bias",
                                                                                            "predictions.decoder.bias")),
    "electra": ("generator_predictions.dense", "generator_predictions.LayerNorm", "generator_lm_head.weight",
                ("generator_lm_head.bias", )),
    "distilbert": ("vocab_transform", "vocab_layer_norm", "vocab_projector.weight", ("vocab_projector.bias", )),
    "deberta-v2": ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.decoder.weight",
                   ("cls.predictions.bias", "cls.predictions.decoder.bias")),
    "modernbert": ("head.dense", "head.norm", "decoder.weight", ("decoder.bias", )),
}
_LM_HEAD = ("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder.weight", ("lm_head.bias", "lm_head.decoder.bias"))


def _masked_head(g: Graph, x: str, kind: str, prefix: str, sizes: tuple[int, int, int], epsilon: float, act: str) -> None:
    hidden, width, vocabulary = sizes
    transform, norm, table, biases = _MASKED_HEADS.get(kind, _LM_HEAD)
    config = g.checkpoint.config
    if kind not in _MASKED_HEADS or kind == "electra":
        act = "gelu"  # whatever hidden_act says
    with g.scope("head"):
        if kind == "modernbert":
            y = g.activation(g.linear(x, transform, hidden, hidden, bias=config.get("classifier_bias")), act)
            x = _modern_norm(g, y, norm, hidden, config)
            biased = config.get("decoder_bias", True)
        else:
            x, biased = _norm(g, g.activation(g.linear(x, transform, width, hidden, bias=True), act), norm, width, epsilon), True
        if table not in g.checkpoint and config.get("tie_word_embeddings", True):
            table = prefix + ("embeddings.tok_embeddings.weight" if kind == "modernbert" else "embeddings.word_embeddings.weight")
        y = g.op("MatMul", x, g.op("Transpose", g.param(table, (vocabulary, width)), perm=[1, 0]))
        if biased:
            y = g.op("Add", y, g.param(next((b for b in biases if b in g.checkpoint), biases[-1]), (vocabulary,)))
        g.output(y if g.compute == FLOAT else g.cast(y, FLOAT), "logits", FLOAT, ["batch", "sequence", vocabulary])


def _labels(g: Graph, name: str) -> int:
    return int(g.stored(name + ".weight").shape[0])


def _classifier(g: Graph, x: str, kind: str, prefix: str, hidden: int, epsilon: float, config: dict[str, Any]) -> None:
    """Logits from the first token, or of ModernBERT from the mean, if it says so."""
    final = "classifier.out_proj" if kind not in ("bert", "albert", "distilbert", "modernbert", "deberta-v2") else "classifier"
    with g.scope("classifier"):
        if kind == "modernbert" and config.get("classifier_pooling", "cls") == "mean":
            weight = g.op("Unsqueeze", g.cast("attention_mask", g.compute), g.constant([2]))
            total = g.op("ReduceSum", g.op("Mul", x, weight), g.constant([1]), keepdims=0)
            first = g.op("Div", total, g.op("ReduceSum", weight, g.constant([1]), keepdims=0))
        else:
            first = g.op("Gather", x, g.constant(0), axis=1)
        if kind in ("bert", "albert"):
            dense, act = prefix + ("pooler" if kind == "albert" else "pooler.dense"), "tanh"
        elif kind == "deberta-v2":
            dense, act = "pooler.dense", config.get("pooler_hidden_act", "gelu")
        elif kind == "distilbert":
            dense, act = "pre_classifier", "relu"
        elif kind == "modernbert":
            dense, act = "head.dense", config.get("classifier_activation", "gelu")
        else:
            dense, act = "classifier.dense", "gelu" if kind == "electra" else "tanh"
        bias = config.get("classifier_bias") if kind == "modernbert" else True
        pooled = g.activation(g.linear(first, dense, hidden, hidden, bias=bias), act)
        if kind == "modernbert":
            pooled = _modern_norm(g, pooled, "head.norm", hidden, config)
        labels = _labels(g, final)
        y = g.linear(pooled, final, labels, hidden, bias=True)
        g.output(y if g.compute == FLOAT else g.cast(y, FLOAT), "logits", FLOAT, ["batch", labels])
