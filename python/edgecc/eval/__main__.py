"""The command `python3 -m edgecc.eval`."""

import sys

from ..commands import run_commands

_COMMANDS = {
    "exits": "what early exits save, and how often they say something else",
    "matrix": "a list of recipes on one model, as one table",
    "plot": "error by layer, and size against divergence",
    "reference": "what ONNX Runtime computes at every node, for edgecc-diff",
    "tables": "the documentation's tables, for all real models",
}


def main(arguments: list[str] | None = None) -> int:
    return run_commands("edgecc.eval", "What compression costs. One artifact on one text: edgecc-eval.", _COMMANDS, __package__, arguments)


if __name__ == "__main__":
    sys.exit(main())
