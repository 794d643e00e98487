"""Damaged models: whatever a file says, edgecc compiles it or ends with a sentence. It never crashes and never hangs.

    pytest test/e2e/test_damaged_models.py [--build-dir build]
    test_damaged_models.py --count 5000 --seed 1 [--keep FOLDER]     # a longer search; what crashes is kept
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

SECONDS, MEMORY = 10, 6 << 30  # of one run
COMPILED = 8  # one mutant of so many is compiled to the end
NUMBERS = (0, -1, 1, 2, 7, -7, 1 << 31, 1 << 40, -(1 << 40), (1 << 63) - 1, -(1 << 63))


# --- What can be wrong with a model: each function damages one thing, or returns False ---------------------------------------


def _attributes(model, kinds):
    return [a for n in model.graph.node for a in n.attribute if a.type in kinds]


def _types(model):
    graph = model.graph
    return [v.type.tensor_type for v in (*graph.input, *graph.output, *graph.value_info) if v.type.HasField("tensor_type")]


def drop_input(model, rng):
    nodes = [n for n in model.graph.node if n.input]
    if not nodes:
        return False
    node = rng.choice(nodes)
    if rng.random() < 0.5:
        del node.input[rng.randrange(len(node.input)):]
    else:
        node.input[rng.randrange(len(node.input))] = ""


def add_input(model, rng):
    names = [name for n in model.graph.node for name in (*n.input, *n.output)]
    if not names:
        return False
    rng.choice(model.graph.node).input.append(rng.choice(names))


def swap_input(model, rng):
    """Another value of the graph in place of one: other ranks, types and sizes."""
    nodes = [n for n in model.graph.node if n.input]
    names = [v.name for v in (*model.graph.input, *model.graph.initializer)]
    if not nodes or not names:
        return False
    node = rng.choice(nodes)
    node.input[rng.randrange(len(node.input))] = rng.choice(names)


def change_outputs(model, rng):
    node = rng.choice(model.graph.node)
    if len(node.output) > 1 and rng.random() < 0.5:
        del node.output[-1]
    else:
        node.output.append(f"more{len(node.output)}")


def change_integer(model, rng):
    found = _attributes(model, (2, 7))  # INT, INTS
    if not found:
        return False
    attribute = rng.choice(found)
    if attribute.type == 2:
        attribute.i = rng.choice(NUMBERS)
    elif attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(NUMBERS)


def change_length(model, rng):
    found = _attributes(model, (6, 7))  # FLOATS, INTS
    if not found:
        return False
    attribute = rng.choice(found)
    values = attribute.ints if attribute.type == 7 else attribute.floats
    if values and rng.random() < 0.6:
        del values[rng.choice((0, -1)):]
    else:
        values.extend([1] * rng.choice((1, 1, 5)))


def change_kind(model, rng):
    found = [a for n in model.graph.node for a in n.attribute]
    if not found:
        return False
    attribute = rng.choice(found)
    name = attribute.name
    attribute.Clear()
    attribute.name, attribute.type = name, rng.choice((1, 2, 3, 6, 7, 8))
    attribute.i, attribute.f, attribute.s = 1, 0.5, b"what"
    attribute.ints.append(1)
    attribute.floats.append(0.5)
    attribute.strings.append(b"what")


def change_text(model, rng):
    found = _attributes(model, (3,))  # STRING
    if not found:
        return False
    rng.choice(found).s = rng.choice((b"", b"x", b"ij,jk", b"...->...", b"->", b"\xff\x00", b"a" * 300))


def change_float(model, rng):
    found = _attributes(model, (1,))  # FLOAT
    if not found:
        return False
    rng.choice(found).f = rng.choice((0.0, -1.0, float("nan"), float("inf"), 1e30))


def drop_attribute(model, rng):
    nodes = [n for n in model.graph.node if n.attribute]
    if not nodes:
        return False
    node = rng.choice(nodes)
    del node.attribute[rng.randrange(len(node.attribute))]


def add_attribute(model, rng):
    """An attribute that the operator may have, with a number that it may not have."""
    import onnx

    node = rng.choice(model.graph.node)
    try:
        schema = onnx.defs.get_schema(node.op_type, 24, node.domain)
    except onnx.defs.SchemaError:
        return False
    names = sorted(n for n, a in schema.attributes.items() if int(a.type) in (2, 7))
    if not names:
        return False
    name = rng.choice(names)
    many = int(schema.attributes[name].type) == 7
    value = [rng.choice(NUMBERS) for _ in range(rng.choice((1, 2, 4)))] if many else rng.choice(NUMBERS)
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend(kept + [onnx.helper.make_attribute(name, value)])


def change_element(model, rng):
    types = _types(model)
    if types and (rng.random() < 0.7 or not model.graph.initializer):
        rng.choice(types).elem_type = rng.randrange(0, 25)
    elif model.graph.initializer:
        rng.choice(model.graph.initializer).data_type = rng.randrange(0, 25)


def change_dimension(model, rng):
    types = [t for t in _types(model) if t.shape.dim]
    shapes = [t for t in model.graph.initializer if t.dims]
    if shapes and rng.random() < 0.4:
        tensor = rng.choice(shapes)
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(NUMBERS)
    elif types:
        dim = rng.choice(rng.choice(types).shape.dim)
        if rng.random() < 0.3:
            dim.dim_param = rng.choice(("n", "batch", "past", "sequence", "n + n", "n * 0", "-n", "1 +", ""))
        else:
            dim.dim_value = rng.choice(NUMBERS + (3, 5, 64))
    else:
        return False


def change_rank(model, rng):
    types = _types(model)
    if not types:
        return False
    shape = rng.choice(types).shape
    if shape.dim and rng.random() < 0.6:
        del shape.dim[rng.choice((0, -1, rng.randrange(len(shape.dim)))):]
    else:
        for _ in range(rng.choice((1, 1, 2, 6))):
            shape.dim.add().dim_value = rng.choice((1, 2, 3))


def reshape_initializer(model, rng):
    """The same elements in another shape, or fewer of them."""
    found = [t for t in model.graph.initializer if len(t.dims) and t.raw_data]
    if not found:
        return False
    tensor = rng.choice(found)
    size, count = len(tensor.raw_data), 1
    for dim in tensor.dims:
        count *= dim
    if not count:
        return False
    if rng.random() < 0.5:
        shape = rng.choice(([count], [1, count], [count, 1], [1] * 5 + [count]))
    else:
        shape, kept = rng.choice((([], 1), ([1], 1), ([0], 0), ([count - 1], count - 1)))
        tensor.raw_data = tensor.raw_data[:size // count * kept]
    del tensor.dims[:]
    tensor.dims.extend(shape)


def change_numbers(model, rng):
    """The contents of integers: shapes, axes, indices."""
    found = [t for t in model.graph.initializer if t.data_type == 7 and t.raw_data]
    if not found:
        return False
    tensor = rng.choice(found)
    at = rng.randrange(len(tensor.raw_data) // 8) * 8
    tensor.raw_data = tensor.raw_data[:at] + rng.choice(NUMBERS).to_bytes(8, "little", signed=True) + tensor.raw_data[at + 8:]


def fix_input(model, rng):
    """An input becomes a constant of a few bytes, of any shape that these have: axes, pads and sizes that are known."""
    from onnx import TensorProto, helper

    found = [v for v in model.graph.input if v.type.HasField("tensor_type")]
    if not found:
        return False
    value = rng.choice(found)
    element = value.type.tensor_type.elem_type
    known = [d.dim_value for d in value.type.tensor_type.shape.dim]
    count = 1
    for dim in known:
        count *= max(dim, 1)
    count = min(count, 64)
    shape = rng.choice(([count], [count], [count], [], [1], [0], [1, count]))
    count = count if count in shape else int(0 not in shape)
    if element not in (TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL):
        return False
    whole = rng.choice((NUMBERS[:6], (0, 1, 2, 3), (1,), NUMBERS))
    numbers = [rng.choice(whole) for _ in range(count)]
    if element == TensorProto.INT32:
        numbers = [max(min(n, (1 << 31) - 1), -(1 << 31)) for n in numbers]
    if element == TensorProto.BOOL:
        numbers = [bool(n) for n in numbers]
    model.graph.initializer.append(helper.make_tensor(value.name, element, shape, numbers))
    model.graph.input.remove(value)


def drop_initializer(model, rng):
    if not model.graph.initializer:
        return False
    del model.graph.initializer[rng.randrange(len(model.graph.initializer))]


def rename(model, rng):
    node = rng.choice(model.graph.node)
    what = rng.randrange(4)
    if what == 0:
        node.op_type = rng.choice([n.op_type for n in model.graph.node] + ["", "Add", "Attention", "Gather", "Reshape"])
    elif what == 1 and node.output:
        node.output[0] = rng.choice(("", "nowhere", node.input[0] if node.input else ""))
    elif what == 2:
        rng.choice(model.graph.output).name = "nowhere"
    elif model.graph.input:
        rng.choice(model.graph.input).name = rng.choice(("attention_mask", "position_ids", "past_key_values.0.key", ""))


def change_operator(model, rng):
    """Another operator on the same operands and attributes."""
    import onnx

    names = sorted({s.name for s in onnx.defs.get_all_schemas() if s.domain == ""})
    rng.choice(model.graph.node).op_type = rng.choice(names)


def change_opset(model, rng):
    if not model.opset_import:
        return False
    model.opset_import[0].version = rng.choice((0, 1, 5, 7, 10, 11, 12, 13, 17, 18, 22, 24, 1 << 40))


DAMAGES = (drop_input, add_input, swap_input, change_outputs, change_integer, change_integer, change_length, change_kind, change_text,
           change_float, drop_attribute, add_attribute, add_attribute, change_element, change_dimension, change_rank, change_rank,
           reshape_initializer, change_numbers, change_numbers, fix_input, fix_input, drop_initializer, rename, change_operator,
           change_opset)


def flip_bytes(data: bytes, rng) -> bytes:
    changed = bytearray(data)
    # What a graph says comes before and after its weights.
    places = [rng.randrange(min(len(changed), 3000)), max(len(changed) - rng.randrange(1, 1000), 0)]
    for _ in range(rng.choice((1, 1, 2, 5))):
        changed[rng.choice(places[:1] * 3 + places[1:])] ^= rng.choice((1, 2, 4, 0x20, 0x80, 0xFF))
        places[0] = rng.randrange(min(len(changed), 3000))
    return bytes(changed)


def mutant(sources: list[bytes], number: int, seed: int) -> tuple[bytes, str]:
    """The damaged model, and what was done to it."""
    import onnx

    rng = random.Random(f"{seed} {number}")
    data = sources[rng.randrange(len(sources))]
    if rng.random() < 0.12:
        return flip_bytes(data, rng), "flip_bytes"
    model = onnx.load_model_from_string(data)
    done = []
    wanted = rng.choice((1, 1, 1, 2, 3))
    for _ in range(50):
        damage = rng.choice(DAMAGES)
        if model.graph.node and model.graph.output and damage(model, rng) is not False:
            done.append(damage.__name__)
            if len(done) == wanted:
                break
    return model.SerializeToString(), " ".join(done)


# --- What is damaged ----------------------------------------------------------------------------------------------------------


def sources() -> list[bytes]:
    """The graphs written by hand, several times, and ONNX's own node tests."""
    import onnx.backend.test
    from opset_graphs import GRAPHS

    written = [make().SerializeToString() for make in GRAPHS.values()]
    folder = Path(onnx.backend.test.__file__).parent / "data/node"
    nodes = [(at / "model.onnx").read_bytes() for at in sorted(folder.iterdir()) if (at / "model.onnx").exists()]
    return written * 12 + [data for data in nodes if len(data) < 20000]


