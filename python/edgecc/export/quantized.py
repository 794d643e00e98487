"""Checkpoints that come quantized: GPTQ, AWQ, compressed-tensors and bitsandbytes.

Codes, scales and zero points are put into the order of ONNX, [rows, columns], and never rounded again.
"""

from __future__ import annotations

import json
import math
from functools import partial
from typing import Any, Callable

import numpy as np

from .checkpoint import Checkpoint, ExportError, Quantized, Weight, note, rewritten

_AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)  # column that the i-th nibble of a word has


def _unpack(words: np.ndarray, bits: int, axis: int) -> np.ndarray:
    """Numbers of `bits` bits out of i32 words, the lowest first, as u8 along `axis`."""
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    words = np.expand_dims(np.ascontiguousarray(words).view(np.uint32), axis + 1)
    numbers = (words >> shifts.reshape((-1,) + (1,) * (words.ndim - axis - 2))) & np.uint32((1 << bits) - 1)
    shape = list(words.shape)
    shape[axis:axis + 2] = [shape[axis] * len(shifts)]
    return numbers.astype(np.uint8).reshape(shape)


class _Reader:
    """The tensors of a quantized checkpoint."""

    def __init__(self, checkpoint: Checkpoint, settings: dict[str, Any]):
        self.checkpoint, self.settings, self.where = checkpoint, settings, checkpoint.directory
        self.stored: dict[str, Weight] = dict(checkpoint.weights)
        self.result: dict[str, Weight | Quantized] = {}
        self.used: set[str] = set()

    def error(self, text: str) -> ExportError:
        return ExportError(f"{self.where}: {text}")

    def need(self, name: str, *dtypes: str) -> Weight:
        if name not in self.stored:
            raise self.error(f"the tensor {name} is missing")
        self.used.add(name)
        if dtypes and self.stored[name].dtype not in dtypes:
            raise self.error(f"the tensor {name} has the type {self.stored[name].dtype}, but {' or '.join(dtypes)} is needed")
        return self.stored[name]

    def maybe(self, name: str) -> Weight | None:
        return self.need(name) if name in self.stored else None

    def modules(self, tensor: str) -> list[str]:
        return [n.removesuffix("." + tensor) for n in self.stored if n.endswith("." + tensor)]

    def shaped(self, weight: Weight, shape: tuple[int, ...]) -> Weight:
        if weight.shape != shape:
            raise self.error(f"the tensor {weight.name} is {list(weight.shape)}, but its module makes it {list(shape)}")
        return weight

    def scales(self, name: str, weight: Weight, shape: tuple[int, ...], arrange: Callable[[np.ndarray], np.ndarray]) -> Weight:
        """Scales as `arrange` orders them, in f32, which is exact; those of groups stay f16 if they are."""
        kind = "F16" if weight.dtype == "F16" and len(shape) == 2 else "F32"
        return rewritten(name + ".scales", kind, shape,
                         lambda: arrange(weight.read()).astype(np.float16 if kind == "F16" else np.float32).reshape(shape))

    def rest(self) -> None:
        self.result.update((n, w) for n, w in self.stored.items() if n not in self.used)


def _codes(bits: int, signed: bool) -> str:
    return ("I" if signed else "U") + str(bits)


