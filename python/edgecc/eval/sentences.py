"""Sentence vectors as the input of a classifier: the intents of Banking77 (Casanueva et al. 2020) by logistic regression."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import Any, Callable

import numpy as np

from ..errors import EdgeccError
from ..runtime import load
from ..wordpiece import WordPiece
from .oracle import oracle_session

_BATCH, _LONGEST = 16, 128
Encode = Callable[[dict[str, np.ndarray]], np.ndarray]


def read(directory: Path, part: str, count: int | None) -> tuple[list[str], np.ndarray]:
    """The sentences of `part` (train or test) and their intents; of `count`, evenly spread."""
    with open(directory / f"{part}.csv", newline="", encoding="utf-8") as file:
        rows = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    if count and count < len(rows):
        rows = [rows[i] for i in np.linspace(0, len(rows) - 1, count).astype(int)]
    return [text for text, _ in rows], np.array([category for _, category in rows])


def embed(tokenizer: WordPiece, sentences: list[str], encode: Encode) -> np.ndarray:
    """[sentences, width], in batches of sentences about as long as each other, since padding is work."""
    order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
    vectors: dict[int, np.ndarray] = {}
    for begin in range(0, len(order), _BATCH):
        some = order[begin:begin + _BATCH]
        feeds = tokenizer.batch([sentences[i] for i in some], _LONGEST)
        vectors.update(zip(some, encode(feeds)))
    return np.stack([vectors[i] for i in range(len(sentences))])


def write_samples(vocabulary: Path, directory: Path, file: Path, count: int = 64) -> None:
    """Training sentences for --calibrate, [count, longest]."""
    file.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = WordPiece(vocabulary).batch(read(directory, "train", count)[0], _LONGEST)
    np.savez(file, **arrays)


def measure(vocabulary: Path, directory: Path, cache: Path, count: int | None) -> Callable[[Path, Path], dict[str, float]]:
    """Accuracy on the test sentences of a classifier fitted to the training sentences' vectors, which are kept in `cache` by the
    model's contents. The reference is the same with the vectors of ONNX Runtime."""
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise EdgeccError("the sentence task needs scikit-learn: pip install scikit-learn") from None
    tokenizer = WordPiece(vocabulary)
    train, wanted = read(directory, "train", count)
    test, right = read(directory, "test", count)
    reference: list[Any] = []

    def vectors(file: Path, encode: Callable[[], Encode]) -> np.ndarray:
        key = hashlib.sha256(file.read_bytes() + str(count).encode()).hexdigest()[:24]
        path = cache / f"{file.stem}-{key}.npy"
        if not path.exists():
            cache.mkdir(parents=True, exist_ok=True)
            np.save(path, embed(tokenizer, train + test, encode()))
        found: np.ndarray = np.load(path)
        return found

    def predict(x: np.ndarray) -> np.ndarray:
        classifier = LogisticRegression(C=10, max_iter=300).fit(x[:len(train)], wanted)
        answers: np.ndarray = classifier.predict(x[len(train):])
        return answers

    def by_oracle(model: Path) -> Encode:
        session = oracle_session(model)
        names = {i.name for i in session.get_inputs()}
        return lambda feeds: session.run(["sentence_embedding"], {k: v for k, v in feeds.items() if k in names})[0]

    def by_edge(edge: Path) -> Encode:
        model = load(edge)
        return lambda feeds: model.run(feeds)["sentence_embedding"].copy()

    def figures(model: Path, edge: Path) -> dict[str, float]:
        if not reference:
            x = vectors(model, lambda: by_oracle(model))
            reference.extend((x, predict(x)))
        x = vectors(edge, lambda: by_edge(edge))
        found, (oracle, answers) = predict(x), reference
        cosines = (x * oracle).sum(-1) / np.linalg.norm(x, axis=-1) / np.linalg.norm(oracle, axis=-1)
        return {"accuracy": float(np.mean(found == right)), "reference_accuracy": float(np.mean(answers == right)),
                "same": float(np.mean(found == answers)), "cosine": float(np.mean(cosines))}
    return figures
