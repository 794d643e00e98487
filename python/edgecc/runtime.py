"""A compiled model in Python: numpy arrays in and out, over the runtime's C interface."""

from __future__ import annotations

import ctypes
import os
import re
import weakref
from ctypes import byref, c_char_p, c_void_p
from dataclasses import dataclass, replace
from typing import Any, Callable, Iterator, Mapping, Sequence, Unpack, overload

import numpy as np

from . import abi
from .abi import check
from .errors import EdgeccError, RunError
from .text import Answer, Chat, GenerationOptions, Message, SamplingOptions, Text


@dataclass(frozen=True)
class Dim:
    """A size: `text` is a number or an expression of the model's symbols; min and max are its bounds."""

    text: str
    min: int
    max: int


@dataclass(frozen=True)
class Tensor:
    name: str
    type: str
    shape: tuple[Dim, ...]
    optional: bool = False  # an input that a call may leave out: the model counts by itself, and refuses other values
    values: str = ""  # which values an input may have, in words; "" if any will do

    def __str__(self) -> str:
        text = f"{self.name}: {self.type} [{', '.join(d.text for d in self.shape)}]"
        return f"{text}, {self.values}" if self.values else text


@dataclass(frozen=True)
class Entry:
    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    arena_size: int
    advance: str  # what a call adds to the session's position; "" if nothing


@dataclass(frozen=True)
class Symbol:
    name: str
    min: int
    max: int
    role: str  # free, position, capacity or pending


@dataclass(frozen=True)
class Exit:
    """A call may end after `layer` layers, if the confidence (margin, entropy or state) is at least the threshold."""

    layer: int
    threshold: float
    confidence: str


@dataclass(frozen=True)
class ExitReport:
    """What a call did: it ended at `exit` (None: it went to the end), as sure as `confidence` at the last exit that it came to,
    having run the layers [first_layer, last_layer)."""

    exit: int | None
    confidence: float
    first_layer: int
    last_layer: int


@dataclass(frozen=True)
class Memory:
    """The memory contract in bytes."""

    weights: int
    arena: int
    states: int
    bytes_per_position: int
    total: int


