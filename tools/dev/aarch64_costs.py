#!/usr/bin/env python3
"""What our AArch64 code costs, without an AArch64 machine: instructions per multiply-add counted under qemu, cycles per multiply-add
of the inner loops estimated by llvm-mca, beside what others need for the same product.

    tools/dev/aarch64_costs.py                                  all kinds of weights of the kernel table, two shapes, three variants
    tools/dev/aarch64_costs.py --weights w4g32a8 --variant arm64-dotprod
    tools/dev/aarch64_costs.py --model qwen3-0.6b --quant w4g32a8    instructions per token of a whole model

Needs build/bin (edgecc), build/aarch64/bin (edgecc-bench, preset aarch64-runtime), qemu-user, and the counting plugin's source
(--icount; by default ../shared/tools/icount/icount.c). Counts repeat exactly; cycles are an estimate with all data in the L1 cache.
A layer takes seconds; a whole model takes minutes, or half an hour in floating point, which qemu computes in software.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

LLVM = Path("/usr/lib/llvm-22/bin")
QEMU_CPU = {"arm64-neon": "cortex-a53", "arm64-dotprod": "cortex-a76", "arm64-i8mm": "max"}
CORES = ["cortex-a55", "cortex-a510", "neoverse-n1", "neoverse-v1", "neoverse-n2", "neoverse-v2"]
SHAPES = ["1x4096x4096", "128x1024x3072"]

# Instructions per multiply-add of others, counted with the same plugin: ggml (llama.cpp of September 2026), KleidiAI (its best kernel), ONNX
# Runtime 1.30. KleidiAI quantizes activations with one scale per row, ggml with one per 32.
PEERS = {
    ("w4g32a8", "1x4096x4096", "arm64-dotprod"): {"ggml": 0.268, "KleidiAI": 0.232, "ORT": 0.281},
    ("w4g32a8", "128x1024x3072", "arm64-dotprod"): {"ggml": 0.127, "KleidiAI": 0.115, "ORT": 0.122},
    ("w4g32a8", "1x4096x4096", "arm64-i8mm"): {"ggml": 0.322, "KleidiAI": 0.232, "ORT": 0.300},
    ("w4g32a8", "128x1024x3072", "arm64-i8mm"): {"ggml": 0.104, "KleidiAI": 0.092, "ORT": 0.094},
    ("w8a8", "1x4096x4096", "arm64-dotprod"): {"ggml (groups)": 0.205, "KleidiAI": 0.174, "ORT": 0.234},
    ("w8a8", "128x1024x3072", "arm64-dotprod"): {"ggml (groups)": 0.134, "KleidiAI": 0.088, "ORT": 0.193},
    ("w8a8", "128x1024x3072", "arm64-i8mm"): {"ggml (groups)": 0.128, "KleidiAI": 0.057, "ORT": 0.174},
    ("f32", "1x4096x4096", "arm64-neon"): {"ORT": 0.431},
    ("f32", "128x1024x3072", "arm64-neon"): {"ORT": 0.311},
}
# Cycles per multiply-add of their inner loops, by the same llvm-mca: (n1, v1, n2).
PEER_CYCLES = {
    ("w4g32a8", "1x4096x4096", "arm64-dotprod"): {"ggml": (0.102, 0.052, 0.099), "KleidiAI": (0.102, 0.041, 0.079)},
    ("w4g32a8", "128x1024x3072", "arm64-dotprod"): {"ggml": (0.052, 0.028, 0.052), "KleidiAI": (0.046, 0.025, 0.045)},
    ("w4g32a8", "128x1024x3072", "arm64-i8mm"): {"ggml": (None, 0.022, 0.040), "KleidiAI": (None, 0.0188, 0.034)},
    ("w8a8", "1x4096x4096", "arm64-dotprod"): {"ggml (groups)": (0.110, 0.040, 0.072), "KleidiAI": (0.125, 0.063, 0.188)},
    ("w8a8", "128x1024x3072", "arm64-i8mm"): {"KleidiAI": (None, 0.0078, 0.016)},
}
# Million instructions per token of llama.cpp with Q4_0, Qwen3-0.6B's shape with its vocabulary of 151936; it computes the head for the last
# token of a prompt only. Decoding, per weight: 596 million are read.
PEER_TOKENS = {"arm64-dotprod": {"decode": 168, "prefill": 71}, "arm64-i8mm": {"decode": 201, "prefill": 61}}
PEER_WEIGHTS = 596e6


class Skipped(Exception):
    """Something that is not there; the sentence says what."""


def tool(name: str, *places: Path) -> str:
    for place in places:
        if (place / name).exists():
            return str(place / name)
    raise Skipped(f"{places[0] / name} is not there")


def build_plugin(source: Path, folder: Path) -> Path:
    if not source.exists():
        raise Skipped(f"the counting plugin's source {source} is not there (--icount FILE)")
    library = folder / "libicount.so"
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-w", source, "-o", library], check=True)
    return library


class QemuCounter:
    """Runs our AArch64 edgecc-bench --count under qemu with the plugin."""

    def __init__(self, icount: Path, folder: Path):
        self.folder = folder
        self.bench = tool("edgecc-bench", ROOT / "build/aarch64/bin")
        self.plugin = build_plugin(icount, folder)

    def blocks(self, variant: str, calls: int, *arguments: object) -> Counter:
        """How often each basic block ran, by its instruction words; the key () has the number of all instructions."""
        out = self.folder / "blocks"
        command = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", "-cpu", QEMU_CPU[variant], "-plugin", f"{self.plugin},top=400,out={out}",
                   self.bench, *map(str, arguments), "--count", str(calls)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stderr}")
        found: Counter = Counter()
        places: list[tuple[int, int, list[int]]] = []  # address, runs, words
        for line in out.read_text().splitlines():
            if line.startswith("insns "):
                found[()] = int(line.split()[1])
            elif line.startswith("TB "):
                places.append((int(line.split()[1], 16), int(re.search(r"execs=(\d+)", line)[1]), []))
            else:
                places[-1][2].append(int(line.split()[1], 16))
        # qemu cuts long blocks; what ran as often and begins where another ends is the same one. Some overlap.
        open_at: dict[tuple[int, int], list[int]] = {}
        joined: list[tuple[int, list[int]]] = []
        for address, runs, words in sorted(places):
            block = open_at.pop((address, runs), None)
            if block is None:
                block = []
                joined.append((runs, block))
            block.extend(words)
            open_at[address + 4 * len(words), runs] = block
        for runs, block in joined:
            found[tuple(block)] += runs
        return found

    def per_call(self, variant: str, *arguments: object) -> Counter:
        """The difference of one call and three: start-up cancels."""
        once, thrice = (self.blocks(variant, calls, *arguments) for calls in (1, 3))
        return Counter({block: (thrice[block] - once[block]) / 2 for block in thrice if thrice[block] > once[block]})


def disassemble(words: tuple[int, ...]) -> str:
    text = "\n".join(" ".join(f"0x{byte:02x}" for byte in word.to_bytes(4, "little")) for word in words)
    done = subprocess.run([LLVM / "llvm-mc", "-disassemble", "-triple=aarch64", "-mattr=+all"], input=text, capture_output=True, text=True,
                          check=True)
    return "\n".join(line for line in done.stdout.splitlines() if line.strip() and not line.lstrip().startswith("."))


def cycles(assembly: str, core: str) -> float | None:
    """Of one turn, by llvm-mca, when it runs over and over; None if the core does not have the instructions."""
    turns = 1000
    done = subprocess.run([LLVM / "llvm-mca", "-mtriple=aarch64", f"-mcpu={core}", f"-iterations={turns}", "-instruction-info=false",
                           "-resource-pressure=false"], input=assembly, capture_output=True, text=True)
    found = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
    return int(found[1]) / turns if done.returncode == 0 and found else None


PRODUCTS = {"smmla": 32, "sdot": 16, "smull": 8, "smull2": 8, "smlal": 8, "smlal2": 8, "fmla": 4}


def products(assembly: str) -> int:
    """Multiply-adds of the highest kind of products in a block: floats beside integers are scales."""
    counts = Counter(line.split()[0] for line in assembly.splitlines())
    kinds = [name for name in PRODUCTS if counts[name]]
    integers = [name for name in kinds if name != "fmla"]
    return sum(counts[name] * PRODUCTS[name] for name in (integers or kinds))


def cycles_per_mac(blocks: Counter, macs: float) -> dict[str, float | None]:
    """Of the inner loops, as the others' figures: the blocks with 85 % of the products."""
    seen, chosen = 0.0, []
    for words, runs in sorted(((w, r) for w, r in blocks.items() if w), key=lambda item: -item[1] * len(item[0])):
        text = disassemble(words)
        if found := products(text) * runs:
            chosen.append((text, runs))
            seen += found
        if seen > 0.85 * macs:
            break
    result: dict[str, float | None] = {}
    for core in CORES:
        parts = [(cycles(text, core), runs) for text, runs in chosen]
        result[core] = None if any(c is None for c, _ in parts) else sum(c * runs for c, runs in parts) / seen
    return result


