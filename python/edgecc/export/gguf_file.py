"""A GGUF file as a checkpoint under Hugging Face's names.

Q4_0 and Q8_0 keep their codes and scales; only the order of nibbles changes, and of the rows of q and k where llama.cpp rotates
neighbours. Other quantized types become f16. The model computes in f32.
"""

from __future__ import annotations

import collections
import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import numpy as np

from .checkpoint import Checkpoint, ExportError, Quantized, Weight, note, rewritten

_BLOCK = 32  # weights that share a scale, in Q4_0 and Q8_0
_FLOATS = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}

# llama.cpp's architecture -> model_type of config.json
_ARCHITECTURES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma2": "gemma2", "gemma3": "gemma3_text", "phi3": "phi3",
                  "smollm3": "smollm3", "olmo2": "olmo2", "granite": "granite", "lfm2": "lfm2"}
# The converters of these reorder the rows of q and k, so that the pairs of a rotary embedding are neighbours.
_NEIGHBOURS = {"llama", "granite", "smollm3"}
# These store the weights of norms with their offset.
_OFFSET_NORMS = {"gemma2", "gemma3"}
_GLOBAL = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_LAYER = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
          "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_qkv": "self_attn.qkv_proj",
          "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
          "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
          "post_attention_norm": "post_attention_layernorm", "post_ffw_norm": "post_feedforward_layernorm"}
_LFM2 = {
    "attn_norm": "operator_norm", "ffn_norm": "ffn_norm", "attn_output": "self_attn.out_proj",
    "attn_q_norm": "self_attn.q_layernorm", "attn_k_norm": "self_attn.k_layernorm", "ffn_gate": "feed_forward.w1",
    "ffn_up": "feed_forward.w3", "ffn_down": "feed_forward.w2", "shortconv.conv": "conv.conv", "shortconv.in_proj": "conv.in_proj",
    "shortconv.out_proj": "conv.out_proj"
}
_ROPE_TABLES = ("rope_freqs", "rope_factors_long", "rope_factors_short")


@dataclass(frozen=True)
class _Tensor:
    name: str
    kind: str
    shape: tuple[int, ...]  # rows first
    offset: int
    length: int
    file: Path

    def bytes(self) -> np.ndarray:
        """The bytes, in rows."""
        return np.memmap(self.file, np.uint8, "r", self.offset, (self.length,)).reshape(*self.shape[:-1], -1)

    def values(self) -> np.ndarray:
        """Values of a type that is not quantized; bf16 as u16."""
        return self.bytes().reshape(-1).view(_FLOATS[self.kind]).reshape(self.shape)


def _library(why: str) -> Any:
    try:
        import gguf
    except ImportError:
        raise ExportError(f"{why} needs the Python package gguf; install it: pip install gguf==0.19.0") from None
    return gguf


