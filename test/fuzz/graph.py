"""Builds small ONNX graphs whose sizes are numbers or named dimensions, and the inputs of several calls."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Callable, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

F32, F16, I64, I32, BOOL = np.float32, np.float16, np.int64, np.int32, np.bool_
Array = np.ndarray
Maker = Callable[[np.random.Generator, tuple[int, ...]], Array]


class Rejected(Exception):
    """A generator drew a combination that is no valid model."""


@dataclass
class Case:
    """A model, the inputs of each call, and how to compile and compare it."""

    model: onnx.ModelProto
    calls: list[dict[str, Array]]
    dims: dict[str, str] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)
    tolerance: float = 2e-4  # of the largest expected value
    note: str = ""
    stateful: bool = False  # presents of a call are the pasts of the next one
    may_refuse_calls: bool = False  # a call with these values may be refused at run time


@dataclass(frozen=True)
class Size:
    """A size of a tensor: `dim` is a number or a dimension's name, `values` has one number for each call."""

    dim: int | str
    values: tuple[int, ...]

    @property
    def fixed(self) -> bool:
        return isinstance(self.dim, int)


def normal(scale: float = 1.0, dtype: Any = F32) -> Maker:
    return lambda rng, shape: (rng.standard_normal(shape) * scale).astype(dtype)


def uniform_ints(low: int, high: int, dtype: Any = I64) -> Maker:
    return lambda rng, shape: rng.integers(low, high, shape).astype(dtype)