def kernels(a: argparse.Namespace, counter: QemuCounter, folder: Path) -> list[dict]:
    from edgecc.bench.layers import build, recipes_of_table
    from edgecc.errors import EdgeccError

    rows = []
    print(f"{'weights':9} {'shape':14} {'variant':14} {'instr/MAC':>9}  " + " ".join(f"{c.removeprefix('neoverse-'):>11}" for c in CORES) +
          "   others: instr/MAC (cycles n1 v1 n2)", flush=True)
    for kind in a.weights.split(",") if a.weights else recipes_of_table(ROOT / "passes/kernels/kernels.def"):
        for shape in a.shape or SHAPES:
            m, k, n = map(int, shape.split("x"))
            # Decoding is compiled for one row, a prompt for any number.
            fixed = m if m == 1 else None
            for variant in a.variant.split(","):
                try:
                    artifact = build(folder, k, n, kind, count=1, rows=fixed,
                                     target="linux-arm64", variant=variant)
                except EdgeccError as error:
                    print(f"SKIPPED: {kind} {shape} {variant}: {str(error).splitlines()[0]}", file=sys.stderr, flush=True)
                    continue
                blocks = counter.per_call(variant, artifact, *(() if fixed else ("--dim", f"rows={m}")))
                macs = m * k * n
                row = {"weights": kind, "shape": shape, "variant": variant, "instructions_per_mac": blocks[()] / macs,
                       "cycles_per_mac": cycles_per_mac(blocks, macs), "others": PEERS.get((kind, shape, variant), {}),
                       "others_cycles": PEER_CYCLES.get((kind, shape, variant), {})}
                rows.append(row)
                others = []
                for name, value in row["others"].items():
                    known = row["others_cycles"].get(name)
                    others.append(f"{name} {value}" + (f" ({' '.join('-' if c is None else str(c) for c in known)})" if known else ""))
                print(f"{kind:9} {shape:14} {variant:14} {row['instructions_per_mac']:>9.4f}  " +
                      " ".join(f"{'-' if c is None else format(c, '.4f'):>11}" for c in row["cycles_per_mac"].values()) + "   " +
                      ", ".join(others), flush=True)
    return rows


