"""The command `python3 -m edgecc.bench`."""

from __future__ import annotations

import argparse
import importlib
import sys

from ..errors import EdgeccError

_COMMANDS = {
    "micro": "single layers, as shares of the machine's limits",
    "models": "one random model as artifact, GGUF files and ONNX files",
    "compare": "our artifact beside llama.cpp and ONNX Runtime, in turn",
    "plot": "reports as SVG or PNG",
    "bars": "what is wanted of this machine and of AArch64, met or not, in one table",
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="edgecc.bench", description="Measurements beside other engines. The engine's own: edgecc-bench.")
    commands = parser.add_subparsers(dest="command", required=True)
    modules = {}
    for name, text in _COMMANDS.items():
        modules[name] = importlib.import_module(f".{name}", __package__)
        modules[name].add_arguments(commands.add_parser(name, help=text, description=modules[name].__doc__))
    a = parser.parse_args(arguments)
    try:
        return modules[a.command].run(a)
    except (EdgeccError, OSError) as error:
        print(f"edgecc.bench: error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
