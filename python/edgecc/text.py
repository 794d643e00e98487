"""Text in and text out: tokenizer, generation and conversations, over the text library's C interface (text.h)."""

from __future__ import annotations

import atexit
import ctypes
import functools
import json
import os
import subprocess
import tempfile
import threading
import weakref
from ctypes import byref, c_char_p, c_int32, c_size_t, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterator, Literal, Mapping, Sequence, TypedDict, Unpack, overload

import numpy as np

from . import abi
from .abi import check
from .compiler import find_program
from .errors import CompileError, EdgeccError

if TYPE_CHECKING:
    from .runtime import Model, Session

_MAGIC = b"ETXT"  # of a compiled text
_AHEAD = 8  # pieces that are generated before somebody takes them

Message = Mapping[str, Any]
"""A message: {"role": ..., "content": ...} and what else the chat template knows, such as "tool_calls"."""


class SamplingOptions(TypedDict, total=False):
    """How text is generated. What is left out of the first six is the model's own default (generation_config.json)."""

    temperature: float  # 0 takes the likeliest token
    top_k: int  # only the k likeliest tokens; 0: all
    top_p: float  # the smallest set of likeliest tokens with this probability; 1: all
    min_p: float  # only tokens at least this likely, relative to the likeliest; 0: all
    repetition_penalty: float  # 1 has no effect
    presence_penalty: float  # 0 has no effect
    frequency_penalty: float  # 0 has no effect
    seed: int | None  # the same seed gives the same text; left out or None: another one each time
    logit_bias: Mapping[int, float]  # added to the logits of these ids; -inf forbids a token
    stop: str | Sequence[str]  # strings that end the text; they are not part of it
    log_probabilities: bool  # compute Piece.log_probability, and give a piece for each token
    ignore_stop_tokens: bool  # go on after tokens that end a text
    context_policy: Literal["refuse", "drop-oldest"]  # what happens when a conversation does not fit; "refuse" raises ContextFullError
    chunk: int  # prompt tokens in a call; 0: as many as the model takes


class GenerationOptions(SamplingOptions, total=False):
    """SamplingOptions, and the length of an answer."""

    max_tokens: int  # tokens at most; left out: until the model ends the text or the context is full


class Piece(str):
    """A part of a text, in whole characters."""

    token_id: int | None
    """Id of the last token of this part; None if the part was held back until the end."""
    log_probability: float | None
    """Natural logarithm of this token's probability in the model's own distribution; None if `log_probabilities` is not set."""

    def __new__(cls, text: str, token_id: int | None = None, log_probability: float | None = None) -> "Piece":
        piece = super().__new__(cls, text)
        piece.token_id, piece.log_probability = token_id, log_probability
        return piece


@dataclass(frozen=True)
class Usage:
    """Figures of one answer."""

    prompt_tokens: int  # of the whole prompt, the conversation so far included
    cached_tokens: int  # of these, tokens that were not computed again
    generated_tokens: int  # without the token that ended the answer
    first_token_seconds: float  # from the call to the first token
    seconds: float  # from the first token to the last one
    dropped_messages: int  # by context_policy="drop-oldest"
    finish: str  # "stop token", "stop string", "max tokens", "context full" or "cancelled"


@dataclass(frozen=True)
class ToolCall:
    """A call of a tool in an answer. The result is a message: {"role": "tool", "tool_call_id": call.id, "content": ...}."""
    id: str
    name: str
    arguments: dict[str, Any]


def _utf8(text: str) -> bytes:
    # The library refuses text that is not valid UTF-8.
    return text.encode("utf-8", "surrogatepass")


def _start_of(path: str | os.PathLike[str]) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(len(_MAGIC))
    except OSError as error:
        raise EdgeccError(f"{os.fspath(path)}: {error.strerror}") from None


def _read(function: Callable[..., int], *arguments: Any) -> str:
    """The text that a function of the library writes: a first call asks for its size."""
    size, error = c_size_t(), abi.Error()
    check(function(*arguments, None, 0, byref(size), byref(error)), error)
    text = ctypes.create_string_buffer(max(size.value, 1))
    check(function(*arguments, text, size.value, byref(size), byref(error)), error)
    return text.raw[:size.value].decode("utf-8", "replace")


