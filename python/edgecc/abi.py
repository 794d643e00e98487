"""runtime/include/edgecc/edgecc.h and text.h for ctypes: the same structs and functions, in the same order."""

from __future__ import annotations

import ctypes
import os
from ctypes import (CFUNCTYPE, POINTER, Structure, c_char, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_size_t, c_ssize_t,
                    c_uint8, c_uint32, c_uint64, c_void_p)
from pathlib import Path
from typing import Any, Self

import numpy as np

from .errors import ContextFullError, EdgeccError, RunError

# In the order of edgecc_type. bf16 has no numpy type: it travels as u16.
DTYPES: list[Any] = [np.float32, np.float16, np.uint16, np.float64, np.int64, np.int32, np.int16, np.int8, np.uint64, np.uint32,
                     np.uint16, np.uint8, np.bool_]
TYPE_NAMES = ["f32", "f16", "bf16", "f64", "i64", "i32", "i16", "i8", "u64", "u32", "u16", "u8", "bool"]
CONTEXT_FULL = 6
EXIT_IF_SURE, EXIT_NEVER = -1, -2
VERIFY_ALL, INSPECT_ONLY = 1, 2
SEGMENT_KINDS = ["weights", "code", "text", "ledger"]
ADD_SPECIAL, PARSE_SPECIAL = 1, 2
CONTEXT_POLICIES = ["refuse", "drop-oldest"]  # in the order of edgecc_context_policy