class Session(abi.Closing):
    """States, arena and threads of one conversation. One thread at a time."""

    def __init__(self, model: "Model", *, threads: int = 0, context: int = 0, memory_limit: int = 0):
        self.model, self._lib, self._handle = model, abi.library(), c_void_p()
        self._chat: Callable[[], Chat | None] = lambda: None  # the conversation that has the session to itself
        options, error = abi.SessionOptions(), abi.Error()
        self._lib.edgecc_session_options_init(byref(options))
        options.threads, options.context, options.memory_limit = threads, context, memory_limit
        check(self._lib.edgecc_session_open(model._handle, byref(options), byref(self._handle), byref(error)), error)

    def _take(self, chat: Chat) -> None:
        self._check_free()
        self._chat = weakref.ref(chat)

    def _release(self, chat: Chat) -> None:
        if self._chat() is chat:
            self._chat = lambda: None

    def _check_free(self) -> None:
        chat = self._chat()
        if chat is not None and not chat._is_over():
            raise EdgeccError("the session belongs to a conversation, or a text is still being generated in it: close that first")

    def run(self, inputs: Mapping[str, Any], entry: str | None = None) -> dict[str, np.ndarray]:
        """Runs an entry: by default the model's only one, or for a language model the one that fits the number of tokens.
        Arrays are converted to the input's type where that loses nothing; outputs are copies. bf16 travels as uint16. Inputs
        that are `optional` may be left out; other values than the model's own counting gives are refused."""
        self._check_free()
        index = self.model._entry_index(entry, inputs)
        info, error = self.model.entries[index], abi.Error()
        unknown = set(inputs) - {t.name for t in info.inputs}
        if unknown:
            raise RunError(f"entry {info.name} has no input {', '.join(sorted(unknown))}; it has "
                               f"{'; '.join(map(str, info.inputs))}", 1, "invalid argument")
        for i, tensor in enumerate(info.inputs):
            if tensor.name not in inputs:
                if tensor.optional:  # takes back what a call that was refused has left
                    self._lib.edgecc_session_set_input(self._handle, index, i, 0, None, 0, None, None)
                continue
            kind = abi.TYPE_NAMES.index(tensor.type)
            array = _convert(inputs[tensor.name], abi.DTYPES[kind], tensor)
            shape = (ctypes.c_int64 * array.ndim)(*array.shape)
            check(self._lib.edgecc_session_set_input(self._handle, index, i, kind, shape, array.ndim,
                                                     array.ctypes.data_as(c_void_p), byref(error)), error)
        check(self._lib.edgecc_session_run(self._handle, index, byref(error)), error)
        return {t.name: self._output(index, i) for i, t in enumerate(info.outputs)}

    def _output(self, entry: int, index: int) -> np.ndarray:
        out, error = abi.Output(), abi.Error()
        check(self._lib.edgecc_session_output(self._handle, entry, index, byref(out), byref(error)), error)
        shape = tuple(out.shape[i] for i in range(out.rank))
        data = ctypes.string_at(out.data, out.bytes) if out.bytes else b""
        return np.frombuffer(bytearray(data), abi.DTYPES[out.type]).reshape(shape)

    @property
    def position(self) -> int:
        """How many positions the states hold. Setting it rewinds."""
        return self._lib.edgecc_session_position(self._handle)

    @position.setter
    def position(self, value: int) -> None:
        self._check_free()
        error = abi.Error()
        check(self._lib.edgecc_session_set_position(self._handle, value, byref(error)), error)

    @property
    def context(self) -> int:
        return self._lib.edgecc_session_context(self._handle)

    @property
    def threads(self) -> int:
        return self._lib.edgecc_session_threads(self._handle)

    @property
    def memory(self) -> int:
        """Bytes held now, the mapped weights included."""
        return self._lib.edgecc_session_memory(self._handle)

    def set_exit_threshold(self, exit: int, threshold: float) -> None:
        """From the next call on; the model's own is `model.exits[exit].threshold`."""
        error = abi.Error()
        check(self._lib.edgecc_session_set_exit_threshold(self._handle, exit, threshold, byref(error)), error)

    def force_exit(self, exit: int | str | None) -> None:
        """From the next call on: always this exit, or "never", or None: if the model is sure enough."""
        number, error = abi.EXIT_IF_SURE if exit is None else abi.EXIT_NEVER if exit == "never" else int(exit), abi.Error()
        check(self._lib.edgecc_session_force_exit(self._handle, number, byref(error)), error)

    @property
    def exit_report(self) -> ExitReport:
        """Of the last call."""
        info = abi.ExitReport()
        self._lib.edgecc_session_exit_report(self._handle, byref(info))
        return ExitReport(info.exit if info.exit >= 0 else None, info.confidence, info.first_layer, info.last_layer)

    @property
    def exit_confidences(self) -> tuple[float | None, ...]:
        """How sure the last call was at each exit; None where it did not come to."""
        found = [self._lib.edgecc_session_exit_confidence(self._handle, i) for i in range(len(self.model.exits))]
        return tuple(c if c >= 0 else None for c in found)

    def reset(self) -> None:
        self._check_free()
        self._lib.edgecc_session_reset(self._handle)

    def save(self) -> bytes:
        """The states and the position, for `restore` of a session of the same model and context length."""
        self._check_free()
        size, error = self._lib.edgecc_session_save_size(self._handle), abi.Error()
        data = ctypes.create_string_buffer(size)
        check(self._lib.edgecc_session_save(self._handle, data, size, byref(error)), error)
        return data.raw

    def restore(self, data: bytes) -> None:
        self._check_free()
        error = abi.Error()
        check(self._lib.edgecc_session_restore(self._handle, data, len(data), byref(error)), error)

    def feed(self, ids: np.ndarray, chunk: int = 0) -> np.ndarray:
        """Takes tokens ids [n] at the session's position, in calls of at most `chunk` (0: as many as the model takes);
        returns the logits [vocabulary] (f32) of the last one."""
        ids = np.asarray(ids).reshape(-1)
        if not len(ids):
            raise EdgeccError("no tokens: a prompt has at least one")
        while len(ids):
            count = min(len(ids), chunk or len(ids))
            count = min(count, self.model._chunk(count))
            logits = self.run(self.model._token_inputs(ids[:count], self.position))["logits"]
            ids = ids[count:]
        return logits.reshape(-1, logits.shape[-1])[-1].astype(np.float32)

    def generate(self, ids: Sequence[int], max_tokens: int = 256, *, temperature: float = 0.0, top_k: int = 0, top_p: float = 1.0,
                 seed: int | None = None, stop: Sequence[int] | None = None, chunk: int = 0, verify: int | None = None,
                 drafts: int = 4) -> Iterator[int]:
        """Yields tokens as they come, up to `max_tokens`, a token of `stop` (default: the model's eos_token_id; it is not
        yielded), or the end of the context. Temperature 0 is greedy; `chunk` is as for `feed`. `verify` is an exit of a model
        compiled with --exit-verify: `drafts` tokens at a time end there and are verified by the layers behind, so that the text
        is the whole model's, or distributed as that."""
        if stop is None:
            stop = [int(t) for t in re.findall(r"\d+", self.model.properties.get("eos_token_id", ""))]
        rng = np.random.default_rng(seed)

        def choice(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return _choice(logits, temperature, top_k, top_p)

        if verify is not None:
            self.force_exit("never")  # the prompt goes the whole way
        found = [_draw(choice(self.feed(np.asarray(ids), chunk)), rng)]
        left = max_tokens
        while True:
            for token in found:
                if token in stop or left == 0:
                    return
                left -= 1
                yield token
            if left == 0 or self.position >= self.context:
                return
            if verify is None:
                found = [_draw(choice(self.feed(np.array(found[-1:]))), rng)]
            else:
                found = self._verified(found[-1], verify, min(drafts, self.context - self.position), choice, rng)

    def _verified(self, token: int, exit: int, count: int, choice: Callable[..., Any], rng: np.random.Generator) -> list[int]:
        """The tokens after `token`: drafts of an exit as far as the whole model agrees, and its own where it does not
        (speculative sampling: Leviathan 2023)."""
        entry = self._lib.edgecc_model_find_resuming(self.model._handle, exit)
        if entry < 0:
            raise EdgeccError(f"{self.model.name}: exit {exit} cannot be verified; compile with --exit-verify")
        given, start = [token], self.position
        drafted: list[tuple[np.ndarray, np.ndarray]] = []
        self.force_exit(exit)
        while len(drafted) < count:
            drafted.append(choice(self.feed(np.array(given[-1:]))))
            given.append(_draw(drafted[-1], rng))
        self.force_exit("never")
        self.position = start
        inputs = self.model._token_inputs(np.array(given[:-1]), start)
        logits = self.run(inputs, self.model.entries[entry].name)["logits"].astype(np.float32)
        found: list[int] = []
        for (tokens, shares), row, draft in zip(drafted, logits.reshape(-1, logits.shape[-1]), given[1:]):
            own, own_shares = choice(row)
            share, draft_share = own_shares[own == draft].sum(), shares[tokens == draft].sum()
            if share >= draft_share or rng.random() * draft_share < share:
                found.append(draft)
                continue
            drafted_shares = np.zeros(row.size)
            drafted_shares[tokens] = shares
            rest = np.maximum(own_shares - drafted_shares[own], 0)
            found.append(_draw((own, rest / rest.sum() if rest.any() else own_shares), rng))
            self.position = start + len(found)
            break
        return found

    def close(self) -> None:
        chat = self._chat()
        if chat is not None:
            chat.close()
        if self._handle:
            self._lib.edgecc_session_close(self._handle)
            self._handle = c_void_p()


def _convert(value: Any, dtype: Any, tensor: Tensor) -> np.ndarray:
    """A contiguous array of the input's type. Floats may lose precision, integers must keep their values."""
    array = np.asarray(value)
    if array.dtype != dtype:
        floats = array.dtype.kind == "f" and np.dtype(dtype).kind == "f"
        converted = array.astype(dtype) if floats or array.dtype.kind in "iub" else None
        if converted is None or not (floats or np.array_equal(converted, array)):
            raise RunError(f"input {tensor} is given as {array.dtype}", 1, "invalid argument")
        array = converted
    return np.ascontiguousarray(array).reshape(array.shape)  # ascontiguousarray makes a scalar rank 1


def _choice(logits: np.ndarray, temperature: float, top_k: int, top_p: float) -> tuple[np.ndarray, np.ndarray]:
    """Tokens that may come, and how likely they are."""
    if temperature <= 0:
        return np.array([logits.argmax()]), np.ones(1)
    order = np.argsort(-logits)
    if top_k:
        order = order[:top_k]
    weights = np.exp((logits[order].astype(np.float64) - logits[order[0]]) / temperature)
    weights /= weights.sum()
    if top_p < 1:
        keep = int(np.searchsorted(np.cumsum(weights), top_p)) + 1
        order, weights = order[:keep], weights[:keep] / weights[:keep].sum()
    return order, weights


def _draw(choice: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> int:
    tokens, shares = choice
    return int(tokens[0] if len(tokens) == 1 else rng.choice(tokens, p=shares))


class Model(abi.Closing):
    """A verified model.edge, mapped read-only. `run` and `generate` use a session of their own; open more with `session`."""

    def __init__(self, path: str | os.PathLike[str], *, cpu: str | None = None, verify_all: bool = False,
                 inspect_only: bool = False, memory_limit: int = 0, threads: int = 0, context: int = 0):
        self._lib, self._handle = abi.library(), c_void_p()
        self._session_options = {"threads": threads, "context": context}
        self._session: Session | None = None
        self._text: c_void_p | None = None
        self._chats: weakref.WeakSet[Chat] = weakref.WeakSet()
        options, error = abi.ModelOptions(), abi.Error()
        self._lib.edgecc_model_options_init(byref(options))
        options.flags = (abi.VERIFY_ALL if verify_all else 0) | (abi.INSPECT_ONLY if inspect_only else 0)
        options.cpu, options.memory_limit = cpu.encode() if cpu else None, memory_limit
        check(self._lib.edgecc_model_open(os.fsencode(path), byref(options), byref(self._handle), byref(error)), error)
        info = abi.ModelInfo()
        self._lib.edgecc_model_get_info(self._handle, byref(info))
        self.name, self.compiler, self.command_line, self.source_sha256 = (
            v.decode() for v in (info.name, info.compiler, info.command_line, info.source_sha256))
        self.code = info.code.decode() if info.code else None
        self.file_size = info.file_size
        self.symbols = tuple(self._symbol(i) for i in range(info.symbol_count))
        self.states = tuple(self._tensor(self._lib.edgecc_model_state, i) for i in range(info.state_count))
        self.entries = tuple(self._entry(i) for i in range(info.entry_count))
        self.segments = tuple(self._segment(i) for i in range(info.segment_count))
        self.properties = dict(self._property(i) for i in range(info.property_count))
        self.layers = self._lib.edgecc_model_layers(self._handle)  # 0 without exits
        self.exits = tuple(self._exits())

    def _symbol(self, index: int) -> Symbol:
        info = abi.SymbolInfo()
        self._lib.edgecc_model_symbol(self._handle, index, byref(info))
        return Symbol(info.name.decode(), info.min, info.max, ("free", "position", "capacity", "pending")[info.role])

    def _exits(self) -> Iterator[Exit]:
        info, index = abi.ExitInfo(), 0
        while self._lib.edgecc_model_exit(self._handle, index, byref(info)) == 0:
            yield Exit(info.layer, info.threshold, self._lib.edgecc_exit_confidence_name(info.confidence).decode())
            index += 1

    def _tensor(self, function: Callable[..., int], *where: int) -> Tensor:
        info, extent, shape = abi.TensorInfo(), abi.ExtentInfo(), []
        function(self._handle, *where, byref(info))
        for d in range(info.rank):
            self._lib.edgecc_model_extent(self._handle, byref(info), d, byref(extent))
            shape.append(Dim(extent.text.decode(), extent.min, extent.max))
        return Tensor(info.name.decode(), abi.TYPE_NAMES[info.type], tuple(shape))

    def _input(self, entry: int, index: int) -> Tensor:
        values = ctypes.create_string_buffer(256)
        self._lib.edgecc_model_input_values(self._handle, entry, index, values, len(values))
        optional = bool(self._lib.edgecc_model_input_is_optional(self._handle, entry, index))
        return replace(self._tensor(self._lib.edgecc_model_input, entry, index), optional=optional, values=values.value.decode())

    def _entry(self, index: int) -> Entry:
        info, advance = abi.EntryInfo(), abi.ExtentInfo()
        self._lib.edgecc_model_entry(self._handle, index, byref(info))
        if info.advances:
            self._lib.edgecc_model_advance(self._handle, byref(info), byref(advance))
        return Entry(info.name.decode(),
                     tuple(self._input(index, i) for i in range(info.input_count)),
                     tuple(self._tensor(self._lib.edgecc_model_output, index, i) for i in range(info.output_count)),
                     info.arena_size, advance.text.decode())

    def _segment(self, index: int) -> dict[str, Any]:
        info = abi.SegmentInfo()
        self._lib.edgecc_model_segment(self._handle, index, byref(info))
        features = [self._lib.edgecc_model_segment_feature(self._handle, index, i).decode() for i in range(info.feature_count)]
        return {"name": info.name.decode(), "kind": abi.SEGMENT_KINDS[info.kind], "offset": info.offset, "length": info.length,
                "alignment": info.alignment, "sha256": bytes(info.sha256[i] for i in range(32)).hex(),
                "architecture": (info.architecture or b"").decode(), "features": features}

    def _property(self, index: int) -> tuple[str, str]:
        key, value = c_char_p(), c_char_p()
        self._lib.edgecc_model_property_at(self._handle, index, byref(key), byref(value))
        return (key.value or b"").decode(), (value.value or b"").decode(errors="replace")

    def memory(self, context: int = 0) -> Memory:
        """The memory contract at a context length."""
        info = abi.MemoryInfo()
        self._lib.edgecc_model_memory(self._handle, context, byref(info))
        return Memory(info.weights, info.arena, info.states, info.bytes_per_position, info.total)

    def entry(self, name: str) -> Entry:
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise RunError(f"no entry {name}; the model has {', '.join(e.name for e in self.entries)}", 1, "invalid argument")

    def _entry_index(self, name: str | None, inputs: Mapping[str, Any]) -> int:
        """The entry `name`; or the one that takes `inputs`, the narrowest that is wide enough for their tokens."""
        if name is not None:
            return self.entries.index(self.entry(name))
        if len(self.entries) == 1:
            return 0
        fitting = [e for e in self.entries if set(inputs) <= {t.name for t in e.inputs}]
        if "input_ids" in inputs and fitting:
            return self.entries.index(self._token_entry(np.asarray(inputs["input_ids"]).shape[-1], fitting))
        if len(fitting) == 1:
            return self.entries.index(fitting[0])
        raise RunError(f"which entry takes {', '.join(inputs)}? The model has "
                       f"{'; '.join(e.name + ' (' + ', '.join(t.name for t in e.inputs) + ')' for e in self.entries)}",
                       1, "invalid argument")

    def _token_entry(self, count: int, entries: Sequence[Entry] | None = None) -> Entry:
        """The narrowest entry that takes `count` tokens in a call; the widest if none does."""
        width = {e: t.shape[-1].max for e in entries or self.entries for t in e.inputs if t.name == "input_ids" and t.shape}
        if not width:
            raise EdgeccError(f"{self.name}: no entry takes input_ids, so it cannot generate text; use run")
        wide = [e for e in width if width[e] >= count]
        return min(wide, key=width.__getitem__) if wide else max(width, key=width.__getitem__)

    def _chunk(self, count: int) -> int:
        """How many of `count` tokens a call can take."""
        entry = self._token_entry(count)
        return min(count, next(t for t in entry.inputs if t.name == "input_ids").shape[-1].max)

    def _token_inputs(self, ids: np.ndarray, position: int) -> dict[str, np.ndarray]:
        """What a language model's entry wants to go with the tokens [n], by the inputs' names."""
        tokens = np.asarray(ids, np.int64)[None]
        inputs = {}
        for tensor in self._token_entry(tokens.shape[1]).inputs:
            if tensor.name == "input_ids":
                inputs[tensor.name] = tokens
            elif tensor.optional:
                continue
            elif tensor.name == "position_ids":  # of rank 3, too: text has the same ones in each row
                leading = [max(d.min, 1) for d in tensor.shape[:-1]]
                inputs[tensor.name] = np.broadcast_to(np.arange(position, position + tokens.shape[1]), leading + [tokens.shape[1]])
            elif tensor.name == "attention_mask":
                inputs[tensor.name] = np.ones((1, position + tokens.shape[1]), np.int64)
            else:
                raise EdgeccError(f"{self.name}: generate does not know what to give the input {tensor}; use run")
        return inputs

    def session(self, **options: int) -> Session:
        """A new session; options are threads, context and memory_limit."""
        return Session(self, **{**self._session_options, **options})

    @property
    def default_session(self) -> Session:
        if self._session is None:
            self._session = self.session()
        return self._session

    def run(self, inputs: Mapping[str, Any], entry: str | None = None) -> dict[str, np.ndarray]:
        """Runs the model on arrays by input name, in the model's own session (a language model's position moves on)."""
        return self.default_session.run(inputs, entry)

    def _require_text(self) -> Text:
        if self._text is None:
            handle, error = c_void_p(), abi.Error()
            check(self._lib.edgecc_text_open(self._handle, byref(handle), byref(error)), error)
            self._text = handle
        return Text(self._text, self)

    @property
    def text(self) -> Text | None:
        """Tokenizer and chat template; None if the model was compiled without."""
        return self._require_text() if any(s["kind"] == "text" for s in self.segments) else None

    @overload
    def generate(self, prompt: str, max_tokens: int | None = None, *, add_special: bool = True, parse_special: bool = False,
                 **options: Unpack[SamplingOptions]) -> Answer: ...
    @overload
    def generate(self, prompt: Sequence[int] | np.ndarray, max_tokens: int | None = None, **options: Any) -> Iterator[int]: ...

    def generate(self, prompt: Any, max_tokens: int | None = None, **options: Any) -> Any:
        """Continues a text, or ids, from an empty context, with `max_tokens` tokens at most (None: 256, or fewer where the context has room
        for fewer). A text gives an iterator of texts; its options are those of SamplingOptions, and `add_special` and
        `parse_special` as for Text.encode. Ids give an iterator of ids, with the options of Session.generate."""
        session = self.default_session
        session.reset()
        if not isinstance(prompt, str):
            return session.generate(prompt, 256 if max_tokens is None else max_tokens, **options)
        text = self._require_text()
        special = {name: options.pop(name, default) for name, default in (("add_special", True), ("parse_special", False))}
        if max_tokens is None:
            max_tokens = max(1, min(256, session.context + 1 - len(text.encode(prompt, **special))))
        flags = (abi.ADD_SPECIAL if special["add_special"] else 0) | (abi.PARSE_SPECIAL if special["parse_special"] else 0)
        return Chat(self, session, owns=False)._complete(prompt, flags, GenerationOptions(max_tokens=max_tokens, **options))  # type: ignore[typeddict-item]

    @overload
    def chat(self, *, system: str | None = None, tools: Sequence[Any] | None = None, variables: Mapping[str, Any] | None = None,
             context: int = 0, threads: int = 0) -> Chat: ...
    @overload
    def chat(self, message: str | Message | Sequence[Message], *, system: str | None = None, tools: Sequence[Any] | None = None,
             variables: Mapping[str, Any] | None = None, context: int = 0, threads: int = 0,
             **options: Unpack[GenerationOptions]) -> Answer: ...

    def chat(self, message: Any = None, *, system: str | None = None, tools: Sequence[Any] | None = None,
             variables: Mapping[str, Any] | None = None, context: int = 0, threads: int = 0, **options: Any) -> Any:
        """Begins a conversation, in a session of its own with `context` and `threads` (0: as the model was loaded). `variables` are those of
        the chat template, such as {"enable_thinking": False}; `tools` is one of them. With a message (a text is the user's) or a
        list of messages the answer to it is given instead, with the options of GenerationOptions, and the conversation ends with
        it."""
        given = {name: value for name, value in (("context", context), ("threads", threads)) if value}
        if message is None and options:
            raise TypeError(f"{', '.join(options)}: options of an answer; give them to Chat.send")
        chat = Chat(self, self.session(**given), system=system, tools=tools, variables=variables)
        if message is None:
            return chat
        chat._is_once = True
        return chat.send(message, **options)

    def close(self) -> None:
        for chat in list(self._chats):
            chat.close()
        if self._text is not None:
            self._lib.edgecc_text_close(self._text)
            self._text = None
        if self._session:
            self._session.close()
            self._session = None
        if self._handle:
            self._lib.edgecc_model_close(self._handle)
            self._handle = c_void_p()

    def __repr__(self) -> str:
        return f"<edgecc.Model {self.name}: {', '.join(e.name for e in self.entries)}>"


def load(path: str | os.PathLike[str], **options: Any) -> Model:
    """Opens a model.edge. Options: threads and context of the model's own session, cpu ("baseline", "dotprod,fp16", ...),
    memory_limit (bytes), verify_all, inspect_only (look at it on any processor)."""
    return Model(path, **options)
