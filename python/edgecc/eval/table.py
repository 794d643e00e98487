"""Rows of a matrix as a table; columns that no row fills are left out."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Sequence

Row = Mapping[str, Any]


def _at(*keys: str) -> Callable[[Row], Any]:
    def find(row: Row) -> Any:
        value: Any = row
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value
    return find


def _speeds(*keys: str) -> list[tuple[str, Callable[[Row], Any], str]]:
    return [(name + unit, _at(*keys, name + figure), form) for name in ("prefill", "decode")
            for unit, figure, form in ((" t/s", "_tokens_per_second", "{:.0f}"), (" x", "_speedup", "{:.2f}"))]


_COLUMNS: tuple[tuple[str, Callable[[Row], Any], str], ...] = (
    ("MB", _at("file_bytes"), "megabytes"),
    ("cache B/token", _at("state_bytes_per_position"), "{:.0f}"),
    ("NLL", _at("text", "nll"), "{:.4f}"),
    ("change", _at("text", "nll_increase"), "{:+.2%}"),
    ("KL", _at("text", "kl_mean"), "{:.5f}"),
    ("KL 99 %", _at("text", "kl_p99"), "{:.4f}"),
    ("same token", _at("text", "agreement"), "{:.2%}"),
)


def _cell(value: Any, form: str) -> str:
    if value is None or value == 0 and form == "{:.0f}":
        return ""
    return f"{value / 1e6:.2f}" if form == "megabytes" else form.format(value)


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """The header, then a row for each recipe."""
    columns = list(_COLUMNS)
    for name in dict.fromkeys(name for row in rows for name in row.get("accuracy", {})):
        columns.append((name, _at("accuracy", name, "accuracy"), "{:.2%}"))
        columns.append(("of f32's", _at("accuracy", name, "kept"), "{:.1%}"))
        columns.append(("as f32", _at("accuracy", name, "same"), "{:.2%}"))
        columns.append(("layers", _at("accuracy", name, "layers"), "{:.2f}"))
        columns.append(("same on arm64", _at("accuracy", name, "emulated"), "{:.2%}"))
        columns += _speeds("accuracy", name, "speed")
    columns.append(("layers of the text", _at("text", "layers"), "{:.2f}"))
    columns += _speeds("speed")
    table = [[title, *(_cell(find(row), form) for row in rows)] for title, find, form in columns]
    table = [["recipe", *(row["recipe"] for row in rows)], *(column for column in table if any(column[1:]))]
    said = ["", *(row.get("refused", "") for row in rows)]
    if any(said):
        table.append(["refused", *said[1:]])
    return [list(row) for row in zip(*table)]


def text_table(rows: Sequence[Row]) -> str:
    table = cells(rows)
    last = len(table[0]) - (table[0][-1] == "refused")  # a sentence is no number
    widths = [max(map(len, column)) for column in list(zip(*table))[:last]]
    lines = []
    for row in table:
        line = [cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))]
        lines.append("  ".join([*line, *row[last:]]).rstrip())
    return "\n".join(lines)


def markdown(rows: Sequence[Row]) -> str:
    table = cells(rows)
    lines = [table[0], ["---", *["---" if title == "refused" else "---:" for title in table[0][1:]]], *table[1:]]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
