"""edgecc-export: ONNX from a Hugging Face checkpoint directory, without PyTorch and without reading the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import decoder, encoder, gpt2
from .checkpoint import Checkpoint, ExportError, find_package_model, open_checkpoint
from .link import write_model
from .random_model import PRESETS, write_random_checkpoint

DECODERS = ("llama", "mistral", "qwen2", "qwen3", "llama2c")
ENCODERS = ("bert", "albert")

__all__ = ["ExportError", "PRESETS", "export", "find_package_model", "write_random_checkpoint"]


def _metadata(config: dict[str, Any]) -> dict[str, str]:
    """What users of the model need and the graph does not say. Several ids are separated by commas."""
    facts = {
        "architecture": config["model_type"],
        "vocabulary_size": config.get("vocab_size"),
        "context_length": config.get("max_position_embeddings") or config.get("n_positions"),
        "sliding_window": config.get("sliding_window") if config["model_type"] == "mistral" else None,
    }
    facts.update({k: config.get(k) for k in ("bos_token_id", "eos_token_id", "pad_token_id")})
    return {k: ",".join(map(str, v)) if isinstance(v, list) else str(v) for k, v in facts.items() if v is not None}


def _refuse_to_overwrite(output: Path, source: Path, classifier: str | Path | None) -> None:
    """An output that is a file of the checkpoint, through links or by another spelling, would destroy it."""
    files = [*source.iterdir()] if source.is_dir() else [source]
    for path in [*files, *([Path(classifier)] if classifier else [])]:
        # What an earlier export wrote into the checkpoint's folder may be written again.
        if path.suffix != ".onnx" and path.is_file() and output.exists() and output.samefile(path):
            raise ExportError(f"-o {output} would overwrite {path}, which is read; give -o another name")


def export(source: str | Path, output: str | Path, *, pooling: str = "none", classifier: str | Path | None = None,
           weights: str = "auto", hidden_act: str | None = None) -> None:
    """Writes `output` from the checkpoint directory `source`. `pooling` mean turns an encoder into a sentence encoder, and with
    `classifier`, an .npz with weight [labels, width] and bias [labels], into one that gives logits. `weights` is auto, link or
    copy (how weights outside the directory of `output` get there, see link.py), `hidden_act` overrides config.json's."""
    output = Path(output)
    _refuse_to_overwrite(output, Path(source), classifier)
    checkpoint: Checkpoint = open_checkpoint(Path(source), output.with_suffix(".safetensors"))
    config = checkpoint.config
    if hidden_act:
        config["hidden_act"] = hidden_act
    if config.get("quantization_config"):
        raise ExportError(f"{source}: the weights are quantized ({config['quantization_config'].get('quant_method', '?')}); "
                          "export the original checkpoint and let edgecc quantize")
    kind = config.get("model_type")
    if pooling != "none" and kind not in ENCODERS:
        raise ExportError(f"--pooling is for encoders ({', '.join(ENCODERS)}); {source} is {kind}")
    if classifier and pooling == "none":
        raise ExportError("--classifier is a linear layer on a sentence's vector; say which with --pooling mean")
    metadata = _metadata(config) if kind else {}
    try:
        if kind in DECODERS:
            graph, model = decoder.build(checkpoint, metadata)
        elif kind in ENCODERS:
            graph, model = encoder.build(checkpoint, metadata, pooling, Path(classifier) if classifier else None)
        elif kind == "gpt2":
            graph, model = gpt2.build(checkpoint, metadata)
        else:
            raise ExportError(f"{source}: model_type {kind} is not known to edgecc-export (known: "
                              f"{', '.join((*DECODERS, *ENCODERS, 'gpt2'))}); export it with torch.onnx.export")
    except KeyError as error:
        raise ExportError(f"{source}: {error} is missing in config.json") from None
    write_model(model, graph.references, output, weights)
