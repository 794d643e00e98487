"""What a model should answer, and whether an answer is that.

ONNX Runtime without its optimizer answers first. Where edgecc differs, ONNX's reference is asked, too; and the inputs and weights are
changed in their last bits, and the model is computed in float64: an element that this moves as much as edgecc differs is no finding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, numpy_helper

from graph import Array, Case

Outputs = dict[str, Array]
SHAKES = 3
# The share of a value that a type rounds away, with room for sums in another order.
ROUNDING = {np.dtype(np.float16): 4e-3}
NARROWED = 4e-3
# Masks add this or less to scores. A query whose keys are all hidden has zeros in edgecc (dialects/README.md).
HIDDEN = -1e4


def session_of(model: bytes, level: Any = None, save_to: str = "") -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = level or ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if save_to:
        options.optimized_model_filepath = save_to
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def pasts_of(outputs: Outputs, feeds: Outputs) -> Outputs:
    """The presents of a call under the names of the pasts of the next one."""
    result = {}
    for name in feeds:
        for past in ("past_key_values", "past_key_value", "past"):
            present = name.replace(past, "present", 1)
            if past in name and present in outputs:
                result[name] = outputs[present]
                break
    return result


def answers(case: Case, calls: list[Outputs], model: onnx.ModelProto | None = None) -> list[Outputs]:
    """Outputs of each call of the case's model, or of `model`, in ONNX Runtime. Raises what ONNX Runtime raises."""
    session = session_of((model or case.model).SerializeToString())
    names = [o.name for o in session.get_outputs()]
    wanted = {i.name for i in session.get_inputs()}
    results: list[Outputs] = []
    for i, feeds in enumerate(calls):
        if case.stateful and i:
            feeds = {**feeds, **pasts_of(results[-1], feeds)}
        results.append(dict(zip(names, session.run(None, {k: v for k, v in feeds.items() if k in wanted}))))
    return results


def reference_answers(case: Case, calls: list[Outputs]) -> list[Outputs] | None:
    """ONNX's reference, or none if it cannot."""
    from onnx.reference import ReferenceEvaluator

    results: list[Outputs] = []
    names = [o.name for o in case.model.graph.output]
    try:
        evaluator = ReferenceEvaluator(case.model)
        for i, feeds in enumerate(calls):
            if case.stateful and i:
                feeds = {**feeds, **pasts_of(results[-1], feeds)}
            results.append(dict(zip(names, map(np.asarray, evaluator.run(None, feeds)))))
    except Exception:  # whatever it cannot
        return None
    return results


def shaken(calls: list[Outputs], rng: np.random.Generator) -> list[Outputs]:
    """Floats changed in their last bits."""
    def shake(array: Array) -> Array:
        if array.dtype.kind != "f":
            return array
        share = 2e-3 if array.dtype == np.float16 else 3e-6
        return (array * (1 + share * rng.choice([-1, 1], array.shape))).astype(array.dtype)
    return [{k: shake(v) for k, v in feeds.items()} for feeds in calls]


