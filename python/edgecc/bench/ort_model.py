"""A checkpoint as ONNX for ONNX Runtime's fastest operators on a CPU: MatMulNBits and GroupQueryAttention, as its own model builder
(onnxruntime-genai) writes them. The weights are quantized by ONNX Runtime's quantizer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


class _Graph:
    def __init__(self, path: Path, bits: int, block: int):
        from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, DefaultWeightOnlyQuantizer

        self.bits, self.block = bits, block
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.data = open(path.with_suffix(".bin"), "wb")
        self.quantizer = DefaultWeightOnlyQuantizer(DefaultWeightOnlyQuantConfig(
            block_size=block, is_symmetric=True, accuracy_level=4, bits=bits))

    def constant(self, name: str, values: np.ndarray) -> str:
        from onnx import TensorProto, helper, numpy_helper

        if values.nbytes < 128:  # shapes must be inside
            self.initializers.append(numpy_helper.from_array(values, name))
            return name
        self.data.seek(-(-self.data.tell() // 64) * 64)
        tensor = TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(values.dtype), dims=values.shape,
                             data_location=TensorProto.EXTERNAL)
        for key, value in (("location", Path(self.data.name).name), ("offset", self.data.tell()), ("length", values.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        self.data.write(np.ascontiguousarray(values).tobytes())
        self.initializers.append(tensor)
        return name

    def node(self, kind: str, inputs: list[str], outputs: int | list[str] = 1, domain: str = "", **attributes: Any) -> Any:
        from onnx import helper

        names = outputs if isinstance(outputs, list) else [f"{kind}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=f"{kind}_{len(self.nodes)}", domain=domain, **attributes))
        return names[0] if len(names) == 1 else names

    def linear(self, x: str, name: str, weight: np.ndarray, output: str | None = None) -> str:
        """weight [n, k]"""
        n, k = weight.shape
        packed, scales, _ = self.quantizer.qbits_block_quant(np.ascontiguousarray(weight.T.astype(np.float32)))
        return self.node("MatMulNBits", [x, self.constant(name + ".packed", packed), self.constant(name + ".scales", scales)],
                         [output] if output else 1, domain="com.microsoft", K=k, N=n, bits=self.bits, block_size=self.block,
                         accuracy_level=4)

    def norm(self, x: str, name: str, weight: np.ndarray, epsilon: float) -> str:
        return self.node("SimplifiedLayerNormalization", [x, self.constant(name, weight.astype(np.float32))], axis=-1, epsilon=epsilon,
                         stash_type=1)

    def add_norm(self, x: str, y: str, name: str, weight: np.ndarray, epsilon: float) -> tuple[str, str]:
        """The norm of x + y, and x + y."""
        scale = self.constant(name, weight.astype(np.float32))
        outputs = [f"{name}.normed", "", "", f"{name}.sum"]
        self.node("SkipSimplifiedLayerNormalization", [x, y, scale], outputs, domain="com.microsoft", epsilon=epsilon)
        return outputs[0], outputs[3]


def write(checkpoint: Path, output: Path, context: int, bits: int, block: int = 32) -> None:
    """qwen3 and llama. Inputs and outputs are the model builder's; logits are of the last token only."""
    import onnx
    from onnx import TensorProto, helper

    from ..export.checkpoint import read_safetensors

    config = json.loads((checkpoint / "config.json").read_text())
    weights, _ = read_safetensors(checkpoint / "model.safetensors")
    heads, kv_heads, dim, eps = (config[k] for k in ("num_attention_heads", "num_key_value_heads", "head_dim", "rms_norm_eps"))
    g = _Graph(output, bits, block)
    read = lambda name: weights[name + ".weight"].read()  # noqa: E731

    angles = np.outer(np.arange(context), config["rope_theta"] ** (-np.arange(0, dim, 2) / dim))
    cosine, sine = g.constant("cosine", np.cos(angles).astype(np.float32)), g.constant("sine", np.sin(angles).astype(np.float32))
    table = read("model.embed_tokens")
    embedded = g.node("Gather", [g.constant("embedding", table.astype(np.float32)), "input_ids"])
    per_head = g.constant("per_head", np.array([0, -1, dim], np.int64))
    shapes = {"q": g.constant("q_shape", np.array([1, -1, heads * dim], np.int64)),
              "k": g.constant("k_shape", np.array([1, -1, kv_heads * dim], np.int64))}
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "sequence"]),
              helper.make_tensor_value_info("attention_mask", TensorProto.INT64, [1, "total"])]
    # How long the cache is, as the model builder derives it.
    one, second = g.constant("one", np.array([1], np.int64)), g.constant("second", np.array(1, np.int64))
    held = g.node("Sub", [g.node("ReduceSum", ["attention_mask", one], keepdims=0), one])
    lengths = g.node("Cast", [held], to=TensorProto.INT32)
    total = g.node("Cast", [g.node("Gather", [g.node("Shape", ["attention_mask"]), second])], to=TensorProto.INT32)
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1, config["vocab_size"]])]
    normed, residual = "", embedded
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        if i == 0:
            normed = g.norm(embedded, "norm_0", read(layer + "input_layernorm"), eps)
        heads_of = {}
        for part in "qkv":
            heads_of[part] = g.linear(normed, f"{layer}{part}", read(f"{layer}self_attn.{part}_proj"))
            if part != "v" and f"{layer}self_attn.{part}_norm.weight" in weights:
                split = g.node("Reshape", [heads_of[part], per_head])
                split = g.norm(split, f"{layer}{part}_norm", read(f"{layer}self_attn.{part}_norm"), eps)
                heads_of[part] = g.node("Reshape", [split, shapes[part]])
        state = [f"past_key_values.{i}.key", f"past_key_values.{i}.value"]
        present = [f"present.{i}.key", f"present.{i}.value"]
        attended = f"{layer}attended"
        g.node("GroupQueryAttention", [*heads_of.values(), *state, lengths, total, cosine, sine],
               [attended, *present], domain="com.microsoft", num_heads=heads, kv_num_heads=kv_heads, do_rotary=1, rotary_interleaved=0,
               scale=float(dim ** -0.5))
        for names, infos, size in ((state, inputs, "past"), (present, outputs, "total")):
            infos += [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, kv_heads, size, dim]) for n in names]
        projected = g.linear(attended, layer + "o", read(layer + "self_attn.o_proj"))
        normed, residual = g.add_norm(residual, projected, layer + "post", read(layer + "post_attention_layernorm"), eps)
        gate = g.linear(normed, layer + "gate", read(layer + "mlp.gate_proj"))
        up = g.linear(normed, layer + "up", read(layer + "mlp.up_proj"))
        active = g.node("Mul", [g.node("Mul", [gate, g.node("Sigmoid", [gate])]), up])
        down = g.linear(active, layer + "down", read(layer + "mlp.down_proj"))
        last = i + 1 == config["num_hidden_layers"]
        following = "model.norm" if last else f"model.layers.{i + 1}.input_layernorm"
        normed, residual = g.add_norm(residual, down, f"norm_{i + 1}", read(following), eps)
    final = g.node("Gather", [normed, g.constant("last", np.array([-1], np.int64))], axis=1)
    g.linear(final, "head", table if "lm_head.weight" not in weights else read("lm_head"), "logits")
    g.data.close()
    graph = helper.make_graph(g.nodes, "model", inputs, outputs, g.initializers)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), output)
