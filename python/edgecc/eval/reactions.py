"""The task that rxnmapper was trained for: fill in a masked token of a chemical reaction."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Iterator

import numpy as np

from .labelled import Example

# Tokens of reaction SMILES as in Schwaller et al. 2019.
_TOKEN = re.compile(r"\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\|/|:|~|@|\?|>>?|\*|\$|%[0-9]{2}|[0-9]")


def examples(directory: Path) -> Iterator[Example]:
    """One reaction with one token masked, at a seeded position. Reactions that do not fit in 512 positions are left out."""
    ids = {token: i for i, token in enumerate((directory / "vocab.txt").read_text().split("\n"))}
    rng = np.random.default_rng(0)
    with open(directory / "example_rxns.csv", newline="") as file:
        for row in csv.DictReader(file):
            tokens = [ids.get(t, ids["[UNK]"]) for t in _TOKEN.findall(row["rxn"])]
            if len(tokens) > 510:
                continue
            sequence = np.array([[ids["[CLS]"], *tokens, ids["[SEP]"]]])
            position = int(rng.integers(1, len(tokens) + 1))
            token = int(sequence[0, position])
            sequence[0, position] = ids["[MASK]"]
            feeds = {"input_ids": sequence, "attention_mask": np.ones_like(sequence), "token_type_ids": np.zeros_like(sequence)}
            yield Example(feeds, token, position)


def parts(directory: Path) -> tuple[list[Example], list[Example]]:
    """For calibration two of three, for the measurement the third, in turn, since the file is sorted by where reactions come from."""
    found = list(examples(directory))
    return [example for i, example in enumerate(found) if i % 3 != 2], found[2::3]


def write_samples(chosen: list[Example], file: Path) -> None:
    """For --calibrate, [count, longest], padded."""
    longest = max(e.feeds["input_ids"].shape[1] for e in chosen)
    arrays = {name: np.concatenate([np.pad(e.feeds[name], ((0, 0), (0, longest - e.feeds[name].shape[1]))) for e in chosen])
              for name in chosen[0].feeds}
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **arrays)  # type: ignore[arg-type]
