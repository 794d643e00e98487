"""What ONNX Runtime computes at every node of a model, as an .npz that edgecc-diff compares with (--reference).

    python3 -m edgecc.eval reference model.onnx --inputs inputs.npz -o reference.npz
    python3 -m edgecc.eval reference model.onnx --ids 1,403,282 -o reference.npz

What a session of ours knows by itself (mask, positions, empty caches) may be left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import EdgeccError
from .oracle import oracle_session

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="an ONNX file of 2 GB at most, external data included")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--inputs", type=Path, help="an .npz with an array for each input")
    what.add_argument("--ids", help="tokens of a language model: 1,403,282")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .npz to write")


def watched(path: Path) -> tuple[Any, dict[str, str]]:
    """The model with every result as an output, and the node of each: named as edgecc names it."""
    import onnx

    model = onnx.load(path)
    nodes = {}
    known = {output.name for output in model.graph.output}
    for index, node in enumerate(model.graph.node):
        if node.output and node.output[0]:
            nodes[node.output[0]] = node.name or f"{node.op_type}_{index}"
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in nodes if name not in known)
    return model, nodes


def feeds(session: Any, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`given`, and the first call's mask, positions and caches."""
    unknown = given.keys() - {i.name for i in session.get_inputs()}
    if unknown:
        raise EdgeccError(f"the model has no input {sorted(unknown)[0]!r}; it has {', '.join(i.name for i in session.get_inputs())}")
    tokens = next((value for name, value in given.items() if name == "input_ids"), next(iter(given.values())))
    batch, sequence = (*tokens.shape, 1)[:2]
    result = dict(given)
    for i in session.get_inputs():
        if i.name in result:
            continue
        sizes = [d if isinstance(d, int) else batch if "batch" in d else 0 if i.name.startswith("past") else sequence for d in i.shape]
        if i.name.startswith("past"):
            result[i.name] = np.zeros(sizes, _TYPES[i.type])
        elif i.name == "attention_mask":
            result[i.name] = np.ones(sizes, _TYPES[i.type])
        elif i.name == "position_ids":
            result[i.name] = np.broadcast_to(np.arange(sequence), sizes).astype(_TYPES[i.type])
        else:
            raise EdgeccError(f"there is no array for the model's input {i.name!r}")
    return result


def run(a: argparse.Namespace) -> int:
    model, nodes = watched(a.model)
    session = oracle_session(model.SerializeToString(), optimize=False)
    if a.ids is not None:
        try:
            given = {"input_ids": np.array([[int(i) for i in a.ids.split(",")]])}
        except ValueError:
            raise EdgeccError(f"--ids {a.ids}: write numbers with commas between them") from None
    else:
        given = dict(np.load(a.inputs))
    names = [output.name for output in session.get_outputs() if output.name in nodes]
    results = dict(zip(names, session.run(names, feeds(session, given))))
    # Only floats are compared; numpy has none of bf16.
    arrays: dict[str, Any] = {nodes[name]: value for name, value in results.items() if isinstance(value, np.ndarray) and value.dtype.kind == "f"}
    np.savez(a.output, **arrays)
    print(f"{a.output}: {len(arrays)} tensors")
    return 0