def _group_order(reader: _Reader, module: str, weight: Weight | None, columns: int, groups: int) -> np.ndarray | None:
    """The order of columns in which groups lie together, None if they do already (GPTQ's act-order)."""
    if weight is None:
        return None
    group = reader.shaped(weight, (columns,)).read().astype(np.int64)
    size = columns // groups
    if np.array_equal(group, np.arange(columns) // size):
        return None
    if columns % groups or not np.array_equal(np.sort(group), np.arange(columns) // size):
        raise reader.error(f"{module}: g_idx gives its groups different numbers of columns, which is not supported")
    return np.argsort(group, kind="stable")


def _gptq(reader: _Reader) -> None:
    bits = reader.settings.get("bits", 4)
    if bits not in (4, 8):
        raise reader.error(f"GPTQ with {bits} bits is not supported; 4 and 8 are")
    # The first version stores zero points less one.
    offset, mask = (0 if reader.settings.get("checkpoint_format") == "gptq_v2" else 1), (1 << bits) - 1
    for module in reader.modules("qweight"):
        codes, scales = reader.need(module + ".qweight", "I32"), reader.need(module + ".scales", "F16", "BF16", "F32")
        zeros = reader.need(module + ".qzeros", "I32")
        if len(codes.shape) != 2 or len(scales.shape) != 2:
            raise reader.error(f"{module}: qweight and scales of GPTQ are matrices")
        columns, (groups, rows) = codes.shape[0] * 32 // bits, scales.shape
        reader.shaped(codes, (columns * bits // 32, rows))
        reader.shaped(zeros, (groups, rows * bits // 32))
        order = _group_order(reader, module, reader.maybe(module + ".g_idx"), columns, groups)

        def make_codes(codes: Weight = codes, order: np.ndarray | None = order) -> np.ndarray:
            numbers = _unpack(codes.read(), bits, 0).T
            return numbers if order is None else numbers[:, order]

        def make_zeros(zeros: Weight = zeros) -> np.ndarray:
            return ((_unpack(zeros.read(), bits, 1) + offset) & mask).T

        _add(reader, module, bits, rows, columns, groups, make_codes, scales, np.transpose, make_zeros, order)


def _awq(reader: _Reader) -> None:
    bits = reader.settings.get("bits") or reader.settings.get("w_bit") or 4
    version = str(reader.settings.get("version", "gemm")).lower()
    if bits != 4 or version != "gemm":
        raise reader.error(f"AWQ of version {version} with {bits} bits is not supported; gemm with 4 bits is")
    inverse = np.argsort(_AWQ_ORDER)

    def unpack(words: Weight) -> np.ndarray:
        numbers = _unpack(words.read(), bits, 1)
        return numbers.reshape(numbers.shape[0], -1, 8)[..., inverse].reshape(numbers.shape).T

    for module in reader.modules("qweight"):
        codes, scales = reader.need(module + ".qweight", "I32"), reader.need(module + ".scales", "F16", "BF16", "F32")
        zeros = reader.need(module + ".qzeros", "I32")
        if len(codes.shape) != 2 or len(scales.shape) != 2:
            raise reader.error(f"{module}: qweight and scales of AWQ are matrices")
        columns, rows, groups = codes.shape[0], codes.shape[1] * 8, scales.shape[0]
        reader.shaped(scales, (groups, rows))
        reader.shaped(zeros, (groups, rows // 8))
        _add(reader, module, bits, rows, columns, groups, partial(unpack, codes), scales, np.transpose,
             partial(unpack, zeros), None)


def _add(reader: _Reader, module: str, bits: int, rows: int, columns: int, groups: int, make_codes: Callable[[], np.ndarray],
         scales: Weight, arrange: Callable[[np.ndarray], np.ndarray], make_zeros: Callable[[], np.ndarray] | None,
         order: np.ndarray | None, signed: bool = False) -> None:
    """Adds the weight of a module; one group is one scale for each row."""
    name, kind = module + ".weight", _codes(bits, signed)
    if columns % groups:
        raise reader.error(f"{module}: {columns} columns in {groups} groups, which is not supported")
    shape = (rows, groups) if groups > 1 else (rows,)
    zeros = rewritten(name + ".zeros", kind, shape, lambda: make_zeros().reshape(shape)) if make_zeros else None
    reader.result[name] = Quantized(name, (rows, columns), columns // groups if groups > 1 else 0,
                                    rewritten(name + ".codes", kind, (rows, columns), make_codes),
                                    reader.scales(name, scales, shape, arrange), zeros, order)


def _compressed_tensors(reader: _Reader) -> None:
    settings, formats = reader.settings, {reader.settings.get("format")}
    formats |= {g.get("format") for g in settings.get("config_groups", {}).values()} - {None}
    unknown = formats - {"pack-quantized", "int-quantized", "mixed-precision", None}
    if unknown:
        raise reader.error(
            f"compressed-tensors in the format {', '.join(map(str, unknown))} is not supported; pack-quantized and "
            "int-quantized are")
    for key in ("transform_config", "sparsity_config"):
        if settings.get(key) and settings[key].get("format") != "dense":
            raise reader.error(f"compressed-tensors with {key} is not supported")
    if any((g.get("input_activations") or g.get("output_activations")) for g in settings.get("config_groups", {}).values()):
        note("the checkpoint quantizes activations, too; they stay floats")
    if settings.get("kv_cache_scheme"):
        note("the checkpoint quantizes the cache, too; edgecc --kv-cache does that")
    for module in reader.modules("weight_packed"):
        _packed(reader, module)
    for module in reader.modules("weight_scale"):
        if module + ".weight_packed" in reader.stored:
            continue
        codes, scales = reader.need(module + ".weight", "I8"), reader.need(module + ".weight_scale")
        if module + ".weight_zero_point" in reader.stored:
            zero = reader.need(module + ".weight_zero_point", "I8")
            if zero.read().any():
                raise reader.error(f"{module}: int8 weights with zero points are not supported")
        for part in ("input_scale", "input_zero_point"):
            reader.maybe(f"{module}.{part}")
        rows, columns = codes.shape
        groups = scales.shape[1] if len(scales.shape) == 2 else 1
        _add(reader, module, 8, rows, columns, groups, codes.read, scales, _over_rows(rows, groups), None, None, signed=True)


def _over_rows(rows: int, groups: int) -> Callable[[np.ndarray], np.ndarray]:
    """Returns scales for each row and group from one for all, or one for each row or group."""
    return lambda values: np.broadcast_to(values.reshape(-1, groups), (rows, groups))


def _packed(reader: _Reader, module: str) -> None:
    codes, scales = reader.need(module + ".weight_packed", "I32"), reader.need(module + ".weight_scale")
    rows, columns = (int(n) for n in reader.need(module + ".weight_shape").read().ravel())
    bits = next((b for b in (4, 8) if codes.shape == (rows, -(-columns * b // 32))), 0)
    if not bits:
        raise reader.error(
            f"{module}: weight_packed is {list(codes.shape)} for a matrix of {rows} x {columns}; only 4 and 8 bits are supported")
    groups = scales.shape[1] if len(scales.shape) == 2 else 1
    if scales.shape not in ((rows, groups), (1,), (1, 1), (rows,)):
        raise reader.error(f"{module}: weight_scale is {list(scales.shape)} for {rows} rows")
    order = _group_order(reader, module, reader.maybe(module + ".weight_g_idx"), columns, groups)
    zeros = reader.maybe(module + ".weight_zero_point")

    def make_codes() -> np.ndarray:
        numbers = _unpack(codes.read(), bits, 1)[:, :columns]
        return numbers if order is None else numbers[:, order]

    def make_zeros() -> np.ndarray:
        assert zeros is not None
        if zeros.dtype == "I32":
            return _unpack(zeros.read(), bits, 0)[:rows]
        # Signed, one to a byte.
        return np.broadcast_to((zeros.read().astype(np.int16) + (1 << bits - 1)).astype(np.uint8), (rows, groups))

    middle = np.full((rows, groups), 1 << bits - 1, np.uint8)
    _add(reader, module, bits, rows, columns, groups, make_codes, scales, _over_rows(rows, groups),
         make_zeros if zeros else lambda: middle, order)


def _bitsandbytes(reader: _Reader) -> None:
    for module in reader.modules("SCB"):
        codes, scales = reader.need(module + ".weight", "I8"), reader.need(module + ".SCB", "F32")
        reader.maybe(module + ".weight_format")
        rows, columns = codes.shape
        reader.shaped(scales, (rows,))
        _add(reader, module, 8, rows, columns, 1, codes.read, scales, lambda v: v / np.float32(127), None, None, signed=True)
    kinds: dict[str, int] = {}
    for state in [n for n in reader.stored if ".weight.quant_state.bitsandbytes__" in n]:
        module, _, kind = state.partition(".weight.quant_state.bitsandbytes__")
        kinds[kind] = kinds.get(kind, 0) + 1
        _four_bits(reader, module, json.loads(reader.need(state).read().tobytes()))
    if any(kind not in ("nf4", "fp4") for kind in kinds):
        raise reader.error(f"bitsandbytes with the type {', '.join(kinds)} is not supported; nf4, fp4 and int8 are")
    if kinds:
        note(f"{reader.where.name}: " + ", ".join(f"{n} tensors of {k}" for k, n in sorted(kinds.items())) +
             " become f16: there is no kernel for their tables")
    if reader.modules("SCB") and reader.settings.get("llm_int8_threshold", 6.0):
        note("bitsandbytes would quantize activations, too; they stay floats")


def _four_bits(reader: _Reader, module: str, state: dict[str, Any]) -> None:
    name = module + ".weight"
    codes, table, scales = (reader.need(n) for n in (name, name + ".quant_map", name + ".absmax"))
    shape, block = tuple(state["shape"]), state["blocksize"]
    nested = int(state.get("nested_blocksize") or 0)
    inner = (reader.need(name + ".nested_absmax"), reader.need(name + ".nested_quant_map")) if nested else None
    if math.prod(codes.shape) * 2 != math.prod(shape):
        raise reader.error(
            f"the tensor {name} has {math.prod(codes.shape)} bytes, but its shape {list(shape)} needs {math.prod(shape) // 2}")

    def make() -> np.ndarray:
        packed = codes.read().reshape(-1).view(np.uint8)
        values = table.read().astype(np.float32)[np.stack([packed >> 4, packed & 15], 1).ravel()]
        factors = scales.read()
        if inner is not None:
            absmax, quant_map = (part.read().astype(np.float32) for part in inner)
            factors = quant_map[factors] * np.repeat(absmax, nested)[:factors.size] + np.float32(state["nested_offset"])
        values *= np.repeat(factors.astype(np.float32), block)[:values.size]
        return values.reshape(shape).astype(np.float16)

    reader.result[name] = rewritten(name, "F16", shape, make)


_METHODS = {"gptq": _gptq, "awq": _awq, "compressed-tensors": _compressed_tensors, "bitsandbytes": _bitsandbytes}


def read_quantized(checkpoint: Checkpoint, settings: dict[str, Any]) -> Checkpoint:
    """The checkpoint with its quantized weights under their modules' names; `settings` is quantization_config of config.json."""
    method = settings.get("quant_method") or ("bitsandbytes"
                                              if settings.get("load_in_8bit") or settings.get("load_in_4bit") else "?")
    if method not in _METHODS:
        raise ExportError(
            f"{checkpoint.directory}: weights quantized by {method} are not supported (known: {', '.join(_METHODS)}); "
            "export the original checkpoint and let edgecc quantize")
    reader = _Reader(checkpoint, settings)
    _METHODS[method](reader)
    if not reader.result:
        raise reader.error(f"quantization_config in config.json says {method}, but no tensor is quantized that way")
    reader.rest()
    return Checkpoint(checkpoint.directory,
                      {k: v for k, v in checkpoint.config.items() if k not in ("quantization_config", "compression_config")},
                      reader.result,
                      mixed=True)
