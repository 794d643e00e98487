"""Makes a finding smaller: fewer outputs, calls, nodes and options, while it stays wrong or crashes in the same way."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Callable, Iterator

import onnx

from graph import Case
from pool import Worker
from store import load_case, save_case


def without_dead_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    graph = model.graph
    needed = {o.name for o in graph.output}
    for node in reversed(list(graph.node)):
        if needed & set(node.output):
            needed |= set(node.input)
        else:
            graph.node.remove(node)
    for values in (graph.initializer, graph.input):
        for value in [v for v in values if v.name not in needed]:
            values.remove(value)
    return model


def changed(case: Case, edit: Callable[[onnx.GraphProto], None]) -> Case:
    model = copy.deepcopy(case.model)
    edit(model.graph)
    without_dead_nodes(model)
    names = {i.name for i in model.graph.input}
    used = {d.dim_param for i in model.graph.input for d in i.type.tensor_type.shape.dim}
    return Case(model, [{k: v for k, v in feeds.items() if k in names} for feeds in case.calls],
                {k: v for k, v in case.dims.items() if k in used}, case.arguments, case.tolerance, case.note, case.stateful)


def bypass(index: int, operand: int) -> Callable[[onnx.GraphProto], None]:
    def edit(graph: onnx.GraphProto) -> None:
        node = graph.node[index]
        for other in graph.node:
            other.input[:] = [node.input[operand] if x == node.output[0] else x for x in other.input]
    return edit


def smaller(case: Case) -> Iterator[Case]:
    """Cases with one thing less."""
    if not case.stateful:
        for i in range(len(case.calls)):
            if len(case.calls) > 1:
                yield Case(case.model, [case.calls[i]], case.dims, case.arguments, case.tolerance, case.note)
    for i in range(len(case.arguments)):
        yield Case(case.model, case.calls, case.dims, case.arguments[:i] + case.arguments[i + 1:], case.tolerance, case.note, case.stateful)
    outputs = len(case.model.graph.output)
    for i in range(outputs):
        if outputs > 1:
            yield changed(case, lambda graph, i=i: graph.output.pop(i) and None)
    if case.dims and len(case.calls) == 1:
        yield fixed_sizes(case)
    for index in reversed(range(len(case.model.graph.node))):
        node = case.model.graph.node[index]
        for operand in range(len(node.input)):
            if node.input[operand] and not (node.output[0].startswith("out") and node.op_type == "Identity"):
                yield changed(case, bypass(index, operand))


def fixed_sizes(case: Case) -> Case:
    def edit(graph: onnx.GraphProto) -> None:
        for value in graph.input:
            for dim, size in zip(value.type.tensor_type.shape.dim, case.calls[0][value.name].shape):
                dim.dim_value = size
    return changed(case, edit)


def minimise(folder: Path) -> int:
    """Shrinks the case in `folder` in place."""
    case, facts = load_case(folder), json.loads((folder / "case.json").read_text())
    trial = folder.with_name(folder.name + ".trial")
    with Worker() as worker:
        def verdict(candidate: Case) -> dict:
            save_case(candidate, trial, {})
            return worker.ask(str(trial))

        first = verdict(case)
        kind, start = first["verdict"], first["reason"].split(":")[0][:40] if first["verdict"] == "crash" else ""
        if kind not in ("wrong", "crash"):
            print(f"{folder}: it is {kind} now: {first['reason']}")
            return 1
        shrinks, last = True, first
        while shrinks:
            shrinks = False
            for candidate in smaller(case):
                result = verdict(candidate)
                if result["verdict"] == kind and result["reason"].startswith(start):
                    case, shrinks, last = candidate, True, result
                    break
    for file in trial.iterdir():
        file.unlink()
    trial.rmdir()
    save_case(case, folder, {"verdict": kind, "reason": last["reason"], "first": facts.get("reason", "")})
    print(f"{kind}: {last['reason']}\n{onnx.printer.to_text(case.model)}\ndimensions: {case.dims} arguments: {case.arguments}")
    return 0