def whole_model(a: argparse.Namespace, counter: QemuCounter, folder: Path) -> list[dict]:
    from edgecc.compiler import compile  # noqa: A004
    from edgecc.export import PRESETS, export, write_random_checkpoint

    shape = dict(PRESETS[a.model], vocabulary=a.vocabulary, context=512)
    write_random_checkpoint(folder / "checkpoint", shape, "f16", 0)
    export(folder / "checkpoint", folder / "model.onnx")
    h, f, d = shape["hidden"], shape["ffn"], shape.get("head_dim") or shape["hidden"] // shape["heads"]
    q, kv = shape["heads"] * d, shape["kv_heads"] * d
    weights = shape["layers"] * (2 * h * q + 2 * h * kv + 3 * h * f) + shape["vocabulary"] * h
    rows = []
    print(f"{weights / 1e6:.0f} million weights in products\n{'variant':14} {'what':14} {'million instructions per token':>31} {'per weight':>11}"
          "   llama.cpp Q4_0, vocabulary 151936: million, per weight", flush=True)
    for variant in a.variant.split(","):
        compile(folder / "model.onnx", folder / "model.edge", target="linux-arm64", variant=variant,
                context=512, **({"quant": a.quant} if a.quant else {}))
        for what, size, tokens in (("decode", a.decode, 1), ("prefill", a.prefill, a.prefill)):
            once, twice = (counter.blocks(variant, calls, folder / "model.edge", f"--{what}", size)[()] for calls in (1, 2))
            row = {"model": a.model, "vocabulary": a.vocabulary, "quant": a.quant, "variant": variant, "what": what, "size": size,
                   "instructions_per_token": (twice - once) / tokens, "weights": weights,
                   "other_million": PEER_TOKENS.get(variant, {}).get(what)}
            rows.append(row)
            other = row["other_million"]
            per_weight = f", {other * 1e6 / PEER_WEIGHTS:.3f}" if other and what == "decode" else ""
            print(f"{variant:14} {what + ' ' + str(size):14} {row['instructions_per_token'] / 1e6:>31.1f} "
                  f"{row['instructions_per_token'] / weights:>11.3f}   {other or ''}{per_weight}", flush=True)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", metavar="KIND,...", help="kinds of weights, as for python3 -m edgecc.bench micro")
    parser.add_argument("--shape", action="append", metavar="MxKxN", help=f"may be repeated (default: {', '.join(SHAPES)})")
    parser.add_argument("--variant", default=",".join(QEMU_CPU), metavar="NAME,...")
    parser.add_argument("--model", metavar="PRESET", help="count a whole model instead, e.g. qwen3-0.6b")
    parser.add_argument("--quant", help="with --model: as for edgecc --quant")
    parser.add_argument("--vocabulary", type=int, default=32000, help="with --model")
    parser.add_argument("--decode", type=int, default=16, help="with --model: the context")
    parser.add_argument("--prefill", type=int, default=32, help="with --model: the prompt")
    parser.add_argument("--icount", type=Path, default=ROOT.parent / "shared/tools/icount/icount.c")
    parser.add_argument("--json", type=Path)
    a = parser.parse_args()
    for variant in a.variant.split(","):
        if variant not in QEMU_CPU:
            parser.error(f"--variant {variant}: there are {', '.join(QEMU_CPU)}")
    with tempfile.TemporaryDirectory() as name:
        try:
            counter = QemuCounter(a.icount, Path(name))
        except Skipped as reason:
            print(f"SKIPPED: {reason}", file=sys.stderr)
            return 77
        rows = whole_model(a, counter, Path(name)) if a.model else kernels(a, counter, Path(name))
    if a.json:
        a.json.write_text(json.dumps({"format": "aarch64 costs 1", "results": rows}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
