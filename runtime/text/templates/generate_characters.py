#!/usr/bin/env python3
"""Writes CharacterTables.inc: properties and case mappings of characters as Python has them. Run with the Python of the tests."""

import sys
import unicodedata
from pathlib import Path

RUN_BLOCK = 64
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


def merged(single: list[tuple[int, int]]) -> list[tuple[int, int, int, int]]:
    """Ranges (first, count, step, difference) of pairs (code point, difference)."""
    ranges = []
    for point, difference in single:
        if ranges:
            first, count, step, other = ranges[-1]
            if other == difference and count == 1 and point - first in (1, 2):
                ranges[-1] = (first, 2, point - first, difference)
                continue
            if other == difference and 1 < count < 64 and point == first + count * step:
                ranges[-1] = (first, count + 1, step, difference)
                continue
        ranges.append((point, 1, 1, difference))
    return ranges


def mappings(convert, usual=lambda c: c) -> tuple[list[tuple[int, int, int, int]], list[tuple[int, str]]]:
    """Ranges of one-to-one mappings that differ from `usual`, and those to several characters."""
    single, several = [], []
    for point in range(0x110000):
        if 0xD800 <= point < 0xE000:
            continue
        mapped = convert(chr(point))
        if mapped == usual(chr(point)):
            continue
        if len(mapped) > 1:
            several.append((point, mapped))
        else:
            single.append((point, ord(mapped) - point))
    return merged(single), several


def folded(several: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Eight neighbours whose mappings differ in the first character only, which grows by one, become one with U+0001 at its end."""
    result, i = [], 0
    while i < len(several):
        point, text = several[i]
        run = [(point + k, chr(ord(text[0]) + k) + text[1:]) for k in range(8)]
        is_run = len(text) == 2 and several[i:i + 8] == run
        result.append((point, text + "\u0001") if is_run else several[i])
        i += 8 if is_run else 1
    return result


def varied(number: int) -> list[int]:
    """Seven bits a byte, the lowest first; the high bit says that more follow."""
    cells = []
    while number >= 0x80:
        cells.append(number & 0x7F | 0x80)
        number >>= 7
    return [*cells, number]


def packed_runs() -> tuple[list[int], list[int], list[int], list[int]]:
    """Kinds of runs, bytes of runs, and for each kRunBlock runs the first code point and the place in the bytes."""
    table = runs()
    kinds = sorted({(bits, alternates) for _, bits, alternates in table})
    assert len(kinds) <= 32
    cells, points, places = [], [], []
    for i, (point, bits, alternates) in enumerate(table):
        if i % RUN_BLOCK == 0:
            points.append(point)
            places.append(len(cells))
        length = (table[i + 1][0] if i + 1 < len(table) else 0x110000) - point
        kind = kinds.index((bits, alternates)) << 3
        cells += [kind | length] if length < 8 else [kind, *varied(length)]
    return [alternates << 10 | bits for bits, alternates in kinds], cells, points, places


def array(type: str, name: str, cells: list[str], each: int) -> list[str]:
    return [f"constexpr {type} {name}[] = {{", *["    " + " ".join(cells[i:i + each]) for i in range(0, len(cells), each)], "};"]


def main() -> None:
    kinds, cells, points, places = packed_runs()
    out = [f"// Written by generate_characters.py: Unicode {unicodedata.unidata_version}, as of Python {sys.version.split()[0]}.", ""]
    out.append("// Kinds of runs: upper and lower alternate << 10 | CharacterFlags.")
    out += array("uint16_t", "kRunKinds", [f"0x{kind:03x}," for kind in kinds], 16)
    out.append("// Runs of code points: kind << 3 | length, or kind << 3 before a length of 7 bits a byte, the lowest first.")
    out += array("uint8_t", "kRuns", [f"{cell}," for cell in cells], 26)
    out.append(f"// First code point and place in kRuns of every {RUN_BLOCK}th run.")
    out += array("uint32_t", "kRunPoints", [f"0x{point:x}," for point in points], 14)
    out += array("uint16_t", "kRunPlaces", [f"{place}," for place in places], 20)
    out.append("")

    tables = {"Upper": mappings(str.upper), "Lower": mappings(str.lower), "Title": mappings(str.title, str.upper)}
    tables["Lower"] = ([(*range, -difference) for *range, difference in tables["Lower"][0]], tables["Lower"][1])
    differences = sorted({difference for ranges, _ in tables.values() for *_, difference in ranges})
    assert len(differences) <= 256
    out.append("// Distances of mapped code points, negative ones for lower case.")
    out += array("int32_t", "kDifferences", [f"{difference}," for difference in differences], 18)
    for name, (ranges, several) in tables.items():
        assert all(count <= 64 and first < 1 << 17 for first, count, _, _ in ranges)
        packed = [first | (step - 1) << 17 | (count - 1) << 18 | differences.index(difference) << 24
                  for first, count, step, difference in ranges]
        out += array("uint32_t", f"k{name}Ranges", [f"0x{cell:08x}," for cell in packed], 10)
        out += array("CaseExpansion", f"k{name}Expansions",
                     ["{0x%x, {%s}}," % (p, ", ".join("0x%x" % ord(c) for c in text)) for p, text in folded(several)], 5)
    Path(__file__).with_name("CharacterTables.inc").write_text("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
