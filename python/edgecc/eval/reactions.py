"""The task that rxnmapper was trained for: fill in a masked token of a chemical reaction."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np

from ..runtime import load
from .oracle import oracle_session

# Tokens of reaction SMILES as in Schwaller et al. 2019.
_TOKEN = re.compile(r"\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\|/|:|~|@|\?|>>?|\*|\$|%[0-9]{2}|[0-9]")


def masked_examples(directory: Path, count: int | None = None) -> Iterator[tuple[dict[str, np.ndarray], int, int]]:
    """Inputs of one reaction with one token masked, its position, and the token; the position is seeded. Reactions that do not
    fit in 512 positions are left out."""
    ids = {token: i for i, token in enumerate((directory / "vocab.txt").read_text().split("\n"))}
    rng = np.random.default_rng(0)
    given = 0
    with open(directory / "example_rxns.csv", newline="") as file:
        for row in csv.DictReader(file):
            tokens = [ids.get(t, ids["[UNK]"]) for t in _TOKEN.findall(row["rxn"])]
            if len(tokens) > 510:
                continue
            if given == count:
                return
            given += 1
            sequence = np.array([[ids["[CLS]"], *tokens, ids["[SEP]"]]])
            position = int(rng.integers(1, len(tokens) + 1))
            token = int(sequence[0, position])
            sequence[0, position] = ids["[MASK]"]
            yield ({"input_ids": sequence, "attention_mask": np.ones_like(sequence), "token_type_ids": np.zeros_like(sequence)},
                   position, token)


def write_samples(directory: Path, file: Path, count: int = 32) -> None:
    """Whole reactions for --calibrate, [count, longest], padded."""
    rows = []
    for feeds, position, token in masked_examples(directory, count):
        feeds["input_ids"][0, position] = token
        rows.append(feeds)
    longest = max(r["input_ids"].shape[1] for r in rows)
    arrays: dict[str, Any] = {name: np.concatenate([np.pad(r[name], ((0, 0), (0, longest - r[name].shape[1]))) for r in rows]) for name in rows[0]}
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **arrays)


def measure(directory: Path, count: int | None) -> Callable[[Path, Path], dict[str, float]]:
    """Share of masked tokens that come back, and of those that ONNX Runtime finds on the uncompressed model."""
    examples = list(masked_examples(directory, count))
    expected: list[int] = []

    def figures(model: Path, edge: Path) -> dict[str, float]:
        if not expected:
            oracle = oracle_session(model)
            expected.extend(int(oracle.run(["logits"], feeds)[0][0, position].argmax()) for feeds, position, _ in examples)
        with load(edge) as compiled:
            found = np.array([compiled.run(feeds)["logits"][0, position].argmax() for feeds, position, _ in examples])
        tokens = np.array([token for *_, token in examples])
        return {"accuracy": float(np.mean(found == tokens)), "reference_accuracy": float(np.mean(np.array(expected) == tokens)),
                "same": float(np.mean(found == np.array(expected)))}
    return figures
