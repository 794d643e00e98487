"""Sentence vectors as the input of a classifier: the intents of Banking77 (Casanueva et al. 2020) by logistic regression."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Callable

import numpy as np

from ..errors import EdgeccError
from ..text import Text
from .labelled import Example, Feeds, oracle

_BATCH, _LONGEST = 16, 128
# Samples of equal length are padded to the longest; few sentences are longer.
_LONGEST_SAMPLE = 32


def read(directory: Path, part: str, count: int | None) -> tuple[list[str], np.ndarray]:
    """The sentences of `part` (train or test) and their intents; of `count`, evenly spread."""
    with open(directory / f"{part}.csv", newline="", encoding="utf-8") as file:
        rows = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    if count and count < len(rows):
        rows = [rows[i] for i in np.linspace(0, len(rows) - 1, count).astype(int)]
    return [text for text, _ in rows], np.array([category for _, category in rows])


def embed(tokenizer: Text, sentences: list[str], encode: Callable[[Feeds], np.ndarray]) -> np.ndarray:
    """[sentences, width], in batches of sentences about as long as each other, since padding is work."""
    order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
    vectors: dict[int, np.ndarray] = {}
    for begin in range(0, len(order), _BATCH):
        some = order[begin:begin + _BATCH]
        feeds = tokenizer.batch([sentences[i] for i in some], _LONGEST)
        vectors.update(zip(some, encode(feeds)))
    return np.stack([vectors[i] for i in range(len(sentences))])


def fit_classifier(tokenizer: Path, directory: Path, encoder: Path, file: Path, count: int | None) -> None:
    """For edgecc-export --classifier: logistic regression on the vectors that ONNX Runtime gives of the training sentences."""
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise EdgeccError("the sentence task needs scikit-learn: pip install scikit-learn") from None
    sentences, intents = read(directory, "train", count)
    run = oracle(encoder)
    vectors = embed(Text.open(tokenizer), sentences, lambda feeds: run(feeds)["sentence_embedding"])
    fitted = LogisticRegression(C=10, max_iter=300).fit(vectors, intents)
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, weight=fitted.coef_, bias=fitted.intercept_, labels=fitted.classes_)


def examples(tokenizer: Path, directory: Path, classifier: Path, count: int | None) -> list[Example]:
    """The test sentences, one by one. An intent that the classifier does not know is none of its answers."""
    text = Text.open(tokenizer)
    labels = {str(label): i for i, label in enumerate(np.load(classifier)["labels"])}
    return [Example(text.batch([sentence], _LONGEST), labels.get(str(intent), -1)) for sentence, intent in zip(*read(directory, "test", count))]


def write_samples(tokenizer: Path, directory: Path, file: Path, count: int = 2048) -> None:
    """Training sentences for --calibrate, [count, longest]; those of more than 32 tokens are cut."""
    file.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = Text.open(tokenizer).batch(read(directory, "train", count)[0], _LONGEST_SAMPLE)
    np.savez(file, **arrays)
