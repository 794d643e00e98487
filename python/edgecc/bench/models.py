"""One random model for every engine: our artifact, GGUF files and ONNX files with the same weights, so that their answers can be compared too."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from ..compiler import compile  # noqa: A004
from ..errors import EdgeccError

HERE = Path(__file__).resolve().parent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, help="where the models go, with a models.json that `compare` reads")
    parser.add_argument("--preset", default="qwen3-0.6b", help="shape, as for edgecc-export --random (qwen3 and llama kinds)")
    parser.add_argument("--vocabulary", type=int, help="another size of vocabulary, e.g. 32000")
    parser.add_argument("--layers", type=int, help="another number of layers")
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--quant", default="w4g32a8,w8a8", help="our artifacts: schemes of edgecc --quant, none, or nbits (the int4 ONNX file)")
    parser.add_argument("--gguf", default="Q4_0,Q4_K_M,Q8_0", help="types of llama.cpp, or none")
    parser.add_argument("--onnx", default="int4,int8", help="MatMulNBits for ONNX Runtime, or none")
    parser.add_argument("--llama-python", default=sys.executable, help="the interpreter that has llama_cpp and gguf")


def has_module(python: str, *names: str) -> bool:
    return subprocess.run([python, "-c", "import " + ", ".join(names)], capture_output=True).returncode == 0


def run(a: argparse.Namespace) -> int:
    from ..export import PRESETS, export, write_random_checkpoint

    a.directory.mkdir(parents=True, exist_ok=True)
    if a.preset not in PRESETS or PRESETS[a.preset]["model_type"] not in ("qwen3", "llama"):
        raise EdgeccError(f"--preset {a.preset}: a qwen3 or llama preset is needed, of {', '.join(PRESETS)}")
    shape = dict(PRESETS[a.preset], context=max(a.context, 512))
    shape.update({k: v for k, v in (("vocabulary", a.vocabulary), ("layers", a.layers)) if v})
    models, skipped = [], []

    def add(engine: str, name: str, path: Path, start: float) -> None:
        size = sum(p.stat().st_size for p in (path, path.with_suffix(".bin")) if p.exists())
        models.append({"engine": engine, "name": name, "path": path.name, "bytes": size})
        print(f"{name}: {size / 1e6:.1f} MB, {time.perf_counter() - start:.1f} s", flush=True)

    def skip(sentence: str) -> None:
        skipped.append(sentence)
        print(f"SKIPPED: {sentence}", file=sys.stderr, flush=True)

    checkpoint = a.directory / "checkpoint"
    write_random_checkpoint(checkpoint, shape, "f16", 0)
    onnx_kinds = [k for k in a.onnx.split(",") if k != "none"]
    if onnx_kinds and not has_module(sys.executable, "onnxruntime"):
        skip(f"ONNX Runtime: {sys.executable} has no onnxruntime (pip install onnxruntime)")
        onnx_kinds = []
    for kind in onnx_kinds:
        from .ort_model import write

        start, path = time.perf_counter(), a.directory / f"onnxruntime-{kind}.onnx"
        write(checkpoint, path, a.context, {"int4": 4, "int8": 8}[kind])
        add("onnxruntime", f"onnxruntime {kind}", path, start)
    exported = a.directory / "model.onnx"
    export(checkpoint, exported)
    for scheme in a.quant.split(","):
        start, path = time.perf_counter(), a.directory / f"edgecc-{scheme}.edge"
        options = {} if scheme in ("none", "nbits") else {"quant": scheme}
        source = a.directory / "onnxruntime-int4.onnx" if scheme == "nbits" else exported
        try:
            compile(source, path, context=a.context, **options)
            add("edgecc", f"edgecc {scheme}", path, start)
        except EdgeccError as error:
            skip(f"edgecc {scheme}: {str(error).splitlines()[0]}")
    gguf_kinds = [k for k in a.gguf.split(",") if k != "none"]
    if gguf_kinds and not has_module(a.llama_python, "llama_cpp", "gguf"):
        skip(f"llama.cpp: {a.llama_python} has no llama_cpp and gguf (pip install llama-cpp-python gguf, or --llama-python)")
        gguf_kinds = []
    if gguf_kinds:
        start, environment = time.perf_counter(), {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
        done = subprocess.run([a.llama_python, HERE / "gguf_model.py", checkpoint, a.directory / "llama", str(a.context), *gguf_kinds],
                              env=environment, capture_output=True, text=True)
        if done.returncode:
            raise EdgeccError(f"gguf_model.py: {done.stderr.strip()[-2000:]}")
        for kind in gguf_kinds:
            add("llama.cpp", f"llama.cpp {kind}", a.directory / f"llama-{kind}.gguf", start)
            # Its default, flash attention, is the faster one for prompts, and the slower one for decoding behind a long context.
            models.append({**models[-1], "name": f"llama.cpp {kind} no-flash", "settings": ["flash_attn_type=0"]})
    (a.directory / "models.json").write_text(json.dumps(
        {"preset": a.preset, "shape": shape, "context": a.context, "llama_python": a.llama_python, "models": models, "skipped": skipped}, indent=1))
    if not any(m["engine"] == "edgecc" for m in models):
        raise EdgeccError("none of our own artifacts could be made")
    return 0
