#!/usr/bin/env python3
"""Writes Signatures.def: what a node of each operator must have, from ONNX's and ONNX Runtime's own schemas.

    tools/dev/onnx_signatures.py           # in a Python that has onnx and onnxruntime, as python/requirements-test.txt pins them
    tools/dev/onnx_signatures.py --check   # says whether the file is what it would write; exit 1 if not

The file is kept in the repository: a build has no Python packages.
"""

import re
import sys
from collections import defaultdict
from pathlib import Path

import onnx.defs
from onnxruntime.capi import _pybind_state

NORMALIZE = Path(__file__).resolve().parents[2] / "passes/normalize"
KINDS = {"INT": "i", "FLOAT": "f", "STRING": "s", "INTS": "I", "FLOATS": "F", "STRINGS": "S", "TENSOR": "t"}
# Where the import makes an element type of an integer (compiler/frontend/Attributes.cpp).
TYPES = {"to", "dtype", "output_dtype", "output_datatype", "softmax_precision", "stash_type"}


def kinds(types) -> set[str]:
    found = set()
    for name in types:
        name = re.sub(r"^tensor\((.*)\)$", r"\1", name)
        if name in ("float", "float16", "bfloat16", "double"):
            found.add("f")
        elif re.match(r"u?int\d+$", name):
            found.add("i")
        elif name == "bool":
            found.add("b")
        elif name.startswith("float"):
            found.add("n")
    return found


def main() -> None:
    used = set(re.findall(r'"([A-Z]\w+)"', "".join(f.read_text() for f in sorted(NORMALIZE.glob("*.cpp")))))
    schemas, taken = defaultdict(dict), []
    for schema in _pybind_state.get_all_operator_schema():
        if schema.domain in ("", "com.microsoft"):
            schemas[schema.domain, schema.name][schema.since_version] = schema
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            schemas["", schema.name][schema.since_version] = schema
    for (domain, name), versions in sorted(schemas.items()):
        if name not in used:
            continue
        # Exporters write newer types into older opsets: kinds of all versions are fine.
        allowed = defaultdict(set)
        for schema in versions.values():
            constraints = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
            for i, formal in enumerate(schema.inputs):
                allowed[i] |= kinds(constraints.get(formal.typeStr if hasattr(formal, "typeStr") else formal.type_str,
                                                    [getattr(formal, "typeStr", None) or getattr(formal, "type_str", "")]))
        for since, schema in sorted(versions.items()):
            variables, inputs = [], []
            for i, formal in enumerate(schema.inputs):
                variable = formal.typeStr if hasattr(formal, "typeStr") else formal.type_str
                if variable not in variables:
                    variables.append(variable)
                option = str(formal.option)
                mark = "*" if "Variadic" in option else "?" if "Optional" in option else ""
                # A variadic of several types has no variable.
                number = "" if mark == "*" and not getattr(formal, "isHomogeneous", getattr(formal, "is_homogeneous", True)) \
                    else str(variables.index(variable))
                inputs.append("".join(sorted(allowed[i])) + number + mark)
            attributes = []
            for key, attribute in sorted(schema.attributes.items()):
                kind = KINDS.get(str(attribute.type).split(".")[-1])
                if kind == "i" and key in TYPES:
                    kind = "y"
                if kind:
                    attributes.append(f"{key}={kind}" + ("!" if attribute.required else ""))
            most = min(schema.max_output, 1 << 20)
            taken.append(f'EDGECC_SIGNATURE("{domain}", "{name}", {since}, {schema.min_input}, {most}, "{" ".join(inputs)}", '
                         f'"{" ".join(attributes)}")')
    text = (
        "// Written by tools/dev/onnx_signatures.py, from the schemas of ONNX and ONNX Runtime: domain, operator, since, least inputs, most results.\n"
        "// Inputs: kinds of elements (f: floats, n: narrow floats, i: integers, b: booleans); the number of a type that inputs share;\n"
        "// ?: may be missing; *: any number. Attributes: kind (upper case: a list; t: a tensor, y: an element type); !: must be given.\n"
        "// clang-format off\n" + "\n".join(taken) + "\n// clang-format on\n")
    file = NORMALIZE / "Signatures.def"
    if sys.argv[1:] != ["--check"]:
        file.write_text(text)
    elif file.read_text() != text:
        sys.exit(f"{file} is not what the schemas say: run {Path(__file__).name}")


if __name__ == "__main__":
    main()
