"""The command edgecc-export."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from . import PRESETS, ExportError, export, find_package_model, write_random_checkpoint


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="edgecc-export", description=(
        "Write ONNX from a Hugging Face checkpoint directory (config.json and safetensors), a llama2.c-family one, or a GGUF file, "
        "in seconds and without PyTorch. Weights that need no change stay in their files and are referenced by offset."))
    p.add_argument("source", nargs="?", type=Path, metavar="SOURCE", help="checkpoint directory, or GGUF file")
    p.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL.onnx")
    p.add_argument("--package", metavar="NAME", help="the checkpoint that the installed Python package NAME carries")
    p.add_argument("--pooling", choices=("none", "mean"), default="none",
                   help="mean: one vector of length 1 per text, named sentence_embedding")
    p.add_argument("--classifier", type=Path, metavar="FILE.npz",
                   help="with --pooling: logits of a linear classifier of the vector, weight [labels, width] and bias [labels]")
    p.add_argument("--weights", choices=("auto", "link", "copy"), default="auto",
                   help="how weights from outside get into the output's directory: hard links, copies, or what suits the size")
    p.add_argument("--activation", metavar="NAME", help="override hidden_act of config.json")
    p.add_argument("--adapter", type=Path, metavar="DIR", help="merge a LoRA adapter that PEFT saved")
    p.add_argument("--long-context", action="store_true",
                   help="LongRoPE (Phi-3): the table for contexts beyond the original one (default: up to it)")
    p.add_argument("--ignore-config", action="append", default=[], metavar="KEY",
                   help="a setting of config.json that is unknown here and does not change what the model computes; repeatable")
    r = p.add_argument_group("random weights", "write MODEL.safetensors and config.json into the output's directory, then export")
    r.add_argument("--random", metavar="PRESET", choices=sorted(PRESETS), help=f"one of {', '.join(PRESETS)}")
    r.add_argument("--sparse", action="store_true", help="matrices of zeros that take no disk (default: random, --seed)")
    r.add_argument("--seed", type=int, default=0)
    r.add_argument("--dtype", choices=("f32", "f16", "bf16"), default="f32")
    for option in ("hidden", "ffn", "layers", "heads", "kv-heads", "head-dim", "vocabulary", "context", "window"):
        r.add_argument(f"--{option}", type=int, metavar="N")
    r.add_argument("--theta", type=float, metavar="X", help="base of the rotary embedding")
    r.add_argument("--untied", action="store_true", help="a head of its own")
    return p


def _random(a: argparse.Namespace) -> Path:
    shape = dict(PRESETS[a.random])
    for key in ("hidden", "ffn", "layers", "heads", "kv_heads", "head_dim", "vocabulary", "context", "window", "theta"):
        if getattr(a, key) is not None:
            shape[key] = getattr(a, key)
    if a.untied:
        shape["tied"] = False
    directory = a.output.parent / (a.output.stem + ".checkpoint")
    write_random_checkpoint(directory, shape, a.dtype, None if a.sparse else a.seed)
    return directory


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    a = parser.parse_args(arguments)
    if sum(x is not None for x in (a.source, a.package, a.random)) != 1:
        parser.error("give one of: a checkpoint directory or GGUF file, --package NAME, --random PRESET")
    try:
        source = a.source or (find_package_model(a.package) if a.package else _random(a))
        export(source, a.output, pooling=a.pooling, classifier=a.classifier, weights=a.weights, hidden_act=a.activation,
               long_context=a.long_context, ignore_config=a.ignore_config, adapter=a.adapter)
    except (ExportError, OSError, shutil.Error) as error:
        print(f"edgecc-export: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
