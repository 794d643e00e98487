"""Ranks sentences by meaning with a compiled MiniLM, for tools/demo --encoder."""

import sys
import time

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
    model = edgecc.load(artifact)
    names = {tensor.name for tensor in model.entries[0].inputs}
    assert model.text, f"{artifact} has no tokenizer"
    text = model.text

    def embed(texts: list[str]) -> np.ndarray:
        inputs = text.batch(texts)
        vectors = model.run({name: value for name, value in inputs.items() if name in names})["sentence_embedding"]
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

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