# --- The runs -----------------------------------------------------------------------------------------------------------------


def _limit() -> None:
    if "ASAN_OPTIONS" not in os.environ:  # AddressSanitizer reserves terabytes of addresses
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def trouble(edgecc: Path, data: bytes, folder: Path, number: int) -> str:
    """What is wrong with how edgecc ended; "" if nothing is."""
    path, output = folder / f"{number}.onnx", folder / f"{number}.out"
    path.write_bytes(data)
    arguments = [] if number % COMPILED == 0 else ["--emit=edge"]
    try:
        done = subprocess.run([str(edgecc), str(path), "-o", str(output), "--quiet", *arguments], capture_output=True, timeout=SECONDS,
                              preexec_fn=_limit, env={**os.environ, "TMPDIR": str(folder)})
    except subprocess.TimeoutExpired:
        return f"hangs ({SECONDS} s)"
    finally:
        path.unlink()
        output.unlink(missing_ok=True)
    said = done.stderr.decode(errors="replace")
    if done.returncode not in (0, 1):
        return f"ends with {done.returncode}: {said[-3000:]}"
    if done.returncode == 1 and not re.search(r"error: .*\w", said):
        return f"says nothing: {said[-500:]}"
    return ""


def search(edgecc: Path, count: int, seed: int, keep: Path | None = None, workers: int = 2) -> list[str]:
    models = sources()
    found = []
    with tempfile.TemporaryDirectory(prefix="edgecc-damaged-") as scratch, \
            concurrent.futures.ThreadPoolExecutor(workers) as pool:

        def run(number: int) -> str:
            data, done = mutant(models, number, seed)
            problem = trouble(edgecc, data, Path(scratch), number)
            if problem and keep:
                (keep / f"{seed}-{number}.onnx").write_bytes(data)
            return f"mutant {number} of seed {seed} ({done}) {problem}" if problem else ""

        for line in pool.map(run, range(count)):
            if line:
                found.append(line)
                if keep:
                    (keep / f"{seed}.log").open("a").write(line + "\n----\n")
    return found


def test_damaged_models(build_dir):
    """EDGECC_MUTANTS and EDGECC_SEED: how many, and which."""
    pytest.importorskip("onnx")
    found = search(build_dir / "bin/edgecc", int(os.environ.get("EDGECC_MUTANTS", "300")), int(os.environ.get("EDGECC_SEED", "0")))
    assert not found, f"{len(found)} mutants:\n" + "\n".join(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edgecc", type=Path, default=HERE.parents[1] / "build/bin/edgecc")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="a folder for the models that crash")
    a = parser.parse_args()
    if a.keep:
        a.keep.mkdir(parents=True, exist_ok=True)
    found = search(a.edgecc, a.count, a.seed, a.keep, a.workers)
    for line in found:
        print(line.splitlines()[0][:300])
    print(f"{len(found)} of {a.count} mutants crash, hang or say nothing")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
