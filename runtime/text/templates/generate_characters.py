#!/usr/bin/env python3
"""Writes CharacterTables.inc: properties and case mappings of characters as Python has them. Run with the Python of the tests."""

import sys
import unicodedata
from pathlib import Path

FLAGS = ["Alpha", "Decimal", "Digit", "Numeric", "Space", "Printable", "Upper", "Lower", "TitleCase", "Ignorable"]


def ignorable(c: str) -> bool:
    """True if the rule of the final sigma looks past `c`: Python does not say so, but shows it."""
    return ("A" + c + "\u03a3").lower().endswith("\u03c2") and ("\u03a3" + c).lower() == "\u03c3" + c.lower() and not cased(c)


def cased(c: str) -> bool:
    return (c + "\u03a3").lower().endswith("\u03c2")


def flags(point: int) -> int:
    c = chr(point)
    if 0xD800 <= point < 0xE000:
        return 0
    bits = [c.isalpha(), c.isdecimal(), c.isdigit(), c.isnumeric(), c.isspace(), c.isprintable(), c.isupper(), c.islower(),
            unicodedata.category(c) == "Lt", ignorable(c)]
    return sum(bit << i for i, bit in enumerate(bits))


def alternating(a: int, b: int) -> bool:
    """True if two neighbours differ in being upper and lower only."""
    upper, lower = 1 << 6, 1 << 7
    return a & ~(upper | lower) == b & ~(upper | lower) and {a & (upper | lower), b & (upper | lower)} == {upper, lower}


def runs() -> list[tuple[int, int, bool]]:
    """(first code point, flags, whether upper and lower alternate from there)."""
    table = [flags(point) for point in range(0x110000)]
    result, point = [], 0
    while point < len(table):
        end = point + 1
        while end < len(table) and table[end] == table[point]:
            end += 1
        steps = point + 1
        while steps < len(table) and alternating(table[steps - 1], table[steps]):
            steps += 1
        if steps - point > 2 and steps > end:
            result.append((point, table[point], True))
            point = steps
        else:
            result.append((point, table[point], False))
            point = end
    return result


def mappings(convert) -> tuple[list[tuple[int, int, int, int]], list[tuple[int, str]]]:
    """Ranges (first, count, step, difference) of one-to-one mappings, and those to several characters."""
    single, several = [], []
    for point in range(0x110000):
        if 0xD800 <= point < 0xE000:
            continue
        mapped = convert(chr(point))
        if len(mapped) > 1:
            several.append((point, mapped))
        elif mapped != chr(point):
            single.append((point, ord(mapped) - point))
    ranges = []
    for point, difference in single:
        if ranges:
            first, count, step, other = ranges[-1]
            if other == difference and count == 1 and point - first in (1, 2):
                ranges[-1] = (first, 2, point - first, difference)
                continue
            if other == difference and count > 1 and point == first + count * step:
                ranges[-1] = (first, count + 1, step, difference)
                continue
        ranges.append((point, 1, 1, difference))
    return ranges, several


def main() -> None:
    out = [f"// Written by generate_characters.py: Unicode {unicodedata.unidata_version}, as of Python {sys.version.split()[0]}.", ""]
    out.append("// First code point << 11 | upper and lower alternate << 10 | CharacterFlags, up to the next entry.")
    out.append("constexpr uint32_t kRuns[] = {")
    cells = [f"0x{point << 11 | alternates << 10 | bits:08x}," for point, bits, alternates in runs()]
    out += ["    " + " ".join(cells[i:i + 10]) for i in range(0, len(cells), 10)] + ["};", ""]
    title = lambda c: c.title()
    for name, convert in (("Upper", str.upper), ("Lower", str.lower), ("Title", title)):
        ranges, several = mappings(convert)
        if name == "Title":  # only what differs from upper case
            points = [p for p in range(0x110000) if not 0xD800 <= p < 0xE000 and title(chr(p)) != chr(p).upper()]
            ranges = [(p, 1, 1, ord(title(chr(p))) - p) for p in points if len(title(chr(p))) == 1]
            several = [(p, title(chr(p))) for p in points if len(title(chr(p))) > 1]
        out.append(f"constexpr CaseRange k{name}Ranges[] = {{")
        cells = ["{0x%x, %d, %d, %d}," % (first, difference, count, step) for first, count, step, difference in ranges]
        out += ["    " + " ".join(cells[i:i + 6]) for i in range(0, len(cells), 6)] + ["};"]
        out.append(f"constexpr CaseExpansion k{name}Expansions[] = {{")
        cells = ["{0x%x, {%s}}," % (p, ", ".join("0x%x" % ord(c) for c in text)) for p, text in several]
        out += ["    " + " ".join(cells[i:i + 5]) for i in range(0, len(cells), 5)] + ["};", ""]
    Path(__file__).with_name("CharacterTables.inc").write_text("\n".join(out).rstrip() + "\n")


if __name__ == "__main__":
    main()