class _Reader:
    """The header of a GGUF file: numbers are little-endian, strings and arrays begin with their length. Of arrays of strings only
    the length is kept: a vocabulary is the compiler's business."""

    _SCALARS = dict(enumerate("BbHhIif?", 0)) | {10: "Q", 11: "q", 12: "d"}
    _STRING, _ARRAY = 8, 9

    def __init__(self, file: Path):
        self.file = file
        self.fields: dict[str, Any] = {}
        self.tensors: dict[str, _Tensor] = {}
        self.size = file.stat().st_size
        with open(file, "rb") as stream:
            if stream.read(4) != b"GGUF":
                raise ExportError(f"{file}: not a GGUF file: it does not start with the letters GGUF")
            stream.seek(0)
            self.data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self.position = 4
        try:
            self._read_header()
        except (struct.error, OverflowError, UnicodeDecodeError):
            raise self._damaged("the header ends early") from None

    def _damaged(self, how: str) -> ExportError:
        return ExportError(f"{self.file}: cut short or damaged: {how}; fetch it again")

    def _number(self, code: str) -> Any:
        value, = struct.unpack_from("<" + code, self.data, self.position)
        self.position += struct.calcsize("<" + code)
        return value

    def _string(self) -> str:
        length = self._number("Q")
        if length > self.size - self.position:
            raise self._damaged(f"a string of {length} bytes at {self.position} of {self.size}")
        self.position += length
        return self.data[self.position - length:self.position].decode()

    def _value(self, kind: int) -> Any:
        if kind == self._STRING:
            return self._string()
        if kind in self._SCALARS:
            return self._number(self._SCALARS[kind])
        if kind != self._ARRAY:
            raise self._damaged(f"a value of the unknown type {kind} at {self.position}")
        inner, count = self._number("I"), self._number("Q")
        if count > self.size - self.position:
            raise self._damaged(f"an array of {count} elements at {self.position} of {self.size}")
        if inner == self._ARRAY:
            raise self._damaged(f"an array of arrays at {self.position}")
        if inner != self._STRING:
            return [self._value(inner) for _ in range(count)]
        for _ in range(count):
            length, = struct.unpack_from("<Q", self.data, self.position)
            self.position += 8 + length
        return count

    def _read_header(self) -> None:
        version = self._number("I")
        if version not in (2, 3):
            raise ExportError(f"{self.file}: version {version} of GGUF is not supported (2 and 3 are); convert the model anew")
        tensors, fields = self._number("Q"), self._number("Q")
        for _ in range(fields):
            name = self._string()
            self.fields[name] = self._value(self._number("I"))
        described = []
        for _ in range(tensors):
            name, rank = self._string(), self._number("I")
            if rank > 4:
                raise self._damaged(f"the tensor {name} has {rank} dimensions")
            shape = tuple(self._number("Q") for _ in range(rank))[::-1]
            described.append((name, shape, self._number("I"), self._number("Q")))
        alignment = self.fields.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise self._damaged(f"an alignment of {alignment}")
        begin = -(-self.position // alignment) * alignment
        for name, shape, number, offset in described:
            kind, block, block_bytes = self._type(name, number)
            count = math.prod(shape)
            length = count // block * block_bytes
            if not shape or shape[-1] % block or begin + offset + length > self.size:
                raise self._damaged(f"the tensor {name} {list(shape)} of {length} bytes at {begin + offset} of {self.size}")
            self.tensors[name] = _Tensor(name, kind, shape, begin + offset, length, self.file)

    def _type(self, tensor: str, number: int) -> tuple[str, int, int]:
        """Name, weights and bytes of a block of a type."""
        known = {0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", _BLOCK, 18), 8: ("Q8_0", _BLOCK, 34), 30: ("BF16", 1, 2)}
        if number in known:
            return known[number]
        gguf = _library(f"{self.file}: dequantizing the tensor {tensor} (type number {number})")
        try:
            kind = gguf.GGMLQuantizationType(number)
            if kind in gguf.quants._type_traits:
                return kind.name, *gguf.GGML_QUANT_SIZES[kind]
        except ValueError:
            kind = None
        raise ExportError(
            f"{self.file}: the tensor {tensor} has the type {kind.name if kind else f'number {number}'}, which the package "
            "gguf cannot dequantize; take a file of F16, Q8_0, Q4_0 or another common type")


class _Fields:
    """The metadata of the file. Keys that start with `%s` are the architecture's."""

    def __init__(self, file: Path, values: dict[str, Any]):
        self.file, self.values = file, values
        self.architecture = str(values.get("general.architecture", ""))

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key.replace("%s", self.architecture), default)

    def need(self, key: str) -> Any:
        value = self.get(key)
        if value is None:
            raise ExportError(f"{self.file}: the key {key.replace('%s', self.architecture)} is missing; convert the model anew")
        return value

    def one(self, key: str, default: Any = None) -> Any:
        """A number that may be stored for each layer; different ones are refused."""
        value = self.get(key, default)
        if isinstance(value, list):
            if len(set(value)) != 1:
                raise ExportError(
                    f"{self.file}: {key.replace('%s', self.architecture)} differs between layers, which is not supported")
            value = value[0]
        return value


def _rope(fields: _Fields, tables: dict[str, np.ndarray]) -> dict[str, Any]:
    """rope_parameters, from the keys and tables of the file."""
    rope: dict[str, Any] = {"rope_theta": float(fields.get("%s.rope.freq_base", 10000.0))}
    kind = fields.get("%s.rope.scaling.type", "none")
    factor = fields.get("%s.rope.scaling.factor") or fields.get("%s.rope.scale_linear")
    original = fields.get("%s.rope.scaling.original_context_length")
    if "rope_factors_long" in tables and "rope_factors_short" in tables:
        rope |= {"rope_type": "longrope", "long_factor": tables["rope_factors_long"].tolist(),
                 "short_factor": tables["rope_factors_short"].tolist(), "original_max_position_embeddings": original,
                 "attention_factor": fields.get("%s.rope.scaling.attn_factor")}
    elif "rope_freqs" in tables:
        if kind not in ("none", "linear", "llama3") or (kind == "linear" and factor not in (None, 1.0)):
            raise ExportError(f"{fields.file}: rope_freqs together with the scaling type {kind} is not supported")
        rope |= {"rope_type": "divided", "divisors": tables["rope_freqs"]}
    elif kind == "yarn":
        rope |= {
            "rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original,
            "beta_fast": fields.get("%s.rope.scaling.yarn_beta_fast"), "beta_slow": fields.get("%s.rope.scaling.yarn_beta_slow"),
            "attention_factor": fields.get("%s.rope.scaling.attn_factor")
        }
    elif kind == "linear" or (kind == "none" and factor):
        rope |= {"rope_type": "linear", "factor": factor or 1.0}
    elif kind != "none":
        raise ExportError(f"{fields.file}: the rotary scaling type {kind} is not supported; known are none, linear, yarn")
    return {k: v for k, v in rope.items() if v is not None}


def _config(fields: _Fields, kind: str, vocabulary: int, tied: bool, tables: dict[str, np.ndarray]) -> dict[str, Any]:
    """The settings of config.json, as far as this architecture has them."""
    hidden, heads, layers = (fields.need(f"%s.{k}") for k in ("embedding_length", "attention.head_count", "block_count"))
    heads = fields.one("%s.attention.head_count")
    if fields.get("%s.expert_count"):
        raise ExportError(f"{fields.file}: a mixture of experts, which is not supported")
    head_dim = fields.get("%s.attention.key_length") or hidden // heads
    if (fields.get("%s.attention.value_length") or head_dim) != head_dim:
        raise ExportError(f"{fields.file}: heads of keys and of values differ in size, which is not supported")
    rotary = fields.get("%s.rope.dimension_count") or head_dim
    if rotary != head_dim and fields.architecture in _NEIGHBOURS:
        raise ExportError(
            f"{fields.file}: {fields.architecture} with {rotary} of {head_dim} numbers of a head rotated is not supported")
    by_layer = fields.get("%s.attention.head_count_kv")
    if kind == "lfm2" and isinstance(by_layer, list):  # layers without heads are convolutions
        kv_heads = max(by_layer, default=0)
        if set(by_layer) - {0, kv_heads}:
            raise ExportError(
                f"{fields.file}: lfm2.attention.head_count_kv differs between layers of attention, which is not supported")
    else:
        kv_heads = fields.one("%s.attention.head_count_kv", heads)
    config = {
        "model_type": kind,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "head_dim": head_dim,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocabulary,
        "intermediate_size": fields.one("%s.feed_forward_length") or fields.need("%s.feed_forward_length"),
        "max_position_embeddings": fields.get("%s.context_length"),
        "tie_word_embeddings": tied,
        "rms_norm_eps": fields.need("%s.attention.layer_norm_rms_epsilon"),
        "partial_rotary_factor": rotary / head_dim,
        "bos_token_id": fields.get("tokenizer.ggml.bos_token_id"),
        "pad_token_id": fields.get("tokenizer.ggml.padding_token_id"),
        "eos_token_id": list(
            dict.fromkeys(t for t in (fields.get(f"tokenizer.ggml.{name}_token_id")
                                      for name in ("eos", "eot", "eom")) if t is not None)) or None,
    }
    rope, window = _rope(fields, tables), fields.get("%s.attention.sliding_window")
    if kind == "gemma3_text":
        rope = {"full_attention": rope, "sliding_attention": {"rope_theta": float(fields.get("%s.rope.freq_base_swa", 10000.0))}}
    config["rope_parameters"] = rope
    if kind in ("gemma2", "gemma3_text"):
        # The largest of each family divide by the share of the hidden size instead; no key says so.
        largest = {"gemma2": 46, "gemma3_text": 62}[kind] == layers
        config |= {
            "query_pre_attn_scalar": hidden // heads if largest else head_dim, "norm_offset": 0.0, "sliding_window": window or 4096,
            "final_logit_softcapping": fields.get("%s.final_logit_softcapping", 30.0 if kind == "gemma2" else None),
            "attn_logit_softcapping": fields.get("%s.attn_logit_softcapping", 50.0 if kind == "gemma2" else None)
        }
    elif kind == "granite":
        config |= {
            "attention_multiplier": fields.get("%s.attention.scale"), "embedding_multiplier": fields.get("%s.embedding_scale"),
            "residual_multiplier": fields.get("%s.residual_scale"), "logits_scaling": fields.get("%s.logit_scale")
        }
    elif kind == "phi3":
        config["sliding_window"] = window
    elif kind == "lfm2":
        counts = by_layer if isinstance(by_layer, list) else [kv_heads] * layers
        config |= {
            "layer_types": ["full_attention" if n else "conv" for n in counts], "conv_L_cache": fields.need("%s.shortconv.l_cache")
        }
    return config


def _name(tensor: str, architecture: str) -> str | None:
    """Hugging Face's name of a tensor, None if the architecture has no such tensor."""
    stem, _, suffix = tensor.rpartition(".")
    if stem == "token_embd_norm" and architecture == "lfm2":
        return "model.embedding_norm." + suffix
    if stem in _GLOBAL:
        return f"{_GLOBAL[stem]}.{suffix}"
    table = {**_LAYER, **(_LFM2 if architecture == "lfm2" else {})}
    parts = stem.split(".", 2)
    if len(parts) != 3 or parts[0] != "blk" or not parts[1].isdigit() or parts[2] not in table:
        return None
    layer, part = parts[1:]
    name = table[part]
    if part == "ffn_norm" and architecture in _OFFSET_NORMS:
        name = "pre_feedforward_layernorm"
    if part == "ffn_up" and architecture == "phi3":
        name = "mlp.gate_up_proj"
    return f"model.layers.{layer}.{name}.{suffix}"


_Reorder = Callable[[np.ndarray], np.ndarray]


def _halves(heads: int) -> _Reorder:
    """Reorders rows: pairs that are neighbours in a head become its halves."""
    def reorder(rows: np.ndarray) -> np.ndarray:
        pairs = rows.reshape(heads, -1, 2, *rows.shape[1:])
        return pairs.swapaxes(1, 2).reshape(rows.shape)
    return reorder


def _unchanged(rows: np.ndarray) -> np.ndarray:
    return rows


def _blocks(tensor: _Tensor, code_bytes: int) -> np.ndarray:
    """[rows, blocks, scale and codes of a block]."""
    return tensor.bytes().reshape(tensor.shape[0], -1, 2 + code_bytes)


def _scales(tensor: _Tensor, code_bytes: int) -> np.ndarray:
    blocks = _blocks(tensor, code_bytes)
    return np.ascontiguousarray(blocks[..., :2]).view(np.float16).reshape(blocks.shape[:2])


def _q4_codes(tensor: _Tensor) -> np.ndarray:
    """Q4_0 as int4: a block has its first 16 codes in low nibbles and the others in high ones, and all moved up by 8."""
    codes = _blocks(tensor, 16)[..., 2:] ^ 0x88
    return np.concatenate([codes & 15, codes >> 4], -1).reshape(codes.shape[0], -1)


def _q8_codes(tensor: _Tensor) -> np.ndarray:
    codes = np.ascontiguousarray(_blocks(tensor, 32)[..., 2:])
    return codes.reshape(codes.shape[0], -1).view(np.int8)


def _weight(tensor: _Tensor, name: str, reorder: _Reorder, in_place: bool) -> Weight | Quantized:
    kind, shape = tensor.kind, tensor.shape
    if name.endswith(".conv.conv.weight"):  # [channels, taps]
        shape = (shape[0], 1, shape[1])
    if kind in ("Q4_0", "Q8_0") and len(shape) == 2:
        bits, code_bytes, codes = ("I4", 16, _q4_codes) if kind == "Q4_0" else ("I8", 32, _q8_codes)
        return Quantized(name, shape, _BLOCK, rewritten(name + ".codes", bits, shape, lambda: reorder(codes(tensor))),
                         rewritten(name + ".scales", "F16", (shape[0], shape[1] // _BLOCK),
                                   lambda: reorder(_scales(tensor, code_bytes))))
    if kind in _FLOATS:
        if in_place and reorder is _unchanged:
            return Weight(name, kind, shape, tensor.file, tensor.offset, tensor.length)
        return rewritten(name, kind, shape, lambda: reorder(tensor.values()))
    gguf = _library(f"{tensor.file}: dequantizing {kind}")

    def halves() -> np.ndarray:
        values = gguf.dequantize(tensor.bytes(), gguf.GGMLQuantizationType[kind]).reshape(shape)
        if not np.abs(values).max(initial=0) <= np.finfo(np.float16).max:
            raise ExportError(f"{tensor.file}: the tensor {tensor.name} ({kind}) has values that f16 cannot hold")
        return reorder(values.astype(np.float16))
    return rewritten(name, "F16", shape, halves)


def open_gguf(file: Path) -> Checkpoint:
    """Reads the header of a GGUF file; the bytes of tensors are read when the model is written."""
    reader = _Reader(file)
    fields, tensors = _Fields(file, reader.fields), reader.tensors
    kind = _ARCHITECTURES.get(fields.architecture)
    if kind is None:
        raise ExportError(f"{file}: the architecture {fields.architecture or '(none)'} is not known to edgecc-export "
                          f"(known: {', '.join(_ARCHITECTURES)})")
    if "token_embd.weight" not in tensors:
        raise ExportError(f"{file}: the tensor token_embd.weight is missing")
    kinds = collections.Counter(t.kind for t in tensors.values())
    converted = sorted((k, n) for k, n in kinds.items() if k not in (*_FLOATS, "Q4_0", "Q8_0"))
    tables = {n: tensors.pop(n + ".weight").values().astype(np.float64).ravel() for n in _ROPE_TABLES if n + ".weight" in tensors}
    config = _config(fields, kind, tensors["token_embd.weight"].shape[0], "output.weight" not in tensors, tables)
    in_place = not kinds.keys() - _FLOATS.keys()
    weights: dict[str, Weight | Quantized] = {}
    for tensor in tensors.values():
        name = _name(tensor.name, fields.architecture)
        if name is None:
            raise ExportError(f"{file}: the tensor {tensor.name} has no place in the architecture {fields.architecture}")
        reorder: _Reorder = _unchanged
        if fields.architecture in _NEIGHBOURS and ".self_attn.q_proj." in name:
            reorder = _halves(config["num_attention_heads"])
        elif fields.architecture in _NEIGHBOURS and ".self_attn.k_proj." in name:
            reorder = _halves(config["num_key_value_heads"])
        weights[name] = _weight(tensor, name, reorder, in_place)
    if converted:
        note(f"{file.name}: " + ", ".join(f"{n} tensors of {k}" for k, n in converted) +
             " become f16; Q4_0 and Q8_0 stay as they are")
    return Checkpoint(file, config, weights, mixed=True)
