"""Programs of several commands: a module for each, with `add_arguments(parser)` and `run(arguments)`, described by its docstring."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Mapping

from .errors import EdgeccError


def run_commands(program: str, description: str, texts: Mapping[str, str], package: str, arguments: list[str] | None) -> int:
    parser = argparse.ArgumentParser(prog=program, description=description)
    commands = parser.add_subparsers(dest="command", required=True)
    modules = {}
    for name, text in texts.items():
        modules[name] = importlib.import_module(f".{name}", package)
        modules[name].add_arguments(commands.add_parser(name, help=text, description=modules[name].__doc__))
    a = parser.parse_args(arguments)
    try:
        status: int = modules[a.command].run(a)
        return status
    except (EdgeccError, OSError) as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        return 1
