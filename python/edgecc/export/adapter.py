"""LoRA adapters in PEFT's format, merged into the weights at export: W + scale * B A (Hu 2021, section 4.1)."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoint import Checkpoint, ExportError, Quantized, Weight, read_safetensors, rewritten

# Settings of adapter_config.json that make an adapter something else than W + scale * B A.
_REFUSED = ("use_dora", "modules_to_save", "layer_replication", "lora_bias", "target_parameters", "trainable_token_indices",
            "alora_invocation_tokens")
_TENSOR = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.(?P<part>lora_[AB])(?:\.default)?\.weight")


def _settings(directory: Path) -> dict[str, Any]:
    file = directory / "adapter_config.json"
    if not file.is_file():
        raise ExportError(f"--adapter {directory}: no adapter_config.json; give the folder that PEFT saved")
    try:
        settings: dict[str, Any] = json.loads(file.read_text())
    except ValueError as error:
        raise ExportError(f"{file}: no JSON ({error})") from None
    if settings.get("peft_type") != "LORA":
        raise ExportError(f"{file}: peft_type is {settings.get('peft_type')}; only LORA is supported")
    for key in _REFUSED:
        if settings.get(key):
            raise ExportError(f"{file}: {key} is set, which is not supported; merge the adapter with PEFT and export the result")
    if settings.get("bias", "none") != "none":
        raise ExportError(f"{file}: bias is {settings['bias']}; only none is supported")
    return settings


def _of_module(patterns: dict[str, Any] | None, module: str, otherwise: Any) -> Any:
    """The entry of rank_pattern or alpha_pattern for a module: keys are the end of its name, or expressions for it."""
    for key, value in (patterns or {}).items():
        if re.fullmatch(rf"(.*\.)?({key})", module):
            return value
    return otherwise


def _rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """f32 values in a type of the checkpoint; bf16 as u16, to nearest, ties to even."""
    if dtype != "BF16":
        return values.astype(np.float16 if dtype == "F16" else np.float32)
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _merged(base: Weight, a: Weight, b: Weight, scale: float, transposed: bool) -> Weight:
    def make() -> np.ndarray:
        change = np.float32(scale) * (b.read().astype(np.float32) @ a.read().astype(np.float32))
        return _rounded(base.read().astype(np.float32) + (change.T if transposed else change), base.dtype)
    return rewritten(base.name, base.dtype, base.shape, make)


def merge_adapter(checkpoint: Checkpoint, directory: Path) -> None:
    """Adds the adapter in `directory` to the checkpoint's weights. The sums are made when the model is written."""
    settings, file = _settings(directory), directory / "adapter_model.safetensors"
    if not file.is_file():
        raise ExportError(f"--adapter {directory}: no adapter_model.safetensors")
    base_name = settings.get("base_model_name_or_path") or "a model without a name"
    pairs: dict[str, dict[str, Weight]] = {}
    for key, tensor in read_safetensors(file)[0].items():
        match = _TENSOR.fullmatch(key)
        if not match:
            raise ExportError(f"{file}: the tensor {key} is no lora_A or lora_B of a linear layer, which is not supported")
        pairs.setdefault(match["module"], {})[match["part"]] = tensor
    if not pairs:
        raise ExportError(f"{file}: no tensors; the adapter changes nothing")
    transposed = bool(settings.get("fan_in_fan_out"))
    for module, parts in pairs.items():
        if len(parts) != 2:
            raise ExportError(f"{file}: {module} has {next(iter(parts))}, but not the other of lora_A and lora_B")
        # Checkpoints of a bare model leave the first part of the name away.
        name: str | None = next((n for n in (module + ".weight", module.partition(".")[2] + ".weight") if n in checkpoint.weights),
                                None)
        if name is None:
            raise ExportError(
                f"{file}: adapts {module}, but {checkpoint.directory} has no tensor {module}.weight; the adapter is for {base_name}"
            )
        base, a, b = checkpoint.weights[name], parts["lora_A"], parts["lora_B"]
        if isinstance(base, Quantized):
            raise ExportError(
                f"{checkpoint.directory}: {name} is quantized; merge the adapter into the original checkpoint and let edgecc "
                "quantize")
        rank = _of_module(settings.get("rank_pattern"), module, settings.get("r"))
        if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[0] != rank or b.shape[1] != rank:
            raise ExportError(
                f"{file}: {module} has lora_A {list(a.shape)} and lora_B {list(b.shape)}, but adapter_config.json says rank {rank}")
        shape = (b.shape[0], a.shape[1])
        if (shape[::-1] if transposed else shape) != base.shape:
            raise ExportError(f"{file}: adapts {module} as {list(shape)}, but in {checkpoint.directory} it is {list(base.shape)}; "
                              f"the adapter is for {base_name}")
        alpha = _of_module(settings.get("alpha_pattern"), module, settings.get("lora_alpha"))
        if not isinstance(alpha, (int, float)):
            raise ExportError(f"{directory / 'adapter_config.json'}: lora_alpha is missing")
        checkpoint.weights[name] = _merged(base, a, b, alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank),
                                           transposed)