class Graph:
    """`g("Add", a, b)` adds a node and returns its output's name. Sizes are drawn by `size`, inputs are filled at the end."""

    CALLS = 3

    def __init__(self, rng: np.random.Generator, opset: int = 17, dynamic: float = 0.5):
        self.rng, self.opset, self.dynamic = rng, opset, rng.random() < dynamic
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, Array] = {}
        self.inputs: dict[str, tuple[Any, list[Size], Maker]] = {}
        self.outputs: dict[str, Any] = {}
        self.bounds: dict[str, str] = {}
        self.domains: set[str] = set()
        self.origin: dict[int | str, tuple[str, int]] = {}  # a dimension's name -> an input and axis that has it
        self.count = 0

    # --- Drawing -------------------------------------------------------------------------------------------------------

    def pick(self, *choices: Any) -> Any:
        return choices[self.rng.integers(len(choices))]

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def array(self, *shape: int, scale: float = 1.0, dtype: Any = F32) -> Array:
        return (self.rng.standard_normal(shape) * scale).astype(dtype)

    def size(self, name: str, low: int = 1, high: int = 6) -> Size:
        """A number, or a named dimension with bounds that is seen at its smallest, its largest and another value."""
        if not self.dynamic or self.chance(0.25):
            value = int(self.rng.integers(low, high + 1))
            return Size(value, (value,) * self.CALLS)
        self.bounds[name] = f"{low}..{high}"
        return Size(name, (int(self.rng.integers(low, high + 1)), low, high))

    def fixed(self, value: int) -> Size:
        return Size(value, (value,) * self.CALLS)

    # --- Building ------------------------------------------------------------------------------------------------------

    def fresh(self, base: str = "v") -> str:
        self.count += 1
        return f"{base}{self.count}"

    def __call__(self, op: str, *inputs: str, outs: int = 1, domain: str = "", **attributes: Any) -> Any:
        names = [self.fresh() for _ in range(outs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=f"{op}_{self.count}", domain=domain, **attributes))
        if domain:
            self.domains.add(domain)
        return names[0] if outs == 1 else names

    def input(self, name: str, shape: Sequence[Size | int], make: Maker | None = None, dtype: Any = F32) -> str:
        sizes = [s if isinstance(s, Size) else self.fixed(s) for s in shape]
        self.inputs[name] = (dtype, sizes, make or normal(dtype=dtype))
        for axis, size in enumerate(sizes):
            if not size.fixed:
                self.origin.setdefault(size.dim, (name, axis))
        return name

    def param(self, value: Any, dtype: Any = None) -> str:
        """A constant: an initializer, or a Constant node."""
        array = np.asarray(value, dtype)
        if self.rng.random() < 0.15:
            return self("Constant", value=numpy_helper.from_array(array))
        name = self.fresh("w")
        self.weights[name] = array
        return name

    def ints(self, *values: int) -> str:
        return self.param(values, I64)

    def scalar(self, value: float, dtype: Any = F32) -> str:
        return self.param(np.full((1,) if self.rng.random() < 0.3 else (), value), dtype)

    def output(self, value: str, dtype: Any = F32, name: str = "") -> str:
        """Makes a value an output of the graph, under a name of its own."""
        name = name or f"out{len(self.outputs)}"
        self.nodes.append(helper.make_node("Identity", [value], [name], name=f"{name}_is"))
        self.outputs[name] = dtype
        return name

    # --- Shapes --------------------------------------------------------------------------------------------------------

    def extent(self, size: Size) -> str:
        """A tensor [1] with a size, computed if it is dynamic (or sometimes if it is not)."""
        if size.fixed:
            return self.ints(int(size.dim))
        name, axis = self.origin[size.dim]
        how = self.rng.integers(3)
        if how == 0 and self.opset >= 15:
            return self("Shape", name, start=axis, end=axis + 1)
        shape = self("Shape", name)
        if how == 1:
            return self("Slice", shape, self.ints(axis), self.ints(axis + 1), self.ints(0))
        scalar = self("Gather", shape, self.param(axis, I64), axis=0)
        return self("Unsqueeze", scalar, self.ints(0))

    def product(self, sizes: Sequence[Size]) -> str:
        """A tensor [1] with a product of sizes."""
        number, value = math.prod(int(s.dim) for s in sizes if s.fixed), ""
        for size in sizes:
            if not size.fixed:
                value = self("Mul", value, self.extent(size)) if value else self.extent(size)
        if not value:
            return self.ints(number)
        return self("Mul", value, self.ints(number)) if number != 1 else value

    def view(self, value: str, shape: Sequence[Sequence[Size]]) -> str:
        """A Reshape to sizes that are products of sizes, in one of the ways that exporters write it."""
        dynamic = [i for i, group in enumerate(shape) if not all(s.fixed for s in group)]
        numbers = [math.prod(int(s.dim) for s in group) if i not in dynamic else -1 for i, group in enumerate(shape)]
        if len(dynamic) <= 1 and self.chance(0.7):
            if not dynamic and self.chance(0.3):
                numbers[self.rng.integers(len(numbers))] = -1
            return self("Reshape", value, self.param(numbers, I64))
        target = self("Concat", *[self.product(group) for group in shape], axis=0)
        return self("Reshape", value, target)

    # --- The end -------------------------------------------------------------------------------------------------------

    def case(self, note: str = "", **options: Any) -> Case:
        inputs = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), [s.dim for s in sizes])
                  for name, (dtype, sizes, _) in self.inputs.items()]
        outputs = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), None)
                   for name, dtype in self.outputs.items()]
        graph = helper.make_graph(self.nodes, "fuzz", inputs, outputs,
                                  [numpy_helper.from_array(w, n) for n, w in self.weights.items()])
        opsets = [helper.make_opsetid("", self.opset)] + [helper.make_opsetid(d, 1) for d in sorted(self.domains)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        used = {s.dim for _, sizes, _ in self.inputs.values() for s in sizes if not s.fixed}
        calls = [{name: make(self.rng, tuple(s.values[i] for s in sizes)) for name, (_, sizes, make) in self.inputs.items()}
                 for i in range(self.CALLS if used else 1)]
        return Case(model, calls, {k: v for k, v in self.bounds.items() if k in used}, note=note, **options)