def shaken_weights(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto:
    """A copy of the model with its float32 weights and constants changed by one unit in the last place, up or down."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    constants = [a.t for n in copy.graph.node for a in n.attribute if a.type == onnx.AttributeProto.TENSOR]
    for tensor in [*copy.graph.initializer, *constants]:
        if tensor.data_type == TensorProto.FLOAT:
            array = numpy_helper.to_array(tensor)
            moved = np.nextafter(array, rng.choice(np.array([-np.inf, np.inf], np.float32), array.shape))
            kept = np.where(np.isfinite(moved) & (array != 0), moved, array).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(kept, tensor.name))
    return copy


def doubled(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model that computes in float64 what it computes in float32."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    attributes = [(n, a) for n in copy.graph.node for a in n.attribute]
    constants = [a.t for _, a in attributes if a.type == onnx.AttributeProto.TENSOR]
    for tensor in [*copy.graph.initializer, *constants]:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    for node, attribute in attributes:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.DOUBLE
    for value in [*copy.graph.input, *copy.graph.output]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    return copy


def widened(calls: list[Outputs]) -> list[Outputs]:
    return [{k: v.astype(np.float64) if v.dtype == np.float32 else v for k, v in feeds.items()} for feeds in calls]


def difference(actual: Array, expected: Array) -> tuple[Array, str]:
    """The absolute difference of each element; infinite where only one is finite, or the infinities differ."""
    if actual.shape != expected.shape:
        return np.array(np.inf), f"shape {list(actual.shape)} instead of {list(expected.shape)}"
    if actual.dtype != expected.dtype:
        return np.array(np.inf), f"type {actual.dtype} instead of {expected.dtype}"
    if expected.dtype.kind in "iub":
        return np.where(actual == expected, 0.0, np.maximum(1.0, np.abs(actual.astype(np.float64) - expected.astype(np.float64)))), ""
    a, e = actual.astype(np.float64), expected.astype(np.float64)
    with np.errstate(all="ignore"):
        apart = np.abs(a - e)
    apart = np.where(np.isnan(apart), np.inf, apart)
    return np.where((a == e) | (np.isnan(a) & np.isnan(e)), 0.0, apart), ""


def magnitude(expected: Array) -> float:
    values = np.abs(expected.astype(np.float64))
    return float(values[np.isfinite(values)].max(initial=0.0))


def tolerance_of(case: Case, expected: Array) -> float:
    """Values that are narrowed between two nodes may keep their precision."""
    if expected.dtype.kind in "iub":
        return 0.0
    share = max(case.tolerance, ROUNDING.get(expected.dtype, 0.0), NARROWED if narrows(case) else 0.0)
    return share * max(magnitude(expected), 1e-30)


def narrows(case: Case) -> bool:
    halves = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
    return any(n.op_type == "Cast" and a.name == "to" and a.i in halves for n in case.model.graph.node for a in n.attribute)


def undefined(case: Case, expected: list[Outputs]) -> str:
    """Why ONNX does not say what the model answers; ONNX Runtime's answer then depends on its algorithm."""
    integers = {*range(TensorProto.UINT8, TensorProto.INT64 + 1), TensorProto.UINT32, TensorProto.UINT64}
    orders = any(n.op_type in ("TopK", "ArgMax", "ArgMin", "Hardmax") for n in case.model.graph.node)
    casts = [n.input[0] for n in case.model.graph.node for a in n.attribute if n.op_type == "Cast" and a.name == "to" and a.i in integers]
    casts += [n.input[0] for n in case.model.graph.node if n.op_type in ("QuantizeLinear", "DynamicQuantizeLinear")]
    floats = [v for values in [*case.calls, *expected] for v in values.values() if v.dtype.kind == "f"]
    if orders and any(np.isnan(v).any() for v in floats):
        return "the place of NaN in an order is not defined"
    if casts and not all(np.isfinite(v).all() for v in [*floats, *(v for values in probe(case, casts) for v in values.values())]):
        return "the integer that NaN or an infinity is cast to is not defined"
    if lowest_constant(case.model) <= HIDDEN and hides_rows(case):
        return "all scores of a query are hidden by finite values of a mask: edgecc gives 0"
    return ""


def lowest_constant(model: onnx.ModelProto) -> float:
    """The lowest float32 among weights and constants; 0 if there is none."""
    constants = [a.t for n in model.graph.node for a in n.attribute if a.type == onnx.AttributeProto.TENSOR]
    return min((float(numpy_helper.to_array(t).min(initial=0)) for t in [*model.graph.initializer, *constants]
                if t.data_type == TensorProto.FLOAT), default=0.0)


def probe(case: Case, names: list[str]) -> list[Outputs]:
    """Those of the named values that nodes compute in floating point, in each call; nothing if ONNX Runtime refuses the model."""
    wanted = {output for node in case.model.graph.node for output in node.output}.intersection(names)
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    # ONNX Runtime finds the types.
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(wanted - {o.name for o in model.graph.output}))
    try:
        results = answers(case, case.calls, model)
    except Exception:  # a model that only the reference takes
        return []
    return [{name: values[name] for name in wanted if values[name].dtype.kind == "f"} for values in results]


