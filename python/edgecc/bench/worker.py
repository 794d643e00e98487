"""One engine with one model in a process of its own, told by lines of JSON what to time. Engines may need different interpreters.

    python worker.py ENGINE MODEL THREADS CONTEXT [SETTING=NUMBER ...]      settings of the engine's own

    {"do": "prefill", "tokens": 128}                    -> {"seconds": 1.2}           of the whole prompt, from position 0
    {"do": "decode", "context": 512, "tokens": 16}      -> {"seconds": 0.02}          of one token; the last before the context
    {"do": "logits", "ids": [1, 2, 3]}                  -> {"best": [...], "values": [...]}
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from typing import Any, Sequence

import numpy as np


class Edgecc:
    """Through the C interface: what the Python package adds (copies of the logits) is not the engine's time."""

    def __init__(self, path: str, threads: int, context: int, settings: dict[str, int]):
        import edgecc
        from edgecc import abi

        self.abi, self.model = abi, edgecc.load(path)
        self.session = self.model.session(threads=threads, context=context)
        self.version = f"{self.model.compiler} ({self.model.code})"
        self.vocabulary = self.model.entries[0].outputs[0].shape[-1].max
        self.saved = b""

    def feed(self, ids: Sequence[int]) -> None:
        rest = np.asarray(ids, np.int64)
        while len(rest):
            count = self.model._chunk(len(rest))
            inputs = self.model._token_inputs(rest[:count], self.session.position)
            index = self.model._entry_index(None, inputs)
            error = self.abi.Error()
            for i, tensor in enumerate(self.model.entries[index].inputs):
                if tensor.optional:
                    continue
                kind = self.abi.TYPE_NAMES.index(tensor.type)
                array = np.ascontiguousarray(inputs[tensor.name], self.abi.DTYPES[kind])
                shape = (ctypes.c_int64 * array.ndim)(*array.shape)
                self.session._lib.edgecc_session_set_input(self.session._handle, index, i, kind, shape, array.ndim,
                                                           array.ctypes.data_as(ctypes.c_void_p), ctypes.byref(error))
            if self.session._lib.edgecc_session_run(self.session._handle, index, ctypes.byref(error)):
                sys.exit(error.message.decode())
            self.index, rest = index, rest[count:]

    def logits(self) -> np.ndarray:
        values = self.session._output(self.index, 0)
        return values.reshape(-1, values.shape[-1])[-1].astype(np.float32)

    def go_to(self, position: int, ids: Sequence[int]) -> None:
        """Going back forgets; forward again is only possible through what was saved."""
        if self.session.position < position:
            if not self.saved:
                self.session.position = 0
                self.feed(ids[:-1])
                self.saved = self.session.save()
            self.session.restore(self.saved)
        self.session.position = position


class LlamaCpp:
    def __init__(self, path: str, threads: int, context: int, settings: dict[str, int]):
        import llama_cpp as c

        self.c = c
        self.log = c.llama_log_callback(lambda level, text, data: None)  # kept alive
        c.llama_log_set(self.log, None)
        c.llama_backend_init()
        model = c.llama_model_load_from_file(path.encode(), c.llama_model_default_params())
        if not model:
            sys.exit(f"{path}: llama.cpp does not load it")
        params = c.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = context, 512, 512
        params.n_threads = params.n_threads_batch = threads
        for key, value in settings.items():
            setattr(params, key, value)
        self.context = c.llama_init_from_model(model, params)
        self.vocabulary = c.llama_vocab_n_tokens(c.llama_model_get_vocab(model))
        self.batch = c.llama_batch_init(512, 0, 1)
        self.position = 0
        self.version = f"llama-cpp-python {c.__version__}"

    def feed(self, ids: Sequence[int]) -> None:
        for start in range(0, len(ids), 512):
            part, batch = ids[start:start + 512], self.batch
            batch.n_tokens = len(part)
            for i, token in enumerate(part):
                batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = int(token), self.position + i, 1, 0
                batch.logits[i] = i + 1 == len(part)
            if self.c.llama_decode(self.context, batch) != 0:
                sys.exit("llama_decode failed")
            self.position += len(part)
        self.c.llama_synchronize(self.context)

    def logits(self) -> np.ndarray:
        return np.ctypeslib.as_array(self.c.llama_get_logits_ith(self.context, -1), (self.vocabulary,)).copy()

    def go_to(self, position: int, ids: Sequence[int]) -> None:
        if self.position < position:
            self.feed(ids[self.position:position])
        else:
            self.c.llama_memory_seq_rm(self.c.llama_get_memory(self.context), 0, position, -1)
            self.position = position


