#!/usr/bin/env python3
"""Random small templates against jinja2, by hand: compare_random.py BUILD_DIR SECONDS [SEED]. Prints what differs."""

import os
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import oracle  # noqa: E402
import small_templates  # noqa: E402

NAMES = list(small_templates.CONTEXT) + ["x", "i", "v"]
FILTERS = ["abs", "capitalize", "count", "d('q')", "default('q', true)", "dictsort", "e", "first", "float", "int", "items|list", "join", "join('-')", "last", "length", "list", "lower", "map('string')|list",
           "map('upper')|join(',')", "max", "min", "replace('a', 'bb')", "reverse|list", "round(1)", "safe", "select|list", "select('string')|list", "reject('none')|list", "sort", "sort(reverse=true)",
           "string", "sum", "title", "tojson", "tojson(indent=1)", "trim", "trim('<>')", "unique|list", "upper", "wordcount", "batch(2)|list", "slice(2)|list", "indent(2)", "center(9)", "truncate(6, true)",
           "map(attribute='name')|list", "selectattr('on')|list", "rejectattr('v', 'gt', 1)|list", "groupby('name')|list", "format(1)", "attr('b')", "forceescape"]
METHODS = ["strip()", "lstrip('H')", "rstrip()", "split()", "split(',')", "split('l', 1)", "rsplit(' ', 1)", "splitlines()", "startswith('H')", "endswith(('d', '>'))", "replace('l', '')", "find('o')", "rfind('l')",
           "count('l')", "upper()", "lower()", "title()", "capitalize()", "isdigit()", "isalpha()", "get('b')", "keys()|list", "values()|list", "items()|list", "index(1)", "join(w)", "partition(',')", "zfill(9)",
           "format(1, 2)", "removeprefix('He')", "swapcase()", "copy()", "center(15, '*')"]
TESTS = ["defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "mapping", "iterable", "sequence", "odd", "even", "divisibleby 2", "in [1, 'a']", "eq 1", "true", "lower", "upper", "sameas none", "not string"]
LITERALS = ["1", "0", "-3", "2.5", "'a'", "'<b>'", "''", "true", "none", "[]", "[1, 'a']", "(1, 2)", "{'b': 2}", "'%s-%s'", "'{} {}'", "range(3)"]


class Random:
    def __init__(self, seed: int):
        self.r = random.Random(seed)

    def expression(self, depth: int = 0) -> str:
        r, inner = self.r, lambda: self.expression(depth + 1)
        if depth > 3 or r.random() < 0.25:
            return r.choice(NAMES) if r.random() < 0.6 else r.choice(LITERALS)
        kind = r.randrange(14)
        if kind < 4:
            return f"{self.atom(depth)}|{r.choice(FILTERS)}"
        if kind == 4:
            return f"{self.atom(depth)}.{r.choice(METHODS)}"
        if kind == 5:
            return f"({inner()} {r.choice(['+', '-', '*', '/', '//', '%', '~', '~', '+'])} {inner()})"
        if kind == 6:
            return f"({inner()} {r.choice(['==', '!=', '<', '<=', '>', '>=', 'in', 'not in', 'and', 'or'])} {inner()})"
        if kind == 7:
            return f"({inner()} is {r.choice(TESTS)})"
        if kind == 8:
            return f"({inner()} if {inner()} else {inner()})"
        if kind == 9:
            return f"{self.atom(depth)}[{r.choice(['0', '-1', '1:', ':-1', '::-1', '::2', '5', repr('b'), repr('name'), '1:3'])}]"
        if kind == 10:
            return f"{self.atom(depth)}.{r.choice(['b', 'name', 'A', 'items', 'x', 'c'])}"
        if kind == 11:
            return f"[{inner()}, {inner()}]"
        if kind == 12:
            return f"{{'k': {inner()}, {r.choice(['1', repr('z'), 'n'])}: {inner()}}}"
        return f"(not {inner()})"

    def atom(self, depth: int) -> str:
        return self.r.choice(NAMES) if self.r.random() < 0.6 else f"({self.expression(depth + 1)})"

    def space(self) -> str:
        return self.r.choice(["", "", " ", "\n", "  \n", "\n  ", "\t", "text", " a\n"])

    def tag(self, body: str) -> str:
        return "{%" + self.r.choice(["", "", "-", "+"]) + f" {body} " + self.r.choice(["", "", "-", "+"]) + "%}"

    def statements(self, depth: int = 0) -> str:
        return "".join(self.space() + self.statement(depth) for _ in range(self.r.randrange(1, 4))) + self.space()

    def statement(self, depth: int) -> str:
        r, body = self.r, lambda: self.statements(depth + 1)
        kind = r.randrange(12) if depth < 3 else r.randrange(4)
        if kind < 3:
            return "{{" + r.choice(["", "-"]) + f" {self.expression()} " + r.choice(["", "-"]) + "}}"
        if kind == 3:
            return self.tag(f"set {r.choice(['i', 'v', 's', 'n'])} = {self.expression()}")
        if kind in (4, 5):
            other = self.tag("else") + body() if r.random() < 0.5 else ""
            return self.tag(f"if {self.expression()}") + body() + other + self.tag("endif")
        if kind in (6, 7):
            condition = f" if {self.expression(2)}" if r.random() < 0.3 else ""
            loop = r.choice(["", "{{ loop.index }}{{ loop.last }}", "{{ loop.revindex }}", "{% if loop.first %}{% continue %}{% endif %}", "{% if i %}{% break %}{% endif %}", "{{ loop.nextitem }}"])
            other = self.tag("else") + body() if r.random() < 0.3 else ""
            return self.tag(f"for i in {self.expression(2)}{condition}") + loop + body() + other + self.tag("endfor")
        if kind == 8:
            name = r.choice(["f", "g"])
            return self.tag(f"macro {name}(v, i={self.expression(3)})") + body() + self.tag("endmacro") + "{{ " + f"{name}({self.expression(2)})" + " }}"
        if kind == 9:
            return self.tag(f"set {r.choice(['v', 's'])}") + body() + self.tag("endset")
        if kind == 10:
            return self.tag(f"filter {r.choice(['upper', 'trim', 'replace(1, 2)', 'tojson'])}") + body() + self.tag("endfilter")
        return self.tag(f"with v = {self.expression(2)}") + body() + self.tag("endwith")


def main() -> None:
    os.environ["TZ"] = "UTC"
    program, seconds, seed = Path(sys.argv[1]) / "bin/template_check", float(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0
    end, count, different, raised, refused = time.monotonic() + seconds, 0, 0, 0, 0
    while time.monotonic() < end:
        sources = [Random(seed + k).statements() if k % 4 == 0 else "{{ " + Random(seed + k).expression(k % 4) + " }}" for k in range(1000)]
        seed += 1000
        for source, got in zip(sources, oracle.actual(program, [(source, small_templates.CONTEXT) for source in sources])):
            want = oracle.expected(source, small_templates.CONTEXT)
            count += 1
            raised += "error" in want
            # Addresses of objects; what is refused on purpose; and slices of constants, which jinja2 folds to an undefined value.
            if " at 0x" in want.get("output", "") or "refused" in got or "by a slice" in got.get("error", ""):
                refused += 1
                continue
            if text := oracle.difference(want, got):
                different += 1
                print(f"--- {seed}\n{source}\n{text}\n    {want}", flush=True)
    print(f"{count} templates: {different} differ, {raised} raise, {refused} left out")


if __name__ == "__main__":
    main()
