#!/usr/bin/env python3
"""Who may include whom: the table of the design, as a test. Prints what breaks it; exits 1 if anything does."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What the headers of the outside world begin with, by the name the rules use.
WORLD = {
    "mlir": r"mlir/|llvm/|llvm-c/|mlir-c/|lld/",
    "flatbuffers": r"flatbuffers/",
    "protobuf": r"onnx/|google/protobuf/",
    "json": r"nlohmann/",
    "cli": r"CLI/",
    "eigen": r"Eigen/",
    "icu": r"unicode/",
    "gtest": r"gtest/|gmock/",
}
# Folder: the folders of ours, beside itself, and the libraries it may include. The longest folder that fits counts.
RULES = {
    "runtime": "flatbuffers",
    "runtime/text": "runtime json",
    "runtime/text/unicode": "runtime/text/Buffer.h",
    "runtime/text/tokenizer": "runtime/text/Buffer.h runtime/text/format.h runtime/text/unicode",
    "runtime/text/templates": "runtime/text/Buffer.h runtime/text/format.h runtime/text/unicode/Utf8.h",
    "runtime/text/chat": "runtime/include/edgecc runtime/text",
    "runtime/arrays": "runtime",
    "dialects": "mlir",
    "passes": "dialects mlir eigen runtime/include/edgecc/abi.h",
    "compiler": "passes dialects runtime mlir flatbuffers json",
    "compiler/text": "runtime/text json icu",
    "compiler/frontend/OnnxReader.cpp": "compiler mlir protobuf",
    "tools/edgecc": "compiler passes dialects runtime mlir json cli",
    "tools/edgecc-diff": "tools/edgecc compiler passes dialects runtime mlir json",
    "tools/edgecc-opt": "passes dialects mlir",
    "tools/text": "runtime compiler/text",
    "tools/edgecc-run": "runtime tools/text json cli",
    "tools/edgecc-tokenize": "runtime compiler/text cli",
    "tools/edgecc-dump": "runtime flatbuffers json cli",
    "tools/edgecc-bench": "runtime json cli",
    "tools/edgecc-eval": "runtime tools/text json cli",
}


def violations(file: str) -> list[str]:
    """One line for each include of `file` that its folder may not have."""
    folder = max((rule for rule in RULES if file == rule or file.startswith(rule + "/")), key=len, default=None)
    if folder is None:  # tests may include everything
        return []
    allowed, found = [folder, *RULES[folder].split()], []
    text = (ROOT / file).read_text(errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s+[<"]([^>"]+)[>"]', line)
        if not match:
            continue
        header = re.sub(r"^edgecc/", "runtime/include/edgecc/", match[1])
        library = next((name for name, start in WORLD.items() if re.match(start, header)), None)
        ours = header.split("/")[0] in ("runtime", "dialects", "passes", "compiler", "tools", "test")
        fits = library in allowed if library else not ours or any(
            header == one or header.startswith(one + "/") for one in allowed)
        if not fits:
            found.append(f"{file}:{number}: {folder} may not include {match[1]}; it may: {RULES[folder]}")
    return found


if __name__ == "__main__":
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.cpp", "*.h", "*.c"], cwd=ROOT, text=True,
                            capture_output=True, check=True).stdout.split()
    lines = [line for file in sorted(set(listed)) if (ROOT / file).exists() for line in violations(file)]
    print("\n".join(lines) or f"layering: {len(listed)} files keep to it")
    sys.exit(bool(lines))
