"""edgecc-export: ONNX from a Hugging Face checkpoint directory or a GGUF file, without PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

from . import decoder, encoder, gpt2
from .adapter import merge_adapter
from .checkpoint import Checkpoint, Config, ExportError, find_package_model, open_checkpoint
from .gguf_file import open_gguf
from .link import write_model
from .quantized import read_quantized
from .random_model import PRESETS, write_random_checkpoint

DECODERS = tuple(decoder.FAMILIES)
ENCODERS = tuple(encoder.FAMILIES)
# Old checkpoints carry settings of all kinds.
_LENIENT = ("bert", "albert", "gpt2", "llama2c")

__all__ = ["ExportError", "PRESETS", "export", "find_package_model", "write_random_checkpoint"]


def _context_length(config: dict[str, Any]) -> int | None:
    longest: int | None = config.get("max_position_embeddings") or config.get("n_positions")
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if longest and config["model_type"] in ENCODERS:
        return longest - encoder.first_position(config)
    if "short_factor" not in rope or config.get("long_context"):
        return longest
    # LongRoPE's first table is for contexts up to the original one.
    return config.get("original_max_position_embeddings") or rope.get("original_max_position_embeddings") or longest


def _metadata(config: dict[str, Any]) -> dict[str, str]:
    """What users of the model need and the graph does not say. Several ids are separated by commas."""
    facts = {
        "architecture": config["model_type"],
        "vocabulary_size": config.get("vocab_size"),
        "context_length": _context_length(config),
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
           weights: str = "auto", hidden_act: str | None = None, long_context: bool = False,
           ignore_config: Sequence[str] = (), adapter: str | Path | None = None) -> None:
    """Writes `output` from `source`, a checkpoint directory or a GGUF file. `pooling` mean turns an encoder into a sentence
    encoder, and with `classifier`, an .npz with weight [labels, width] and bias [labels], into one that gives logits. `weights` is
    auto, link or copy (how weights outside the directory of `output` get there, see link.py), `hidden_act` overrides config.json's.
    `long_context` takes LongRoPE's table for contexts beyond the original one. `ignore_config` names settings of config.json that
    are unknown and do not matter. `adapter` is a directory with a LoRA adapter of PEFT, which is merged."""
    source, output = Path(source), Path(output)
    _refuse_to_overwrite(output, source, classifier)
    checkpoint = _open(source, output)
    if adapter:
        merge_adapter(checkpoint, Path(adapter))
    config = checkpoint.config
    if hidden_act:
        config["hidden_act"] = hidden_act
    if long_context:
        config["long_context"] = True
    kind = config.get("model_type")
    if pooling != "none" and kind not in ENCODERS:
        raise ExportError(f"--pooling is for encoders ({', '.join(ENCODERS)}); {source} is {kind}")
    if classifier and pooling == "none":
        raise ExportError("--classifier is a linear layer on a sentence's vector; say which with --pooling mean")
    metadata = {**(_metadata(config) if kind else {}), "edgecc.text_source": str(source.resolve())}
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
    unknown = [key for key in config.unused() if key not in ignore_config]
    if unknown and kind not in _LENIENT:
        raise ExportError(f"{source}: config.json sets {', '.join(unknown)}, which edgecc-export does not know for {kind}; say "
                          f"--ignore-config {unknown[0]} for each that does not change what the model computes")
    write_model(model, graph.references, output, weights)


def _open(source: Path, output: Path) -> Checkpoint:
    if source.suffix == ".gguf" and source.is_file():
        return open_gguf(source)
    checkpoint = open_checkpoint(source, output.with_suffix(".safetensors"))
    checkpoint.config = Config(encoder.encoder_config(decoder.text_config(checkpoint.config)))
    quantization = checkpoint.config.get("quantization_config") or checkpoint.config.get("compression_config")
    return read_quantized(checkpoint, quantization) if quantization else checkpoint