class OnnxRuntime:
    """Caches of full length, given as past and as present: appended in place."""

    def __init__(self, path: str, threads: int, context: int, settings: dict[str, int]):
        import onnxruntime as ort

        ort.set_default_logger_severity(3)
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.ort, self.position = ort, 0
        self.vocabulary = self.session.get_outputs()[0].shape[-1]
        self.version = f"onnxruntime {ort.__version__}"
        self.binding = self.session.io_binding()
        self.result = ort.OrtValue.ortvalue_from_numpy(np.zeros((1, 1, self.vocabulary), np.float32))
        self.binding.bind_ortvalue_output("logits", self.result)
        self.caches = []
        for tensor in self.session.get_inputs():
            if tensor.name.startswith("past_key_values."):
                # Not zeros: pages that were never written would all be one page, and in the cache.
                shape = [1, tensor.shape[1], context, tensor.shape[3]]
                cache = ort.OrtValue.ortvalue_from_numpy(np.full(shape, 0.01, np.float32))
                self.caches.append(cache)
                self.binding.bind_ortvalue_input(tensor.name, cache)
                self.binding.bind_ortvalue_output(tensor.name.replace("past_key_values", "present"), cache)

    def feed(self, ids: Sequence[int]) -> None:
        total = self.position + len(ids)
        self.binding.bind_cpu_input("input_ids", np.asarray(ids, np.int64)[None])
        self.binding.bind_cpu_input("attention_mask", np.ones((1, total), np.int64))
        self.session.run_with_iobinding(self.binding)
        self.position = total

    def logits(self) -> np.ndarray:
        return self.result.numpy().reshape(-1).copy()

    def go_to(self, position: int, ids: Sequence[int]) -> None:
        self.position = position


ENGINES: dict[str, Any] = {"edgecc": Edgecc, "llama.cpp": LlamaCpp, "onnxruntime": OnnxRuntime}


def answer(engine: Any, ids: list[int], question: dict[str, Any]) -> dict[str, Any]:
    if question["do"] == "logits":
        engine.go_to(0, ids)
        engine.feed(question["ids"])
        values = engine.logits()
        best = np.argsort(-values)[:question.get("count", 64)]
        return {"best": best.tolist(), "values": values[best].tolist(), "probe": values[:: max(1, len(values) // 4096)].tolist()}
    if question["do"] == "prefill":
        engine.go_to(0, ids)
        start = time.perf_counter()
        engine.feed(ids[:question["tokens"]])
        return {"seconds": time.perf_counter() - start}
    count = max(1, min(question["tokens"], question["context"] - 1))
    begin = question["context"] - count
    engine.go_to(begin, ids)
    engine.feed(ids[begin:begin + 1])  # the caches are still full of the other engines
    engine.go_to(begin, ids)
    start = time.perf_counter()
    for token in ids[begin:begin + count]:
        engine.feed([token])
    return {"seconds": (time.perf_counter() - start) / count}


def main() -> None:
    name, path, threads, context = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what engines print is not an answer
    try:
        settings = {key: int(value) for key, value in (text.split("=") for text in sys.argv[5:])}
        engine = ENGINES[name](path, threads, context, settings)
    except ImportError as error:
        print(json.dumps({"missing": f"{sys.executable} has no {error.name}"}), file=replies, flush=True)
        return
    ids = np.random.default_rng(0).integers(0, engine.vocabulary, context).tolist()
    print(json.dumps({"version": engine.version}), file=replies, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(engine, ids, json.loads(line))), file=replies, flush=True)


if __name__ == "__main__":
    main()
