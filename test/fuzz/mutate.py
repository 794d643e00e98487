"""Near misses: a valid model with a detail changed, so that what looks like a known pattern is not one any more."""

from __future__ import annotations

import copy
from typing import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from graph import Case
from oracle import HIDDEN, answers, lowest_constant

OTHERS = {
    "Add": ["Sub", "Mul", "Max"], "Sub": ["Add", "Mul"], "Mul": ["Add", "Div", "Sub"], "Div": ["Mul", "Sub"], "Sqrt": ["Abs", "Exp"],
    "Softmax": ["LogSoftmax", "Hardmax", "Sigmoid"], "Tanh": ["Sigmoid", "Erf", "Relu"], "Sigmoid": ["Tanh", "HardSigmoid"],
    "ReduceMean": ["ReduceSum", "ReduceMax", "ReduceL2"], "ReduceSum": ["ReduceMean", "ReduceProd"], "Neg": ["Abs", "Identity"],
    "Sin": ["Cos", "Tanh"], "Cos": ["Sin", "Abs"], "LessOrEqual": ["Less", "GreaterOrEqual", "Greater"], "Less": ["LessOrEqual", "Greater"],
    "GreaterOrEqual": ["Greater", "LessOrEqual"], "Greater": ["Less", "GreaterOrEqual"], "Equal": ["Less", "Greater"],
    "And": ["Or", "Xor"], "Or": ["And"], "Erf": ["Tanh"], "Reciprocal": ["Sqrt", "Neg"], "Not": ["Identity"], "Min": ["Max"], "Max": ["Min"],
    "Relu": ["Abs", "Softplus"], "Floor": ["Ceil", "Round"], "Exp": ["Softplus"],
}
Mutation = Callable[[onnx.GraphProto, np.random.Generator], bool]


def pick(rng: np.random.Generator, items: list) -> object:
    return items[rng.integers(len(items))]


def readers(graph: onnx.GraphProto, name: str) -> list[tuple[onnx.NodeProto, int]]:
    return [(n, i) for n in graph.node for i, x in enumerate(n.input) if x == name]


def alter_constant(graph: onnx.GraphProto, rng: np.random.Generator) -> bool:
    small = [w for w in graph.initializer if np.prod(w.dims) <= 64]
    if not small:
        return False
    tensor = pick(rng, small)
    array = numpy_helper.to_array(tensor).copy()
    if not array.size:
        return False
    flat = array.reshape(-1)
    at = rng.integers(flat.size)
    if array.dtype.kind == "f":
        if flat.size == 1 or rng.random() < 0.5:
            flat[at] = pick(rng, [-flat[at], flat[at] * 2, 0, 1, flat[at] + 0.25, flat[at] * 1.001])
        elif rng.random() < 0.5:
            flat[:] = flat[rng.permutation(flat.size)]
        else:
            flat[:] = flat * rng.choice([0.5, 1, 2], flat.size)
    elif array.dtype.kind in "iu":
        if flat.size > 1 and rng.random() < 0.6:
            other = rng.integers(flat.size)
            flat[at], flat[other] = flat[other], flat[at]
        else:
            flat[at] += array.dtype.type(1) if rng.random() < 0.5 or flat[at] == 0 else array.dtype.type(-1 if array.dtype.kind == "i" else 0)
    else:
        flat[at] = ~flat[at]
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return True


def reshape_constant(graph: onnx.GraphProto, rng: np.random.Generator) -> bool:
    """A size of 1 more or less, in front or behind."""
    tensors = [w for w in graph.initializer if np.prod(w.dims) >= 1 and w.data_type == TensorProto.FLOAT]
    if not tensors:
        return False
    tensor = pick(rng, tensors)
    array = numpy_helper.to_array(tensor)
    how = rng.integers(4)
    if how == 0:
        array = array[None]
    elif how == 1:
        array = array[..., None]
    elif how == 2 and array.ndim and array.shape[0] == 1:
        array = array[0]
    elif array.ndim >= 2:
        array = np.swapaxes(array, -1, -2)
    else:
        array = np.tile(array, 2) if array.ndim else np.full(3, array)
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))
    return True


