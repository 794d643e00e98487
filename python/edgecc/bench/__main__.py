"""The command `python3 -m edgecc.bench`."""

import sys

from ..commands import run_commands

_COMMANDS = {
    "micro": "single layers, as shares of the machine's limits",
    "models": "one random model as artifact, GGUF files and ONNX files",
    "compare": "our artifact beside llama.cpp and ONNX Runtime, in turn",
    "bars": "what is wanted of this machine and of AArch64, met or not, in one table",
    "plot": "reports as SVG or PNG",
}


def main(arguments: list[str] | None = None) -> int:
    return run_commands("edgecc.bench", "Measurements beside other engines. The engine's own: edgecc-bench.", _COMMANDS, __package__, arguments)


if __name__ == "__main__":
    sys.exit(main())