def hides_rows(case: Case) -> bool:
    """Whether a row that goes into a Softmax has only scores that a finite mask hides."""
    axes = {n.input[0]: next((a.i for a in n.attribute if a.name == "axis"), -1) for n in case.model.graph.node if n.op_type == "Softmax"}
    highest = [v.max(axes[name], initial=-np.inf) for values in probe(case, list(axes)) for name, v in values.items() if v.ndim]
    return any((np.isfinite(row) & (row <= HIDDEN / 2)).any() for row in highest)


class Oracle:
    """The expected outputs of a case, and the judgement of others."""

    def __init__(self, case: Case):
        self.case = case
        self.refusal = ""
        try:
            self.expected: list[Outputs] | None = answers(case, case.calls)
        except Exception as problem:
            self.expected, self.refusal = None, str(problem)
        # The reference takes masks that ONNX Runtime refuses, and answers a causal Attention with them wrongly (onnx 1.22).
        if self.expected is None and not any(n.op_type == "Attention" for n in case.model.graph.node):
            self.expected = reference_answers(case, case.calls)

        if self.expected is not None and (reason := undefined(case, self.expected)):
            self.expected, self.refusal = None, reason

    def judge(self, actual: list[Outputs]) -> str:
        """Empty if the outputs are right; else where they are not."""
        assert self.expected is not None
        problem = self._compare(actual, self.expected, None)
        if not problem:
            return ""
        if (other := reference_answers(self.case, self.case.calls)) and not self._compare(actual, other, None):
            return ""
        bounds = self._sensitivity()
        return self._compare(actual, self.expected, bounds) if bounds is not None else problem

    def _sensitivity(self) -> list[dict[str, Array]] | None:
        """How far each element moves when inputs and weights change in their last bits, or when float32 is computed as float64."""
        assert self.expected is not None
        rng = np.random.default_rng(1)

        def widen(bound: dict[str, Array], name: str, apart: Array) -> None:
            if apart.shape == bound[name].shape:
                bound[name] = np.maximum(bound[name], apart)

        bounds = [{n: np.zeros(v.shape) for n, v in outputs.items()} for outputs in self.expected]
        for _ in range(SHAKES):
            try:
                moved = answers(self.case, shaken(self.case.calls, rng), shaken_weights(self.case.model, rng))
            except Exception:
                return None
            for bound, outputs, before in zip(bounds, moved, self.expected):
                for name, value in outputs.items():
                    widen(bound, name, difference(value, before[name])[0])
        try:
            exact = answers(self.case, widened(self.case.calls), doubled(self.case.model))
        except Exception:  # ONNX Runtime has no float64 form of some operator
            return bounds
        for bound, outputs, before in zip(bounds, exact, self.expected):
            for name, value in outputs.items():
                with np.errstate(all="ignore"):
                    widen(bound, name, difference(value.astype(before[name].dtype), before[name])[0])
        return bounds

    def _compare(self, actual: list[Outputs], expected: list[Outputs], bounds: list[dict[str, Array]] | None) -> str:
        for i, (got, want) in enumerate(zip(actual, expected)):
            if missing := [n for n in want if n not in got and not (self.case.stateful and "present" in n)]:
                return f"call {i}: no output {', '.join(missing)}"
            for name, value in got.items():
                if name not in want:
                    return f"call {i}: output {name} is not the model's"
                apart, note = difference(value, want[name])
                allowed: Any = tolerance_of(self.case, want[name])
                if note:
                    return f"call {i}: {name}: {note}"
                if bounds is not None:
                    allowed = allowed + 30 * bounds[i][name]
                bad = apart > allowed
                if bad.any():
                    at = np.unravel_index(int(np.argmax(np.where(bad, apart, 0))), apart.shape)
                    return (f"call {i}: {name}{[int(x) for x in at]}: {value[at]} instead of {want[name][at]}; "
                            f"{int(bad.sum())} of {bad.size} elements differ (largest {magnitude(want[name]):.4g})")
        return ""