def change_attribute(graph: onnx.GraphProto, rng: np.random.Generator) -> bool:
    found = [(n, a) for n in graph.node for a in n.attribute
             if a.name in ("axis", "perm", "keepdims", "epsilon", "axes", "start", "end", "transA", "transB", "alpha", "to", "upper",
                           "is_causal", "scale", "softcap", "interleaved", "num_heads", "kv_num_heads", "local_window_size", "unidirectional",
                           "block_size", "stash_type", "largest", "exclusive", "reverse", "mode", "approximate", "noop_with_empty_axes")]
    if not found:
        return False
    node, attribute = pick(rng, found)
    if attribute.name == "perm":
        perm = list(attribute.ints)
        i, j = rng.choice(len(perm), 2, replace=False) if len(perm) > 1 else (0, 0)
        perm[i], perm[j] = perm[j], perm[i]
        attribute.ints[:] = perm
    elif attribute.name == "to":
        attribute.i = pick(rng, [TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.FLOAT16, TensorProto.BOOL])
    elif attribute.type == onnx.AttributeProto.INT:
        attribute.i = (1 - attribute.i) if attribute.name in ("keepdims", "transA", "transB", "upper", "is_causal", "interleaved") else \
            attribute.i + int(pick(rng, [-1, 1]))
    elif attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = float(pick(rng, [0.0, 0.1, attribute.f * 2, -attribute.f]))
    elif attribute.type == onnx.AttributeProto.INTS and attribute.ints:
        attribute.ints[rng.integers(len(attribute.ints))] += int(pick(rng, [-1, 1]))
    else:
        return False
    return True


def other_operator(graph: onnx.GraphProto, rng: np.random.Generator) -> bool:
    nodes = [n for n in graph.node if n.op_type in OTHERS and not n.domain]
    if not nodes:
        return False
    node = pick(rng, nodes)
    node.op_type = pick(rng, OTHERS[node.op_type])
    return True


def swap_operands(graph: onnx.GraphProto, rng: np.random.Generator) -> bool:
    nodes = [n for n in graph.node if len(n.input) >= 2]
    if not nodes:
        return False
    node = pick(rng, nodes)
    i, j = rng.choice(len(node.input), 2, replace=False)
    node.input[i], node.input[j] = node.input[j], node.input[i]
    return True


def drop_node(graph: onnx.GraphProto, rng: np.random.Generator) -> bool:
    nodes = [n for n in graph.node if n.input and not n.output[0].startswith("out")]
    if not nodes:
        return False
    node = pick(rng, nodes)
    source = pick(rng, [x for x in node.input if x] or [""])
    if not source:
        return False
    for reader, i in readers(graph, node.output[0]):
        reader.input[i] = source
    graph.node.remove(node)
    return True


