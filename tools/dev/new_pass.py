#!/usr/bin/env python3
"""Starts a pass: its definition, its file and its two tests, with one name in five spellings.

    tools/dev/new_pass.py FoldRepeatedHeads attention "fold repeated key and value heads into grouped attention"

writes the def into passes/Passes.td, passes/attention/FoldRepeatedHeads.cpp, and test/passes/attention/fold-repeated-heads.mlir
and -errors.mlir. What is left: the rewriting, the CHECK lines, and one line in passes/Pipeline.cpp if the pass runs by default.

    tools/dev/new_pass.py --plugin ~/my-pass FoldRepeatedHeads "fold repeated key and value heads into grouped attention"

writes a project of its own instead, which builds a plugin for --load-pass-plugin: CMakeLists.txt, FoldRepeatedHeads.cpp and a test.
"""

import argparse
import re
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PHASES = ("normalize", "attention", "prune", "earlyexit", "quantize", "lower")

DEF = '''
def {name} : Pass<"edge-{flag}", "::mlir::func::FuncOp"> {{
  let summary = "{summary}";
  let description = [{{
    example: test/passes/{phase}/{flag}.mlir
  }}];
}}
'''

SOURCE = '''//===- {name}.cpp - {title} {dashes}===//
//
// Why: {summary}.
//
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"

using namespace mlir;
namespace edgecc {{
#define GEN_PASS_DEF_{upper}
#include "passes/Passes.h.inc"

namespace {{

struct {name} : impl::{name}Base<{name}> {{
  void runOnOperation() override {{
    getOperation().walk([](Operation *op) {{ (void)op; }});
  }}
}};

}} // namespace
}} // namespace edgecc
'''

TEST = '''// RUN: edgecc-opt --edge-{flag} %s | FileCheck %s

// CHECK-LABEL: func.func @unchanged
// CHECK: return
func.func @unchanged(%x: tensor<4xf32>) -> tensor<4xf32> {{
  return %x : tensor<4xf32>
}}
'''

ERRORS = '''// RUN: edgecc-opt --edge-{flag} --split-input-file --verify-diagnostics %s

func.func @nothing_is_wrong(%x: tensor<4xf32>) -> tensor<4xf32> {{
  return %x : tensor<4xf32>
}}
'''

PLUGIN_CMAKE = '''# cmake -B build -DEdgecc_DIR=<edgecc's build folder> && cmake --build build
cmake_minimum_required(VERSION 3.25)
project({flag} CXX)
find_package(Edgecc REQUIRED)
edgecc_pass_plugin({flag} {name}.cpp)
'''

PLUGIN_SOURCE = '''//===- {name}.cpp - {title} {dashes}===//
//
// Why: {summary}.
//
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"
#include "passes/Plugin.h"

using namespace mlir;
using namespace edgecc;

namespace {{

struct {name} : PassWrapper<{name}, OperationPass<func::FuncOp>> {{
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID({name})

  StringRef getArgument() const final {{ return "{flag}"; }}
  StringRef getDescription() const final {{ return "{summary}"; }}

  void runOnOperation() override {{
    getOperation().walk([](Operation *op) {{ (void)op; }});
  }}
}};

}} // namespace

EDGECC_PASS_PLUGIN("{flag}", [] {{ PassRegistration<{name}>(); }})
'''

PLUGIN_TEST = TEST.replace("edgecc-opt --edge-{flag}", "edgecc-opt --load-pass-plugin=build/{flag}.so --{flag}")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    if path.exists():
        sys.exit(f"{shown} exists already")
    path.write_text(text)
    print(f"wrote {shown}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="CamelCase, a verb first")
    parser.add_argument("phase", nargs="?", choices=PHASES, help="its folder under passes/; a plugin has none")
    parser.add_argument("summary", help="one line, in lower case, without a full stop")
    parser.add_argument("--plugin", type=Path, metavar="DIR", help="start a project in this folder, to be loaded at run time")
    a = parser.parse_args()
    if bool(a.plugin) == bool(a.phase):
        parser.error(f"name one of {', '.join(PHASES)}, or --plugin DIR")
    if not re.fullmatch(r"([A-Z][a-z0-9]*)+", a.name):
        sys.exit(f"{a.name} is not a CamelCase name")
    flag = re.sub(r"(?<!^)(?=[A-Z])", "-", a.name).lower()
    title = textwrap.shorten(a.summary, 58 - len(a.name), placeholder="").capitalize()
    fields = dict(name=a.name, phase=a.phase, flag=flag, upper=a.name.upper(), summary=a.summary, title=title,
                  dashes="-" * max(3, 66 - len(a.name) - len(title)))

    if a.plugin:
        for file, text in (("CMakeLists.txt", PLUGIN_CMAKE), (f"{a.name}.cpp", PLUGIN_SOURCE), (f"{flag}.mlir", PLUGIN_TEST)):
            write(a.plugin.resolve() / file, text.format(**fields))
        print(f"cmake -S {a.plugin} -B {a.plugin}/build -DEdgecc_DIR={ROOT}/build && cmake --build {a.plugin}/build")
        return

    td = ROOT / "passes/Passes.td"
    text = td.read_text()
    if f"def {a.name} " in text:
        sys.exit(f"passes/Passes.td defines {a.name} already")
    write(ROOT / f"passes/{a.phase}/{a.name}.cpp", SOURCE.format(**fields))
    write(ROOT / f"test/passes/{a.phase}/{flag}.mlir", TEST.format(**fields))
    write(ROOT / f"test/passes/{a.phase}/{flag}-errors.mlir", ERRORS.format(**fields))
    # Into its phase's part of the list, or at the end of it.
    heading = re.search(rf"^// {a.phase}: .*\n//===-+===//\n", text, re.MULTILINE)
    end = re.compile(r"^(//===-+===//\n// |#endif)", re.MULTILINE).search(text, heading.end() if heading else 0)
    if heading is None:
        end = re.compile(r"^#endif", re.MULTILINE).search(text, text.index("include \"mlir"))
    assert end is not None, "passes/Passes.td has no #endif"
    td.write_text(text[:end.start()].rstrip("\n") + "\n" + DEF.format(**fields) + "\n" + text[end.start():])
    print(f"defined {a.name} in passes/Passes.td: the flag is --edge-{flag}")


if __name__ == "__main__":
    main()
