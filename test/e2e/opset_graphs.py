"""Small graphs written by hand, most of opset 23 and 24: forms of transformers that no exporter of ours writes."""

from __future__ import annotations

import math
from typing import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

F32, I32, I64, BOOL = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL


def _model(nodes: list, inputs: dict, outputs: dict, weights: dict | None = None, opset: int = 23) -> onnx.ModelProto:
    def info(values: dict) -> list:
        return [helper.make_tensor_value_info(n, t, s) for n, (t, s) in values.items()]

    graph = helper.make_graph(nodes, "graph", info(inputs), info(outputs),
                              [numpy_helper.from_array(w, n) for n, w in (weights or {}).items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=11)


def _weights(**shapes: tuple) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    return {n: (rng.standard_normal(s) / math.sqrt(s[0])).astype(np.float32) for n, s in shapes.items()}


def _projections(x: str = "x") -> list:
    return [helper.make_node("MatMul", [x, "w" + p], [p]) for p in "qkv"]


def attention_soft_cap() -> onnx.ModelProto:
    """Grouped heads, causal, soft cap, 3-D inputs."""
    nodes = _projections() + [helper.make_node("Attention", ["q", "k", "v"], ["y"], q_num_heads=4, kv_num_heads=2, is_causal=1,
                                               softcap=5.0)]
    return _model(nodes, {"x": (F32, ["batch", "sequence", 32])}, {"y": (F32, ["batch", "sequence", 32])},
                  _weights(wq=(32, 32), wk=(32, 16), wv=(32, 16)))


def attention_bias() -> onnx.ModelProto:
    """A float mask per head, added to the scores; 4-D inputs and a scale of its own."""
    shape = ["batch", 4, "sequence", 8]
    return _model([helper.make_node("Attention", ["q", "k", "v", "mask"], ["y"], scale=0.3)],
                  {"q": (F32, shape), "k": (F32, shape), "v": (F32, shape),
                   "mask": (F32, ["batch", 4, "sequence", "sequence"])}, {"y": (F32, shape)})


def attention_past() -> onnx.ModelProto:
    """One layer with a cache: past in, present out."""
    past, present = (F32, ["batch", 2, "past", 8]), (F32, ["batch", 2, "past + sequence", 8])
    nodes = _projections() + [helper.make_node(
        "Attention", ["q", "k", "v", "", "past_key_values.0.key", "past_key_values.0.value"],
        ["y", "present.0.key", "present.0.value"], q_num_heads=4, kv_num_heads=2, is_causal=1)]
    return _model(nodes, {"x": (F32, ["batch", "sequence", 32]), "past_key_values.0.key": past, "past_key_values.0.value": past},
                  {"y": (F32, ["batch", "sequence", 32]), "present.0.key": present, "present.0.value": present},
                  _weights(wq=(32, 32), wk=(32, 16), wv=(32, 16)))


def rotary_tables() -> onnx.ModelProto:
    """Tables of cos and sin indexed by position_ids, half of the head rotated, interleaved; then an RMS norm."""
    angle = np.arange(64)[:, None] / 100.0 ** (np.arange(2) / 2)[None]
    weights = {"cos": np.cos(angle).astype(np.float32), "sin": np.sin(angle).astype(np.float32), **_weights(scale=(8,))}
    nodes = [helper.make_node("RotaryEmbedding", ["x", "cos", "sin", "position_ids"], ["r"], interleaved=1,
                              rotary_embedding_dim=4),
             helper.make_node("RMSNormalization", ["r", "scale"], ["y"], axis=-1, epsilon=1e-6)]
    shape = (F32, ["batch", 4, "sequence", 8])
    return _model(nodes, {"x": shape, "position_ids": (I64, ["batch", "sequence"])}, {"y": shape}, weights)


def _changed_cache(layers: dict[int, tuple[str, ...]]) -> onnx.ModelProto:
    """Attention over caches that grow by Concat, by layer; those named are multiplied before they are handed on."""
    node, nodes, pasts, presents = helper.make_node, [], {}, {}
    weights = {"split": np.array([0, 0, -1, 8]), "join": np.array([0, 0, -1]), "decay": np.array(0.5, np.float32)}
    x = "x"
    for i, changed in layers.items():
        weights |= _weights(**{f"w{p}{i}": (32, 32 if p == "q" else 16) for p in "qkv"})
        for p in "qkv":
            nodes += [node("MatMul", [x, f"w{p}{i}"], [f"{p}{i}"]), node("Reshape", [f"{p}{i}", "split"], [f"{p}4{i}"]),
                      node("Transpose", [f"{p}4{i}"], [f"{p}t{i}"], perm=[0, 2, 1, 3])]
        for p, kind in (("k", "key"), ("v", "value")):
            past, present = f"past_key_values.{i}.{kind}", f"present.{i}.{kind}"
            pasts[past] = F32, ["batch", 2, "past", 8]
            presents[present] = F32, ["batch", 2, "past + sequence", 8]
            joined = f"{p}c{i}" if kind in changed else present
            nodes.append(node("Concat", [past, f"{p}t{i}"], [joined], axis=2))
            if kind in changed:
                nodes.append(node("Mul", [joined, "decay"], [present]))
        nodes += [node("Attention", [f"qt{i}", f"present.{i}.key", f"present.{i}.value"], [f"a{i}"]),
                  node("Transpose", [f"a{i}"], [f"at{i}"], perm=[0, 2, 1, 3]), node("Reshape", [f"at{i}", "join"], [f"y{i}"])]
        x = f"y{i}"
    return _model(nodes, {"x": (F32, ["batch", "sequence", 32]), **pasts}, {x: (F32, ["batch", "sequence", 32]), **presents}, weights)


def cache_changed() -> onnx.ModelProto:
    """No cache that a session could keep."""
    return _changed_cache({0: ("key", "value")})


def cache_changed_in_part() -> onnx.ModelProto:
    """Only the keys of the second layer stay inputs and outputs."""
    return _changed_cache({0: (), 1: ("key",)})


def cache_window(size: int) -> onnx.ModelProto:
    """Keys of which only the last `size` positions are handed on."""
    node, cache = helper.make_node, (F32, ["batch", 2, "past", 8])
    nodes = [node("Concat", ["past_key_values.0.key", "x"], ["all"], axis=2),
             node("Slice", ["all", "start", "end", "axis"], ["present.0.key"]),
             node("Attention", ["x", "present.0.key", "present.0.key"], ["y"])]
    weights = {"start": np.array([-size]), "end": np.array([2**63 - 1]), "axis": np.array([2])}
    x = F32, ["batch", 2, "sequence", 8]
    return _model(nodes, {"x": x, "past_key_values.0.key": cache}, {"y": x, "present.0.key": (F32, ["batch", 2, "kept", 8])}, weights)


def tensor_scatter() -> onnx.ModelProto:
    """A cache of fixed capacity (64) written at write_indices, read with a count of valid positions: opset 24's form."""
    cache = (F32, ["batch", 2, 64, 8])
    nodes = _projections() + [
        *(helper.make_node("Reshape", [p, "split"], [p + "4"]) for p in "kv"),
        *(helper.make_node("Transpose", [p + "4"], [p + "t"], perm=[0, 2, 1, 3]) for p in "kv"),
        helper.make_node("TensorScatter", ["past_key_values.0.key", "kt", "write_indices"], ["present.0.key"], axis=-2),
        helper.make_node("TensorScatter", ["past_key_values.0.value", "vt", "write_indices"], ["present.0.value"], axis=-2),
        helper.make_node("Reshape", ["q", "split"], ["q4"]),
        helper.make_node("Transpose", ["q4"], ["qt"], perm=[0, 2, 1, 3]),
        helper.make_node("Attention", ["qt", "present.0.key", "present.0.value", "mask"], ["a"]),
        helper.make_node("Transpose", ["a"], ["at"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["at", "join"], ["y"]),
    ]
    weights = {"split": np.array([0, 0, -1, 8]), "join": np.array([0, 0, -1]), **_weights(wq=(32, 32), wk=(32, 16), wv=(32, 16))}
    return _model(nodes, {"x": (F32, ["batch", "sequence", 32]), "mask": (BOOL, ["sequence", 64]),
                          "write_indices": (I64, ["batch"]), "past_key_values.0.key": cache, "past_key_values.0.value": cache},
                  {"y": (F32, ["batch", "sequence", 32]), "present.0.key": cache, "present.0.value": cache}, weights, opset=24)


def _scattered_decoder(capacity: int | str, mask: bool) -> onnx.ModelProto:
    """Two layers of grouped attention over caches that TensorScatter fills, rotary positions counted from write_indices. Causal by
    a mask computed from write_indices, or by is_causal, which counts from the end of what nonpad_kv_seqlen says."""
    node, cache, nodes, pasts, presents = helper.make_node, (F32, ["batch", 2, capacity, 8]), [], {}, {}
    angle = np.arange(256)[:, None] / 100.0 ** (np.arange(4) / 4)[None]
    weights = {"cos": np.cos(angle).astype(np.float32), "sin": np.sin(angle).astype(np.float32), "zero": np.array(0), "one": np.array(1),
               "axis1": np.array([1]), "axis2": np.array([2]), "axes01": np.array([0, 1]), "split": np.array([0, 0, -1, 8]),
               "join": np.array([0, 0, -1]),
               **_weights(table=(100, 32), head=(32, 100), **{f"w{p}{i}": (32, 32 if p in "qo" else 16) for p in "qkvo" for i in (0, 1)})}
    nodes += [node("Gather", ["table", "input_ids"], ["h0"]), node("Shape", ["input_ids"], ["n1"], start=1, end=2),
              node("Squeeze", ["n1"], ["n"]), node("Range", ["zero", "n", "one"], ["steps"]),
              node("Unsqueeze", ["write_indices", "axis1"], ["first"]), node("Add", ["first", "steps"], ["positions"])]
    if mask:
        nodes += [node("Shape", ["past_key_values.0.key"], ["c1"], start=2, end=3), node("Squeeze", ["c1"], ["c"]),
                  node("Range", ["zero", "c", "one"], ["keys1"]), node("Unsqueeze", ["keys1", "axes01"], ["keys3"]),
                  node("Unsqueeze", ["positions", "axis2"], ["rows"]),
                  node("LessOrEqual", ["keys3", "rows"], ["mask3"]), node("Unsqueeze", ["mask3", "axis1"], ["mask"])]
    for i in (0, 1):
        pasts |= {f"past_key_values.{i}.{kind}": cache for kind in ("key", "value")}
        presents |= {f"present.{i}.{kind}": cache for kind in ("key", "value")}
        for p in "qkv":
            nodes += [node("MatMul", [f"h{i}", f"w{p}{i}"], [f"{p}{i}"]), node("Reshape", [f"{p}{i}", "split"], [f"{p}4{i}"]),
                      node("Transpose", [f"{p}4{i}"], [f"{p}t{i}"], perm=[0, 2, 1, 3])]
        nodes += [node("RotaryEmbedding", [f"{p}t{i}", "cos", "sin", "positions"], [f"{p}r{i}"]) for p in "qk"]
        nodes += [node("TensorScatter", [f"past_key_values.{i}.key", f"kr{i}", "write_indices"], [f"present.{i}.key"]),
                  node("TensorScatter", [f"past_key_values.{i}.value", f"vt{i}", "write_indices"], [f"present.{i}.value"]),
                  node("Attention", [f"qr{i}", f"present.{i}.key", f"present.{i}.value", "mask" if mask else "", "", "", "nonpad_kv_seqlen"],
                       [f"a{i}"], is_causal=0 if mask else 1),
                  node("Transpose", [f"a{i}"], [f"at{i}"], perm=[0, 2, 1, 3]), node("Reshape", [f"at{i}", "join"], [f"aj{i}"]),
                  node("MatMul", [f"aj{i}", f"wo{i}"], [f"o{i}"]), node("Add", [f"h{i}", f"o{i}"], [f"h{i + 1}"])]
    nodes.append(node("MatMul", ["h2", "head"], ["logits"]))
    return _model(nodes, {"input_ids": (I64, ["batch", "sequence"]), "write_indices": (I64, ["batch"]),
                          "nonpad_kv_seqlen": (I64, ["batch"]), **pasts},
                  {"logits": (F32, ["batch", "sequence", 100]), **presents}, weights, opset=24)


def tensor_scatter_mask() -> onnx.ModelProto:
    return _scattered_decoder(128, mask=True)


def tensor_scatter_causal() -> onnx.ModelProto:
    return _scattered_decoder("max_length", mask=False)


def gqa_by_row() -> onnx.ModelProto:
    """One token for each sequence of a batch, whose caches (buffers of one size, not kept in a session) hold different numbers of
    tokens; rotary embeddings at those positions, a sliding window."""
    angle = np.arange(16)[:, None] / 100.0 ** (np.arange(8) / 8)[None]
    weights = {"cos": np.cos(angle).astype(np.float32), "sin": np.sin(angle).astype(np.float32), "total": np.array([16], np.int32),
               **_weights(wq=(32, 64), wk=(32, 32), wv=(32, 32))}
    nodes = _projections() + [helper.make_node(
        "GroupQueryAttention", ["q", "k", "v", "cache_key", "cache_value", "seqlens_k", "total", "cos", "sin"],
        ["y", "next_key", "next_value"], domain="com.microsoft", num_heads=4, kv_num_heads=2, do_rotary=1, local_window_size=6)]
    cache = (F32, ["batch", 2, 16, 16])
    model = _model(nodes, {"x": (F32, ["batch", 1, 32]), "cache_key": cache, "cache_value": cache, "seqlens_k": (I32, ["batch"])},
                   {"y": (F32, ["batch", 1, 64])}, weights, opset=21)  # what a cache has behind its tokens is nobody's business
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def folded_norms() -> onnx.ModelProto:
    """Two layer norms spelled out: as TensorFlow folds them, and as JAX writes them."""
    node = helper.make_node
    nodes = [node("ReduceMean", ["x"], ["m"], axes=[-1]), node("Sub", ["x", "m"], ["d"]), node("Mul", ["d", "d"], ["dd"]),
             node("ReduceMean", ["dd"], ["v"], axes=[-1]), node("Add", ["v", "epsilon"], ["ve"]), node("Sqrt", ["ve"], ["s"]),
             node("Reciprocal", ["s"], ["r"]), node("Mul", ["r", "w"], ["rw"]), node("Mul", ["x", "rw"], ["xr"]),
             node("Mul", ["m", "rw"], ["mr"]), node("Sub", ["b", "mr"], ["bm"]), node("Add", ["xr", "bm"], ["n"]),
             node("ReduceSum", ["n", "axis"], ["sum"]), node("Div", ["sum", "size"], ["m2"]), node("Mul", ["n", "n"], ["nn"]),
             node("ReduceMean", ["nn"], ["q"], axes=[-1]), node("Mul", ["m2", "m2"], ["mm"]), node("Sub", ["q", "mm"], ["v2"]),
             node("Max", ["v2", "zero"], ["v3"]), node("Add", ["v3", "epsilon"], ["e3"]), node("Pow", ["e3", "power"], ["f"]),
             node("Mul", ["f", "w"], ["fw"]), node("Sub", ["n", "m2"], ["d2"]), node("Mul", ["d2", "fw"], ["y2"]),
             node("Add", ["y2", "b"], ["y"])]
    numbers = {n: np.array(v, np.float32) for n, v in dict(epsilon=1e-6, size=32, zero=0, power=-0.5).items()}
    return _model(nodes, {"x": (F32, ["batch", "sequence", 32])}, {"y": (F32, ["batch", "sequence", 32])},
                  {**numbers, "axis": np.array([-1]), **_weights(w=(32,), b=(32,))}, opset=17)


def grouped_concat() -> onnx.ModelProto:
    """Opset 13 with the LayerNormalization that ONNX Runtime's optimizer writes there; KV heads repeated by Concat: the keys in a
    dimension of their own, the values by slices of heads. One head after another each 3 times, and not in turns."""
    node = helper.make_node
    nodes = [node("LayerNormalization", ["x", "scale", "bias"], ["n"], axis=-1, epsilon=1e-5), *_projections("n"),
             *(node("Reshape", [p, "split"], [p + "4"]) for p in "qkv"),
             *(node("Transpose", [p + "4"], [p + "t"], perm=[0, 2, 1, 3]) for p in "qkv"),
             *(node("Unsqueeze", ["kt", "axis"], [f"k{i}"]) for i in range(3)), node("Concat", ["k0", "k1", "k2"], ["k5"], axis=2),
             node("Reshape", ["k5", "all"], ["ka"]), node("Transpose", ["ka"], ["kc"], perm=[0, 1, 3, 2]),
             node("Split", ["vt"], ["v0", "v1"], axis=1), node("Concat", ["v0"] * 3 + ["v1"] * 3, ["va"], axis=1),
             node("MatMul", ["qt", "kc"], ["s"]), node("Softmax", ["s"], ["w"], axis=-1), node("MatMul", ["w", "va"], ["o"]),
             node("Transpose", ["o"], ["ot"], perm=[0, 2, 1, 3]), node("Reshape", ["ot", "join"], ["y"])]
    weights = {"split": np.array([0, 0, -1, 8]), "all": np.array([0, 6, -1, 8]), "join": np.array([0, 0, -1]), "axis": np.array([2]),
               **_weights(scale=(32,), bias=(32,), wq=(32, 48), wk=(32, 16), wv=(32, 16))}
    return _model(nodes, {"x": (F32, ["batch", "sequence", 32])}, {"y": (F32, ["batch", "sequence", 48])}, weights, opset=13)


def swish_block() -> onnx.ModelProto:
    """Opset 24: a gated MLP with Swish after a layer norm without bias."""
    nodes = [helper.make_node("LayerNormalization", ["x", "scale"], ["n"], axis=-1),
             helper.make_node("MatMul", ["n", "w1"], ["g"]), helper.make_node("MatMul", ["n", "w3"], ["u"]),
             helper.make_node("Swish", ["g"], ["s"], alpha=1.702), helper.make_node("Mul", ["s", "u"], ["m"]),
             helper.make_node("MatMul", ["m", "w2"], ["d"]), helper.make_node("Add", ["x", "d"], ["y"])]
    return _model(nodes, {"x": (F32, ["batch", "sequence", 32])}, {"y": (F32, ["batch", "sequence", 32])},
                  _weights(scale=(32,), w1=(32, 80), w3=(32, 80), w2=(80, 32)), opset=24)


GRAPHS: dict[str, Callable[[], onnx.ModelProto]] = {
    "attention-soft-cap": attention_soft_cap, "attention-bias": attention_bias, "attention-past": attention_past,
    "rotary-tables": rotary_tables, "tensor-scatter": tensor_scatter,
    "tensor-scatter-mask": tensor_scatter_mask, "tensor-scatter-causal": tensor_scatter_causal, "swish-block": swish_block,
    "cache-changed": cache_changed, "cache-changed-in-part": cache_changed_in_part, "grouped-concat": grouped_concat, "folded-norms": folded_norms, "gqa-by-row": gqa_by_row,
}