class Text:
    """Tokenizer and chat template of a model: `model.text`, or `Text.open` for a file."""

    def __init__(self, handle: c_void_p, owner: Any):
        """For this module: use `model.text` or `Text.open`."""
        self._lib, self._pointer, self._owner = abi.library(), handle, owner

    @classmethod
    def open(cls, source: str | os.PathLike[str]) -> "Text":
        """Opens a tokenizer without a model: what `edgecc-tokenize compile` has written, or any source that this program compiles (a
        Hugging Face directory, a GGUF file, tokenizer.json, a SentencePiece model, vocab.txt, ...)."""
        data = b"" if os.path.isdir(source) else _start_of(source)
        if data == _MAGIC:
            return cls._of(Path(source).read_bytes(), source)
        with tempfile.TemporaryDirectory(prefix="edgecc") as folder:
            compiled = Path(folder, "text")
            done = subprocess.run([str(find_program("edgecc-tokenize")), "compile", os.fspath(source), "-o", str(compiled)],
                                  capture_output=True, text=True, errors="replace")
            if done.returncode:
                raise CompileError(done.stderr.strip().removeprefix("edgecc-tokenize: "), done.returncode)
            return cls._of(compiled.read_bytes(), source)

    @classmethod
    def _of(cls, data: bytes, source: str | os.PathLike[str]) -> "Text":
        # The tables are used where they lie, at a multiple of 16.
        memory = ctypes.create_string_buffer(len(data) + 16)
        begin = -ctypes.addressof(memory) % 16
        ctypes.memmove(ctypes.addressof(memory) + begin, data, len(data))
        lib, handle, error = abi.library(), c_void_p(), abi.Error()
        status = lib.edgecc_text_open_memory(ctypes.addressof(memory) + begin, len(data), byref(handle), byref(error))
        if status:
            error.message = os.fsencode(source) + b": " + error.message[:900]
        check(status, error)
        text = cls(handle, memory)
        weakref.finalize(text, lambda *owned: lib.edgecc_text_close(owned[0]), handle, memory)
        return text

    @property
    def _handle(self) -> c_void_p:
        if getattr(self._owner, "_handle", True):
            return self._pointer
        raise EdgeccError(f"{self._owner.name}: the model is closed")

    @property
    def vocabulary(self) -> int:
        """Number of token ids."""
        return self._lib.edgecc_text_vocabulary(self._handle)

    @property
    def has_template(self) -> bool:
        """Whether there is a chat template, so that `model.chat` works."""
        return bool(self._lib.edgecc_text_has_template(self._handle))

    @property
    def has_tools(self) -> bool:
        """Whether the chat template tells the model of tools, and calls of them are read from its answers."""
        return bool(self._lib.edgecc_text_has_tools(self._handle))

    def token_id(self, token: str) -> int | None:
        """The id of a token, such as "<|im_end|>"; None if there is none."""
        found = self._lib.edgecc_text_token_id(self._handle, _utf8(token), len(_utf8(token)))
        return found if found >= 0 else None

    def is_stop(self, id: int) -> bool:
        """Whether a text ends at this token, as the model's settings say."""
        return bool(self._lib.edgecc_text_is_stop(self._handle, id))

    def encode(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """The ids of a text. `add_special` adds the tokens that the tokenizer puts around a text; `parse_special` recognises special
        tokens in it: never set that for text of users."""
        utf8, count, error = _utf8(text), c_size_t(), abi.Error()
        flags = (abi.ADD_SPECIAL if add_special else 0) | (abi.PARSE_SPECIAL if parse_special else 0)
        # A token has a byte at least; those around the text are few.
        capacity = len(utf8) + 16
        while True:
            ids = (c_int32 * capacity)()
            check(self._lib.edgecc_text_encode(self._handle, utf8, len(utf8), flags, ids, capacity, byref(count), byref(error)), error)
            if count.value <= capacity:
                return ids[:count.value]
            capacity = count.value

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of ids; special tokens are left out."""
        array = (c_int32 * len(ids))(*(int(i) for i in ids))
        return _read(self._lib.edgecc_text_decode, self._handle, array, len(ids))

    def batch(self, texts: Sequence[str], limit: int = 0, pad: int = 0) -> dict[str, np.ndarray]:
        """The inputs of an encoder for several texts: input_ids, attention_mask and token_type_ids, each i64 [texts, longest]. Texts of
        more than `limit` tokens (0: no limit) are cut, but for the tokens around them; shorter ones are filled up with `pad`."""
        rows = [self._cut(text, limit) for text in texts]
        ids = np.full((len(rows), max(map(len, rows), default=0)), pad, np.int64)
        mask = np.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, :len(row)], mask[i, :len(row)] = row, 1
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}

    def _cut(self, text: str, limit: int) -> list[int]:
        ids = self.encode(text)
        if limit == 0 or len(ids) <= limit:
            return ids
        plain = self.encode(text, add_special=False)
        around = len(ids) - len(plain)
        before = next(i for i in range(around + 1) if ids[i:i + len(plain)] == plain)
        return ids[:before] + plain[:max(limit - around, 0)] + ids[before + len(plain):]

    def __repr__(self) -> str:
        return f"<edgecc.Text: {self.vocabulary} tokens{', chat template' if self.has_template else ''}>"


class _Job:
    """One call of the library on a thread of its own. It refers to no Answer, so that an answer that nobody wants any more is
    garbage-collected, and cancelled."""

    def __init__(self, chat: c_void_p, options: GenerationOptions, text: Text, call: Callable[..., int]):
        self._lib, self._chat, self._call = abi.library(), chat, call
        self.usage, self.error, self.status = abi.Usage(), abi.Error(), 0
        self.pieces: list[Piece] = []  # all of them
        self._taken, self._changed = 0, threading.Condition()
        self._cancelled = self.ended = self._takes_all = False
        self._generation, self._kept = _generation(options, text)
        self._with_logarithms = bool(options.get("log_probabilities"))
        self._generation.on_piece = self._kept_callback = abi.OnPiece(self._on_piece)
        self.at_end: list[Callable[[], None]] = []  # calls that had to wait for the end
        self._thread = threading.Thread(target=self._run, name="edgecc", daemon=True)
        _jobs.add(self)
        self._thread.start()

    def _run(self) -> None:
        self.status = self._call(byref(self._generation), byref(self.usage), byref(self.error))
        with self._changed:
            self.ended = True
            self._changed.notify_all()
        for call in self.at_end:
            call()

    def _on_piece(self, _: Any, pointer: Any) -> int:
        given = pointer.contents
        piece = Piece(ctypes.string_at(given.text, given.size).decode("utf-8", "replace") if given.size else "",
                      given.id if given.id >= 0 else None, given.log_probability if self._with_logarithms and given.id >= 0 else None)
        with self._changed:
            self.pieces.append(piece)
            self._changed.notify_all()
            self._changed.wait_for(lambda: len(self.pieces) < self._taken + _AHEAD or self._takes_all or self._cancelled)
            return int(self._cancelled)

    def take(self) -> Piece | None:
        """The next piece; None after the last one."""
        with self._changed:
            self._changed.wait_for(lambda: self._taken < len(self.pieces) or self.ended)
            if self._taken == len(self.pieces):
                return None
            self._taken += 1
            self._changed.notify_all()
            return self.pieces[self._taken - 1]

    def cancel(self) -> None:
        """Ends the answer at the next token. What was generated stays, and can be taken."""
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()
        if not self.ended:
            self._lib.edgecc_chat_cancel(self._chat)

    def join(self, cancels: bool) -> None:
        """Waits for the end."""
        with self._changed:
            self._takes_all = True
            self._changed.notify_all()
        while self._thread.is_alive() and threading.current_thread() is not self._thread:
            if cancels:
                self.cancel()  # again and again: a call that has only begun forgets it
            self._thread.join(0.02 if cancels else None)

    def waits_for(self, call: Callable[[], None]) -> bool:
        """Whether this is the job's own thread, where the garbage collector may run in the middle of the job: then `call` is made at
        the end."""
        if self.ended or threading.current_thread() is not self._thread:
            return False
        self.cancel()
        self.at_end.append(call)
        return True


_jobs: "weakref.WeakSet[_Job]" = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    # Threads of the library must not come back to an interpreter that is gone.
    for job in list(_jobs):
        job.join(cancels=True)


def _generation(options: GenerationOptions, text: Text) -> tuple[abi.Generation, list[Any]]:
    """The options for the library, and what they point to."""
    unknown = set(options) - set(GenerationOptions.__annotations__)
    if unknown:
        raise TypeError(f"there is no option {', '.join(sorted(unknown))}; options are {', '.join(GenerationOptions.__annotations__)}")
    generation = abi.Generation()
    abi.library().edgecc_generation_init(text._handle, byref(generation))
    for name in ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "max_tokens"):
        if options.get(name) is not None:
            value = options[name]
            if isinstance(value, int) and not 0 <= value < 2**32 and name in ("top_k", "max_tokens"):
                raise ValueError(f"{name} must be 0 to {2**32 - 1}, not {value}")
            setattr(generation, name, value)
    seed = options.get("seed")
    generation.seed = int.from_bytes(os.urandom(8), "little") if seed is None else seed & 2**64 - 1
    biases = [abi.LogitBias(id, bias) for id, bias in (options.get("logit_bias") or {}).items()]
    generation.biases, generation.bias_count = (abi.LogitBias * len(biases))(*biases), len(biases)
    stop = options.get("stop") if options.get("stop") is not None else []
    stops = [_utf8(s) for s in ([stop] if isinstance(stop, str) else stop or [])]
    array = (c_char_p * len(stops))(*stops)
    generation.stops, generation.stop_count = array, len(stops)
    generation.log_probabilities = bool(options.get("log_probabilities"))
    generation.ignore_stop_tokens = bool(options.get("ignore_stop_tokens"))
    generation.prefill_chunk = options.get("chunk", 0)
    policy = options.get("context_policy", "refuse")
    if policy not in abi.CONTEXT_POLICIES:
        raise ValueError(f"context_policy is {' or '.join(abi.CONTEXT_POLICIES)}, not {policy}")
    generation.context_policy = abi.CONTEXT_POLICIES.index(policy)
    return generation, [biases, stops, array]


class Answer(Iterator[Piece], abi.Closing):
    """Text that is being generated: an iterator of its pieces, in another thread a few pieces ahead. `text` and `usage` wait for the end.
    Closing it, or dropping it, ends the generation; what has been generated stays."""

    def __init__(self, chat: "Chat", job: _Job, added: int):
        """For this module."""
        self._chat, self._job, self._added = chat, job, added
        self._ended = False

    def __iter__(self) -> "Answer":
        return self

    def __next__(self) -> Piece:
        try:
            piece = None if self._ended else self._job.take()
        except BaseException:  # Ctrl-C
            self.close()
            raise
        if piece is not None:
            return piece
        if not self._ended:
            self._end(cancels=False)
            self._check()
        raise StopIteration

    @property
    def text(self) -> str:
        """The whole text; waits for its end."""
        self._end(cancels=False)
        self._check()
        return "".join(self._job.pieces)

    @property
    def usage(self) -> Usage:
        """Figures, and why the text ended; waits for its end."""
        self._end(cancels=False)
        self._check()
        given = self._job.usage
        return Usage(given.prompt_tokens, given.cached_tokens, given.generated_tokens, given.first_token_seconds, given.seconds,
                     given.dropped_messages, abi.library().edgecc_finish_name(given.finish).decode())

    def cancel(self) -> None:
        """Ends the text at the next token. Pieces that were generated can still be taken. May be called from any thread."""
        self._job.cancel()

    def close(self) -> None:
        """Ends the generation and waits until it has ended."""
        self._end(cancels=True)

    def _check(self) -> None:
        check(self._job.status, self._job.error)

    def _end(self, cancels: bool) -> None:
        if self._ended:
            return
        if self._job.waits_for(self.close):
            return
        self._job.join(cancels)
        self._ended = True
        self._chat._ended(self._job.status, self._added)

    def __str__(self) -> str:
        return self.text

    def __del__(self) -> None:
        if hasattr(self, "_ended"):
            self.close()


class Chat(abi.Closing):
    """A conversation: messages, and answers of the model to them. Of each prompt only what is new is computed. One thread at a time, but for
    `cancel`. While an answer is generated, the conversation takes nothing else."""

    def __init__(self, model: "Model", session: "Session", *, owns: bool = True, system: str | None = None,
                 tools: Sequence[Any] | None = None, variables: Mapping[str, Any] | None = None):
        """For this package: use `model.chat`."""
        self.model, self.session, self._owns = model, session, owns
        self._lib, self._handle, self._system = abi.library(), c_void_p(), system
        self._is_once = False  # it is closed with its answer
        self._answer: Callable[[], Answer | None] = lambda: None
        self._job: _Job | None = None
        self.text, error = model._require_text(), abi.Error()
        if tools is not None and not self.text.has_tools:
            raise EdgeccError(f"{model.name}: the chat template has no notation for calls of tools, or one that is not known")
        session._take(self)
        try:
            check(self._lib.edgecc_chat_open(self.text._handle, model._handle, session._handle, byref(self._handle), byref(error)), error)
        except BaseException:
            session._release(self)
            raise
        model._chats.add(self)
        if tools is not None:
            self.set("tools", list(tools))
        for name, value in (variables or {}).items():
            self.set(name, value)
        if system is not None:
            self.add("system", system)

    def _idle(self) -> c_void_p:
        """The handle, if nothing is being generated."""
        if not self._handle:
            raise EdgeccError("the conversation is closed")
        answer = self._answer()
        if answer is not None and not answer._ended:
            # An answer that was generated to its end is no longer in the way.
            if not answer._job.ended:
                raise EdgeccError("an answer is still being generated: take it to its end, or close it")
            answer._end(cancels=False)
        return self._handle

    @overload
    def add(self, role: str, content: str) -> None: ...
    @overload
    def add(self, message: Message | Sequence[Message]) -> None: ...

    def add(self, *arguments: Any, **named: Any) -> None:
        """Adds a message: add("user", "Hello"), add({"role": "tool", "content": ...}), or a list of these. Roles are "system", "user",
        "assistant", "tool" and what else the model's chat template knows."""
        message, error = _message(*arguments, **named), abi.Error()
        if isinstance(message, tuple):
            role, content = map(_utf8, message)
            check(self._lib.edgecc_chat_add(self._idle(), role, content, len(content), byref(error)), error)
            return
        data = _json(message)
        check(self._lib.edgecc_chat_add_json(self._idle(), data, len(data), byref(error)), error)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages so far, as `add` takes them."""
        return json.loads(_read(self._lib.edgecc_chat_save, self._idle()))

    @property
    def tool_calls(self) -> list[ToolCall]:
        """Calls of tools in the last answer, if `model.chat` was given tools. They are no part of the answer's text."""
        handle, given, error, calls = self._idle(), abi.ToolCall(), abi.Error(), []
        for i in range(self._lib.edgecc_chat_tool_call_count(handle)):
            check(self._lib.edgecc_chat_tool_call(handle, i, byref(given), byref(error)), error)
            calls.append(ToolCall(given.id.decode(), given.name.decode(), json.loads(ctypes.string_at(given.arguments, given.arguments_size))))
        return calls

    def __len__(self) -> int:
        """Number of messages."""
        return self._lib.edgecc_chat_message_count(self._idle())

    def __bool__(self) -> bool:
        return True

    def remove(self, count: int = 1) -> None:
        """Removes the last `count` messages."""
        error = abi.Error()
        check(self._lib.edgecc_chat_remove(self._idle(), count, byref(error)), error)

    def reset(self) -> None:
        """Begins anew: removes all messages but the system message that `model.chat` was given. Variables stay."""
        self._lib.edgecc_chat_clear(self._idle())
        if self._system is not None:
            self.add("system", self._system)

    def set(self, variable: str, value: Any) -> None:
        """Sets a variable of the chat template, such as enable_thinking, to a value that JSON has."""
        data, error = _json(value), abi.Error()
        check(self._lib.edgecc_chat_set(self._idle(), _utf8(variable), data, len(data), byref(error)), error)

    def prompt(self) -> str:
        """The text that an answer would begin with, as the chat template makes it of the messages."""
        return _read(self._lib.edgecc_chat_prompt, self._idle())

    def answer(self, **options: Unpack[GenerationOptions]) -> Answer:
        """Answers the messages so far. The answer becomes a message when it has ended; after an error the messages are as before."""
        return self._start(functools.partial(self._lib.edgecc_chat_answer, self._idle()), options)

    def send(self, message: str | Message | Sequence[Message], **options: Unpack[GenerationOptions]) -> Answer:
        """Adds a message (a text is the user's) and answers it. After an error the message is gone."""
        before = len(self)
        if isinstance(message, str):
            self.add("user", message)
        else:
            self.add(message)
        count = len(self) - before

        try:
            return self._start(functools.partial(self._lib.edgecc_chat_answer, self._idle()), options, added=count)
        except BaseException:
            self.remove(count)
            raise

    def _complete(self, prompt: str, flags: int, options: GenerationOptions) -> Answer:
        """Continues a text; the conversation is closed at the end."""
        handle, utf8, self._is_once = self._idle(), _utf8(prompt), True
        return self._start(functools.partial(self._lib.edgecc_chat_complete, handle, utf8, len(utf8), flags), options)

    def _start(self, call: Callable[..., int], options: GenerationOptions, added: int = 0) -> Answer:
        """`added` messages go if there is no answer."""
        self._job = _Job(self._handle, options, self.text, call)
        answer = Answer(self, self._job, added)
        self._answer = weakref.ref(answer)
        return answer

    def _is_over(self) -> bool:
        """Whether it is closed, or its only answer has been generated; then it is closed now."""
        if self._handle and self._is_once and self._job is not None and self._job.ended:
            self.close()
        return not self._handle

    def _ended(self, status: int, added: int) -> None:
        if status and added and self._handle:
            self._lib.edgecc_chat_remove(self._handle, added, None)
        if self._is_once:
            self.close()

    def cancel(self) -> None:
        """Ends the answer that is being generated. May be called from any thread and from a signal's handler."""
        answer = self._answer()
        if answer is not None:
            answer.cancel()

    def close(self) -> None:
        """Ends the conversation; an answer that is being generated is cancelled."""
        if self._job is not None:
            if self._job.waits_for(self.close):
                return
            self._job.join(cancels=True)
        answer = self._answer()
        if answer is not None:
            answer.close()
        if self._handle:
            handle, self._handle = self._handle, c_void_p()
            self._lib.edgecc_chat_close(handle)
        self.session._release(self)
        if self._owns:
            self.session.close()


def _message(*arguments: Any, **named: Any) -> Any:
    """(role, content) of texts, else what JSON is made of."""
    values = dict(zip(("role", "content"), arguments), **named)
    if len(arguments) == 1 and not named and not isinstance(arguments[0], str):
        return arguments[0]
    if len(arguments) > 2 or values.keys() not in ({"role", "content"}, {"message"}):
        raise TypeError('add takes a role and a content, a message like {"role": ..., "content": ...}, or a list of messages')
    if "message" in values:
        return values["message"]
    if isinstance(values["role"], str) and isinstance(values["content"], str):
        return values["role"], values["content"]
    return values


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError) as error:
        raise EdgeccError(f"JSON has no such value: {error}") from None
