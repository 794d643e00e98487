"""What the parts of a recipe's name mean to edgecc: the one table of them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from ..errors import EdgeccError

# {half_kv_heads} is half of what the model has. A part whose options edgecc does not know yet is refused by it, in the table's row.
PARTS: dict[str, tuple[str, ...]] = {
    "f32": (),
    "8-bit": ("--quant=w8a8",),
    "4-bit": ("--quant=w4g32a8",),
    "4-bit-weights": ("--quant=w4g128",),
    "gptq": ("--quant-algorithm=gptq",),
    "awq": ("--quant-algorithm=awq",),
    # What loses least in 4 bits (passes/quantize/README.md): the head, and with it a tied table, has 8.
    "best": ("--quant-algorithm=awq,gptq", "--calibrate-samples=512", "--quant-layer={*lm_head*,*embed*,*wte*,*tok*}=w8a8"),
    "gqa": ("--kv-heads={half_kv_heads}",),
    # Mean pooling of neighbours (Ainslie 2023), for comparison.
    "gqa-mean": ("--kv-heads={half_kv_heads}", "--kv-merge=mean"),
    "prune": ("--prune=ffn=0.2",),
    "exit": ("--exit-layers=auto", "--exit-agreement=0.99"),
    "kv8": ("--kv=int8",),
}
# Those that look at what flows through the model.
CALIBRATED = {"gptq", "awq", "best", "gqa", "gqa-mean", "prune", "exit"}

DEFAULT = ("f32", "8-bit", "4-bit", "exit", "gqa", "4-bit+exit", "4-bit+gqa", "8-bit+exit", "4-bit+exit+gqa")


@dataclass(frozen=True)
class Recipe:
    name: str
    options: tuple[str, ...]
    calibrated: bool  # whether --calibrate belongs to it


def parse(text: str) -> Recipe:
    """`4-bit+gqa`: parts of the table; `name=options of edgecc`: any others, calibrated if they say so themselves."""
    name, free, options = text.partition("=")
    if free:
        if not name or not options:
            raise EdgeccError(f"recipe '{text}': write name=options, as in 'tail=--quant=w4g32a8 --quant-layer lm_head*=w8a8'")
        return Recipe(name, tuple(shlex.split(options)), True)
    parts = name.split("+")
    unknown = [p for p in parts if p not in PARTS]
    if unknown:
        raise EdgeccError(f"recipe '{text}': there is no part '{unknown[0]}'; parts are {', '.join(PARTS)}, and name=options is any other")
    return Recipe(name, tuple(o for p in parts for o in PARTS[p]), any(p in CALIBRATED for p in parts))


def half_kv_heads(model: Path) -> int | None:
    """From the caches [batch, heads, past, width] of the graph; None if it has none, or an odd number of them."""
    import onnx

    for tensor in onnx.load(model, load_external_data=False).graph.input:
        if tensor.name.startswith("past_key_values") and len(tensor.type.tensor_type.shape.dim) == 4:
            heads = tensor.type.tensor_type.shape.dim[1].dim_value
            return heads // 2 if heads > 1 else None
    return None


def options_for(recipe: Recipe, model: Path) -> list[str]:
    """The recipe's options for this model; an EdgeccError where it has no meaning."""
    if not any("{half_kv_heads}" in o for o in recipe.options):
        return list(recipe.options)
    half = half_kv_heads(model)
    if half is None:
        raise EdgeccError("the model has no caches of two and more heads to halve")
    return [o.replace("{half_kv_heads}", str(half)) for o in recipe.options]