def insert_node(graph: onnx.GraphProto, rng: np.random.Generator) -> bool:
    uses = [(n, i) for n in graph.node for i, x in enumerate(n.input) if x]
    node, i = pick(rng, uses)
    number = len(graph.node)
    name = f"x{number}"

    def scalar(value: float) -> str:
        graph.initializer.append(numpy_helper.from_array(np.float32(value), f"xs{number}"))
        return f"xs{number}"

    source, how = node.input[i], rng.integers(9)
    if how == 0:
        made = [helper.make_node(pick(rng, ["Relu", "Neg", "Abs", "Floor", "Identity", "Round", "Tanh"]), [source], [name])]
    elif how == 1:
        made = [helper.make_node("Cast", [source], [name + "i"], to=TensorProto.INT32),
                helper.make_node("Cast", [name + "i"], [name], to=TensorProto.FLOAT)]
    elif how == 2:
        made = [helper.make_node("Cast", [source], [name + "h"], to=TensorProto.FLOAT16),
                helper.make_node("Cast", [name + "h"], [name], to=TensorProto.FLOAT)]
    elif how == 3:
        made = [helper.make_node(pick(rng, ["Mul", "Add", "Div", "Sub", "Max", "Min", "Pow"]), [source, scalar(pick(rng, [1.5, 0.5, -1.0, 2.0, 3.0]))], [name])]
    elif how == 4:
        made = [helper.make_node("Add", [source, source], [name])]
    elif how == 5:
        rank = int(rng.integers(2, 5))
        perm = list(range(rank))
        perm[-1], perm[-2] = perm[-2], perm[-1]
        made = [helper.make_node("Transpose", [source], [name], perm=perm)]
    elif how == 6:
        axis = int(rng.integers(-3, 0))
        for part, value in (("s", -1), ("e", -2**62), ("a", axis), ("t", -1)):
            graph.initializer.append(numpy_helper.from_array(np.array([value]), f"{name}{part}"))
        made = [helper.make_node("Slice", [source, *[name + p for p in "seat"]], [name])]
    elif how == 7:
        made = [helper.make_node("Softmax", [source], [name], axis=int(rng.integers(-2, 0)))]
    else:
        graph.initializer.append(numpy_helper.from_array(np.array([int(rng.integers(0, 3))]), f"{name}a"))
        made = [helper.make_node(pick(rng, ["Unsqueeze", "Squeeze", "ReduceSum"]), [source, f"{name}a"], [name])]
    at = list(graph.node).index(node)
    node.input[i] = name
    for offset, new in enumerate(made):
        new.name = f"{new.op_type}_{name}"
        graph.node.insert(at + offset, new)
    return True


def redirect(graph: onnx.GraphProto, rng: np.random.Generator) -> bool:
    """An operand becomes another value that is known by then."""
    at = int(rng.integers(len(graph.node)))
    node = graph.node[at]
    if not node.input:
        return False
    known = [i.name for i in graph.input] + [w.name for w in graph.initializer] + [o for n in list(graph.node)[:at] for o in n.output]
    node.input[rng.integers(len(node.input))] = pick(rng, known)
    return True


def expose(graph: onnx.GraphProto, rng: np.random.Generator) -> bool:
    """A value between is an output, too."""
    values = [o for n in graph.node for o in n.output if o and not o.startswith("out")]
    if not values:
        return False
    name, out = pick(rng, values), f"out{len(graph.output)}"
    graph.node.append(helper.make_node("Identity", [name], [out], name=f"{out}_is"))
    graph.output.append(helper.make_tensor_value_info(out, TensorProto.FLOAT, None))
    return True


MUTATIONS: list[Mutation] = [alter_constant, alter_constant, reshape_constant, change_attribute, change_attribute, other_operator,
                             other_operator, swap_operands, drop_node, insert_node, insert_node, redirect, expose]


def reaches_mask(model: onnx.ModelProto, results: list[dict[str, np.ndarray]]) -> bool:
    """Whether scores may be as large as the finite value that a mask adds. edgecc hides what a mask of -1e4 or less adds to."""
    return lowest_constant(model) <= HIDDEN and any(np.abs(v[np.isfinite(v)]).max(initial=0) > 1e3 for r in results for v in r.values() if v.dtype.kind == "f")


def near_miss(case: Case, rng: np.random.Generator, tries: int = 12) -> Case:
    """The case with one or two details changed that ONNX Runtime still takes; itself if none is found."""
    for _ in range(tries):
        model = copy.deepcopy(case.model)
        done = [m.__name__ for m in (pick(rng, MUTATIONS) for _ in range(int(pick(rng, [1, 1, 1, 2, 2, 3])))) if m(model.graph, rng)]
        changed = Case(model, case.calls, case.dims, case.arguments, case.tolerance, f"{case.note}; {', '.join(done)}", case.stateful)
        try:
            results = answers(changed, changed.calls)
        except Exception:
            continue
        if reaches_mask(model, results):
            continue
        if all(np.isfinite(v).any() or not v.size for r in results for v in r.values() if v.dtype.kind == "f"):
            return changed
    return case
