"""Builds an ONNX graph node by node; weights are references into the checkpoint's files.

Node names are paths ("/layers.3/self_attn/q_proj/MatMul"), because the compiler's remarks and errors quote them.
"""

from __future__ import annotations

import contextlib
from typing import Any, Iterator, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .checkpoint import DTYPES, PACKED, Checkpoint, ExportError, Quantized, Weight

OPSET = 23
FLOAT, FLOAT16, INT64, BOOL = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.BOOL
Dim = "int | str"


class Graph:
    """Values are names. `compute` is the type that activations have: f16 for f16 checkpoints, f32 for all others."""

    def __init__(self, checkpoint: Checkpoint, main_weight: str):
        self.checkpoint = checkpoint
        main = checkpoint.weights.get(main_weight)
        if main is None:
            raise ExportError(f"{checkpoint.directory}: the tensor {main_weight} is missing")
        self.compute = FLOAT16 if main.dtype == "F16" and not checkpoint.mixed else FLOAT
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.references: dict[str, Weight] = {}  # the initializers that lie in files
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._scopes: list[str] = []
        self._taken: dict[str, int] = {}
        self._params: dict[str, str] = {}
        self._reordered: dict[tuple[str, bytes], str] = {}

    @contextlib.contextmanager
    def scope(self, name: str) -> Iterator[None]:
        self._scopes.append(name)
        yield
        self._scopes.pop()

    def _path(self, leaf: str) -> str:
        path = "/" + "/".join([*self._scopes, leaf])
        count = self._taken.get(path, 0)
        self._taken[path] = count + 1
        return f"{path}_{count}" if count else path

    def op(self, op_type: str, *inputs: str, outputs: Sequence[str] | None = None, **attributes: Any) -> str:
        """Appends a node and returns its first output. `outputs` names all of them where the names matter."""
        path = self._path(op_type)
        names = list(outputs) if outputs else [path + "_out"]
        self.nodes.append(helper.make_node(op_type, list(inputs), names, name=path, **attributes))
        return names[0]

    def input(self, name: str, dtype: int, shape: Sequence[Any]) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))
        return name

    def output(self, value: str, name: str, dtype: int, shape: Sequence[Any]) -> None:
        """Declares `value` as the output `name`; an Identity renames it if it is not called so yet."""
        if value != name:
            self.nodes.append(helper.make_node("Identity", [value], [name], name=f"/{name}"))
        self.outputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))

    def constant(self, values: Any, dtype: Any = np.int64) -> str:
        """A small constant, inside the .onnx; equal ones share one initializer."""
        array = np.asarray(values, dtype)
        name = f"const_{array.dtype}_{'x'.join(map(str, array.shape))}_" + "_".join(str(v) for v in array.ravel()[:4])
        if array.size > 4:
            name += f"_{len(self.initializers)}"
        self.initializers.setdefault(name, numpy_helper.from_array(array, name))
        return name

    def scalar(self, value: float) -> str:
        """A constant of the compute type, rank 0."""
        return self.constant(value, np.float16 if self.compute == FLOAT16 else np.float32)

    def stored(self, name: str, shape: Sequence[int] | None = None) -> Weight | Quantized:
        """The checkpoint's tensor; `shape` is what the architecture expects."""
        weight: Weight | Quantized | None = self.checkpoint.weights.get(name)
        if weight is None:
            raise ExportError(f"{self.checkpoint.directory}: the tensor {name} is missing")
        if shape is not None and tuple(shape) != weight.shape:
            raise ExportError(f"{self.checkpoint.directory}: the tensor {name} is {list(weight.shape)}, but config.json makes it "
                              f"{list(shape)}")
        return weight

    def _reference(self, name: str, weight: Weight) -> str:
        if name not in self.initializers:
            kind = PACKED[weight.dtype] if weight.dtype in PACKED else DTYPES[weight.dtype][0]
            self.initializers[name] = TensorProto(name=name, data_type=kind, dims=weight.shape, data_location=TensorProto.EXTERNAL)
            self.references[name] = weight
        return name

    def weight(self, name: str, shape: Sequence[int] | None = None) -> str:
        """The tensor as an initializer of its own type, by reference; a quantized one in the compute type."""
        weight = self.stored(name, shape)
        return self.param(name, shape) if isinstance(weight, Quantized) else self._reference(name, weight)

    def param(self, name: str, shape: Sequence[int] | None = None) -> str:
        """The tensor in the compute type: a Cast where the checkpoint stores another one (bf16). The file keeps its type."""
        weight = self.stored(name, shape)
        if isinstance(weight, Weight) and self._reference(name, weight) and self.initializers[name].data_type == self.compute:
            return name
        if name not in self._params:
            scopes, self._scopes = self._scopes, [name]
            if isinstance(weight, Weight):
                self._params[name] = self.op("Cast", name, to=self.compute)
            else:
                parts = [("codes", weight.codes), ("scales", weight.scales), *([("zeros", weight.zeros)] if weight.zeros else [])]
                grouping: dict[str, Any] = {"axis": 1, "block_size": weight.block} if weight.block else {"axis": 0}
                # Scales of f16 and a result of f32: the product of scale and code is exact.
                self._params[name] = self.op("DequantizeLinear", *(self._reference(f"{name}.{p}", w) for p, w in parts),
                                             output_dtype=self.compute, **grouping)
            self._scopes = scopes
        return self._params[name]

    def values(self, name: str, shape: Sequence[int]) -> np.ndarray:
        """A small tensor's values, in f32."""
        weight = self.stored(name, shape)
        if isinstance(weight, Quantized):
            raise ExportError(f"{self.checkpoint.directory}: the tensor {name} is quantized, which is not supported for it")
        return weight.read().astype(np.float32)

    def vector(self, name: str, shape: Sequence[int], offset: float = 0.0) -> str:
        """A small tensor plus `offset`, in the compute type: by reference where nothing is added, else as a constant."""
        if not offset:
            return self.param(name, shape)
        return self.constant(self.values(name, shape) + np.float32(offset), np.float16 if self.compute == FLOAT16 else np.float32)

    def cast(self, value: str, dtype: int) -> str:
        return self.op("Cast", value, to=dtype)

    def linear(self, x: str, name: str, rows: int, columns: int, bias: bool | None = None) -> str:
        """x W^T (+ b) for the tensors `name`.weight [rows, columns] and `name`.bias [rows], the latter if there is one."""
        with self.scope(name.rsplit(".", 1)[-1]):
            transposed = self.op("Transpose", self.param(name + ".weight", (rows, columns)), perm=[1, 0])
            y = self.op("MatMul", self.ordered(x, name + ".weight"), transposed)
            if bias or (bias is None and name + ".bias" in self.checkpoint):
                y = self.op("Add", y, self.param(name + ".bias", (rows,)))
            return y

    def ordered(self, x: str, name: str) -> str:
        """The inputs in the order that the columns of a quantized weight have."""
        weight = self.checkpoint.weights.get(name)
        if not isinstance(weight, Quantized) or weight.order is None:
            return x
        key = (x, weight.order.tobytes())
        if key not in self._reordered:
            self._reordered[key] = self.op("Gather", x, self.constant(weight.order), axis=-1)
        return self._reordered[key]

    def embedding(self, ids: str, name: str, shape: Sequence[int] | None = None) -> str:
        """Rows of a table in the compute type: the rows are cast, never the table."""
        rows = self.op("Gather", self.weight(name, shape), ids, axis=0)
        same = name not in self.initializers or self.initializers[name].data_type == self.compute
        return rows if same else self.cast(rows, self.compute)

    def activation(self, x: str, kind: str) -> str:
        """`hidden_act` of config.json."""
        if kind in ("silu", "swish"):
            return self.op("Mul", x, self.op("Sigmoid", x))
        if kind == "gelu":
            return self.op("Gelu", x)
        if kind in ("gelu_new", "gelu_pytorch_tanh", "gelu_fast"):
            return self.op("Gelu", x, approximate="tanh")
        if kind == "relu":
            return self.op("Relu", x)
        if kind == "tanh":
            return self.op("Tanh", x)
        raise ExportError(f"the activation {kind} (hidden_act in config.json) is not supported; known are silu, gelu, gelu_new, "
                          "gelu_pytorch_tanh, gelu_fast, relu, tanh")

    def model(self, name: str, metadata: dict[str, str]) -> onnx.ModelProto:
        """The finished model; external data has no location yet (see link.py)."""
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, list(self.initializers.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=11,
                                  producer_name="edgecc-export", producer_version="0.1.0")
        helper.set_model_props(model, metadata)
        return model