class Closing:
    """An owner of a library's `_handle`: it is closed at the end of a with statement, or by the garbage collector."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self.close()


class Error(Structure):
    _fields_ = [("message", c_char * 1024)]


class ModelOptions(Structure):
    _fields_ = [("size", c_size_t), ("flags", c_uint32), ("cpu", c_char_p), ("code", c_void_p), ("memory_limit", c_uint64)]


class ModelInfo(Structure):
    _fields_ = [("name", c_char_p), ("compiler", c_char_p), ("command_line", c_char_p), ("source_sha256", c_char_p),
                ("code", c_char_p), ("abi_version", c_uint32), ("features", c_uint64), ("file_size", c_uint64),
                ("metadata_size", c_uint64), ("symbol_count", c_size_t), ("state_count", c_size_t), ("entry_count", c_size_t),
                ("segment_count", c_size_t), ("property_count", c_size_t)]


class SymbolInfo(Structure):
    _fields_ = [("name", c_char_p), ("min", c_int64), ("max", c_int64), ("role", c_int)]


class TensorInfo(Structure):
    _fields_ = [("name", c_char_p), ("type", c_int), ("rank", c_uint32), ("tensor", c_void_p)]


class ExtentInfo(Structure):
    _fields_ = [("min", c_int64), ("max", c_int64), ("text", c_char * 128)]


class EntryInfo(Structure):
    _fields_ = [("name", c_char_p), ("input_count", c_size_t), ("output_count", c_size_t), ("arena_size", c_uint64),
                ("advances", c_int), ("entry", c_void_p)]


class SegmentInfo(Structure):
    _fields_ = [("name", c_char_p), ("kind", c_int), ("offset", c_uint64), ("length", c_uint64), ("alignment", c_uint64),
                ("sha256", POINTER(c_uint8)), ("architecture", c_char_p), ("feature_count", c_size_t), ("data", c_void_p)]


class MemoryInfo(Structure):
    _fields_ = [(name, c_uint64) for name in ("weights", "arena", "states", "bytes_per_position", "total")]


class SessionOptions(Structure):
    _fields_ = [("size", c_size_t), ("threads", c_uint32), ("context", c_int64), ("memory_limit", c_uint64),
                ("profiler", c_void_p), ("profiler_user", c_void_p)]


class ExitInfo(Structure):
    _fields_ = [("layer", c_uint32), ("threshold", c_float), ("confidence", c_int)]


class ExitReport(Structure):
    _fields_ = [("exit", c_int64), ("confidence", c_float), ("first_layer", c_uint32), ("last_layer", c_uint32)]


class Output(Structure):
    _fields_ = [("type", c_int), ("rank", c_uint32), ("shape", POINTER(c_int64)), ("data", c_void_p), ("bytes", c_size_t)]


class LogitBias(Structure):
    _fields_ = [("id", c_int32), ("bias", c_float)]


class Piece(Structure):
    _fields_ = [("text", c_void_p), ("size", c_size_t), ("id", c_int32), ("log_probability", c_float)]


OnPiece = CFUNCTYPE(c_int, c_void_p, POINTER(Piece))


class Generation(Structure):
    _fields_ = [("size", c_size_t), ("temperature", c_float), ("top_k", c_uint32), ("top_p", c_float), ("min_p", c_float),
                ("repetition_penalty", c_float), ("presence_penalty", c_float), ("frequency_penalty", c_float), ("seed", c_uint64),
                ("biases", POINTER(LogitBias)), ("bias_count", c_size_t), ("max_tokens", c_uint32), ("stops", POINTER(c_char_p)),
                ("stop_count", c_size_t), ("ignore_stop_tokens", c_int), ("context_policy", c_int), ("prefill_chunk", c_uint32),
                ("log_probabilities", c_int), ("on_piece", OnPiece), ("user", c_void_p)]


class Usage(Structure):
    _fields_ = [("prompt_tokens", c_uint64), ("cached_tokens", c_uint64), ("generated_tokens", c_uint64),
                ("first_token_seconds", c_double), ("seconds", c_double), ("dropped_messages", c_uint64), ("finish", c_int)]


class ToolCall(Structure):
    _fields_ = [("id", c_char_p), ("name", c_char_p), ("arguments", c_void_p), ("arguments_size", c_size_t)]


_P = c_void_p  # edgecc_model *, edgecc_session *, edgecc_text *, edgecc_chat *
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "edgecc_status_name": (c_char_p, [c_int]),
    "edgecc_version": (c_char_p, []),
    "edgecc_model_options_init": (None, [POINTER(ModelOptions)]),
    "edgecc_model_open": (c_int, [c_char_p, POINTER(ModelOptions), POINTER(_P), POINTER(Error)]),
    "edgecc_model_close": (None, [_P]),
    "edgecc_model_get_info": (None, [_P, POINTER(ModelInfo)]),
    "edgecc_model_symbol": (c_int, [_P, c_size_t, POINTER(SymbolInfo)]),
    "edgecc_model_state": (c_int, [_P, c_size_t, POINTER(TensorInfo)]),
    "edgecc_model_entry": (c_int, [_P, c_size_t, POINTER(EntryInfo)]),
    "edgecc_model_input": (c_int, [_P, c_size_t, c_size_t, POINTER(TensorInfo)]),
    "edgecc_model_input_is_optional": (c_int, [_P, c_size_t, c_size_t]),
    "edgecc_model_input_values": (None, [_P, c_size_t, c_size_t, c_char_p, c_size_t]),
    "edgecc_model_output": (c_int, [_P, c_size_t, c_size_t, POINTER(TensorInfo)]),
    "edgecc_model_extent": (c_int, [_P, POINTER(TensorInfo), c_uint32, POINTER(ExtentInfo)]),
    "edgecc_model_advance": (c_int, [_P, POINTER(EntryInfo), POINTER(ExtentInfo)]),
    "edgecc_model_segment": (c_int, [_P, c_size_t, POINTER(SegmentInfo)]),
    "edgecc_model_segment_feature": (c_char_p, [_P, c_size_t, c_size_t]),
    "edgecc_model_property_at": (c_int, [_P, c_size_t, POINTER(c_char_p), POINTER(c_char_p)]),
    "edgecc_exit_confidence_name": (c_char_p, [c_int]),
    "edgecc_model_exit": (c_int, [_P, c_size_t, POINTER(ExitInfo)]),
    "edgecc_model_layers": (c_uint32, [_P]),
    "edgecc_model_entry_exits": (c_int, [_P, c_size_t]),
    "edgecc_model_find_resuming": (c_ssize_t, [_P, c_size_t]),
    "edgecc_model_memory": (None, [_P, c_int64, POINTER(MemoryInfo)]),
    "edgecc_session_options_init": (None, [POINTER(SessionOptions)]),
    "edgecc_session_open": (c_int, [_P, POINTER(SessionOptions), POINTER(_P), POINTER(Error)]),
    "edgecc_session_close": (None, [_P]),
    "edgecc_session_set_input": (c_int, [_P, c_size_t, c_size_t, c_int, POINTER(c_int64), c_uint32, c_void_p, POINTER(Error)]),
    "edgecc_session_run": (c_int, [_P, c_size_t, POINTER(Error)]),
    "edgecc_session_output": (c_int, [_P, c_size_t, c_size_t, POINTER(Output), POINTER(Error)]),
    "edgecc_session_set_exit_threshold": (c_int, [_P, c_size_t, c_float, POINTER(Error)]),
    "edgecc_session_force_exit": (c_int, [_P, c_int64, POINTER(Error)]),
    "edgecc_session_exit_report": (None, [_P, POINTER(ExitReport)]),
    "edgecc_session_exit_confidence": (c_float, [_P, c_size_t]),
    "edgecc_session_context": (c_int64, [_P]),
    "edgecc_session_threads": (c_uint32, [_P]),
    "edgecc_session_memory": (c_uint64, [_P]),
    "edgecc_session_position": (c_int64, [_P]),
    "edgecc_session_set_position": (c_int, [_P, c_int64, POINTER(Error)]),
    "edgecc_session_reset": (None, [_P]),
    "edgecc_session_save_size": (c_size_t, [_P]),
    "edgecc_session_save": (c_int, [_P, c_void_p, c_size_t, POINTER(Error)]),
    "edgecc_session_restore": (c_int, [_P, c_void_p, c_size_t, POINTER(Error)]),
    "edgecc_text_open": (c_int, [_P, POINTER(_P), POINTER(Error)]),
    "edgecc_text_open_memory": (c_int, [c_void_p, c_size_t, POINTER(_P), POINTER(Error)]),
    "edgecc_text_close": (None, [_P]),
    "edgecc_text_vocabulary": (c_size_t, [_P]),
    "edgecc_text_has_template": (c_int, [_P]),
    "edgecc_text_has_tools": (c_int, [_P]),
    "edgecc_text_token_id": (c_int32, [_P, c_char_p, c_size_t]),
    "edgecc_text_is_stop": (c_int, [_P, c_int32]),
    "edgecc_text_encode": (c_int, [_P, c_char_p, c_size_t, c_uint32, POINTER(c_int32), c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "edgecc_text_decode": (c_int, [_P, POINTER(c_int32), c_size_t, c_char_p, c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "edgecc_generation_init": (None, [_P, POINTER(Generation)]),
    "edgecc_finish_name": (c_char_p, [c_int]),
    "edgecc_chat_open": (c_int, [_P, _P, _P, POINTER(_P), POINTER(Error)]),
    "edgecc_chat_close": (None, [_P]),
    "edgecc_chat_add": (c_int, [_P, c_char_p, c_char_p, c_size_t, POINTER(Error)]),
    "edgecc_chat_add_json": (c_int, [_P, c_char_p, c_size_t, POINTER(Error)]),
    "edgecc_chat_set": (c_int, [_P, c_char_p, c_char_p, c_size_t, POINTER(Error)]),
    "edgecc_chat_clear": (None, [_P]),
    "edgecc_chat_message_count": (c_size_t, [_P]),
    "edgecc_chat_remove": (c_int, [_P, c_size_t, POINTER(Error)]),
    "edgecc_chat_save": (c_int, [_P, c_char_p, c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "edgecc_chat_prompt": (c_int, [_P, c_char_p, c_size_t, POINTER(c_size_t), POINTER(Error)]),
    "edgecc_chat_answer": (c_int, [_P, POINTER(Generation), POINTER(Usage), POINTER(Error)]),
    "edgecc_chat_tool_call_count": (c_size_t, [_P]),
    "edgecc_chat_tool_call": (c_int, [_P, c_size_t, POINTER(ToolCall), POINTER(Error)]),
    "edgecc_chat_complete": (c_int, [_P, c_char_p, c_size_t, c_uint32, POINTER(Generation), POINTER(Usage), POINTER(Error)]),
    "edgecc_chat_cancel": (None, [_P]),
}

_library: ctypes.CDLL | None = None


def library() -> ctypes.CDLL:
    """The runtime's shared library: $EDGECC_RUNTIME, beside this file, in lib beside the edgecc program, build/lib of a checkout,
    or where the system looks."""
    global _library
    if _library is None:
        here = Path(__file__).resolve()
        candidates: list[str | Path] = []
        if os.environ.get("EDGECC_RUNTIME"):
            candidates = [os.environ["EDGECC_RUNTIME"]]
        else:
            name = "libedgecc_runtime.so"
            candidates = [here.with_name(name)]
            if os.environ.get("EDGECC"):
                candidates.append(Path(os.environ["EDGECC"]).parent.parent / "lib" / name)
            candidates += [here.parents[2] / "build/lib" / name, name]
        reasons = []
        for candidate in candidates:
            try:
                loaded = ctypes.CDLL(str(candidate))
                for function, (result, arguments) in _SIGNATURES.items():
                    getattr(loaded, function).restype = result
                    getattr(loaded, function).argtypes = arguments
                _library = loaded
                break
            except (OSError, AttributeError) as error:
                reasons.append(str(error))
        else:
            raise EdgeccError("the runtime library is not found; build it, and set EDGECC_RUNTIME to libedgecc_runtime.so ("
                              + "; ".join(reasons) + ")")
    return _library


def check(status: int, error: Error) -> None:
    """Raises what the library says, unless `status` is EDGECC_OK."""
    if status:
        name = library().edgecc_status_name(status).decode()
        text = error.message.decode(errors="replace") or name
        raise (ContextFullError if status == CONTEXT_FULL else RunError)(text, status, name)
