#!/usr/bin/env python3
"""Markdown tables from .def files: one table per macro, one line per row, the banner as the introduction.

    tools/dev/def_tables.py FILE.def... > tables.md
"""

import re
import sys
from pathlib import Path


def arguments(text: str) -> list[str]:
    """Splits at the commas outside of string literals."""
    return [part.strip().strip('"') or "-" for part in re.findall(r'(?:"[^"]*"|[^,"])+', text)]


def tables(path: Path) -> str:
    text = path.read_text()
    title, *banner = [line.lstrip("/ ").rstrip() for line in re.match(r"(?://.*\n)+", text)[0].splitlines()]
    title = re.sub(r"^===- *(\S+) - (.*?) *-*===.*", r"\2 (`\1`)", title)
    out = [f"# {title}", *(line for line in banner if not line.startswith("===-"))]
    body = "\n".join(line for line in text.splitlines() if not re.match(r"\s*(//|#)", line))
    # The names of the columns: from the macro's empty definition, or from the message that asks for one.
    columns = {name: arguments(names) for name, names in re.findall(r"define (EDGECC_\w+)\(([^)]*)\)", text)}
    rows: dict[str, list[list[str]]] = {}
    for name, row in re.findall(r'(EDGECC_\w+)\(((?:"[^"]*"|[^)"])*)\)', body):
        rows.setdefault(name, []).append(arguments(row))
    for name, lines in rows.items():
        head = columns.get(name) or [str(i + 1) for i in range(len(lines[0]))]
        out += [f"| {' | '.join(head)} |", "|" + " --- |" * len(head), *(f"| {' | '.join(line)} |" for line in lines), ""]
    return "\n".join(out)


if __name__ == "__main__":
    print("\n".join(tables(Path(name)) for name in sys.argv[1:]))
