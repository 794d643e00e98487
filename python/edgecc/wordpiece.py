"""BERT's tokenizer from a vocab.txt, in the standard library alone: a sentence encoder then needs nothing but this package."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Sequence

import numpy as np

_LONGEST_WORD = 100  # letters; longer words are unknown


def _is_punctuation(c: str) -> bool:
    # All of ASCII that is neither letter, digit nor space counts, "$" and "^" among them.
    return 33 <= ord(c) <= 47 or 58 <= ord(c) <= 64 or 91 <= ord(c) <= 96 or 123 <= ord(c) <= 126 or \
        unicodedata.category(c).startswith("P")


def _is_ideograph(c: str) -> bool:
    code = ord(c)
    return 0x4E00 <= code <= 0x9FFF or 0x3400 <= code <= 0x4DBF or 0x20000 <= code <= 0x2CEAF or 0xF900 <= code <= 0xFAFF or \
        0x2F800 <= code <= 0x2FA1F


class WordPiece:
    """Words split at spaces and punctuation, then into the longest pieces of the vocabulary."""

    def __init__(self, vocabulary: str | os.PathLike[str], *, lowercase: bool = True):
        """`vocabulary` is a vocab.txt: a piece a line, "##" before those that continue a word."""
        lines = Path(vocabulary).read_text(encoding="utf-8").split("\n")
        self.pieces = lines[:-1] if lines and not lines[-1] else lines
        self.ids = {piece: i for i, piece in enumerate(self.pieces)}
        self.lowercase = lowercase
        missing = [p for p in ("[CLS]", "[SEP]", "[PAD]", "[UNK]") if p not in self.ids]
        if missing:
            raise ValueError(f"{vocabulary}: no {', '.join(missing)}: not the vocabulary of a BERT model")

    def _words(self, text: str) -> list[str]:
        if self.lowercase:
            # Letter by letter: no final sigma. Accents go with the case, as in the models trained so.
            text = "".join(c.lower() for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
        spaced = []
        for c in text:
            if c.isspace():
                spaced.append(" ")
            elif c == "\0" or c == "\ufffd" or unicodedata.category(c).startswith("C"):
                continue
            else:
                spaced.append(f" {c} " if _is_punctuation(c) or _is_ideograph(c) else c)
        return "".join(spaced).split()

    def _split(self, word: str) -> list[int]:
        ids, begin = [], 0
        while begin < len(word) <= _LONGEST_WORD:
            prefix = "##" if begin else ""
            for end in range(len(word), begin, -1):
                if prefix + word[begin:end] in self.ids:
                    ids.append(self.ids[prefix + word[begin:end]])
                    begin = end
                    break
            else:
                break
        return ids if begin == len(word) else [self.ids["[UNK]"]]

    def encode(self, text: str, limit: int = 512) -> list[int]:
        """[CLS], the pieces, [SEP]; at most `limit` ids."""
        ids = [i for word in self._words(text) for i in self._split(word)]
        return [self.ids["[CLS]"], *ids[:limit - 2], self.ids["[SEP]"]]

    def batch(self, texts: Sequence[str], limit: int = 512) -> dict[str, np.ndarray]:
        """The inputs of a BERT model for several texts: input_ids, attention_mask, token_type_ids, each [texts, longest]."""
        rows = [self.encode(text, limit) for text in texts]
        ids = np.full((len(rows), max(map(len, rows))), self.ids["[PAD]"], np.int64)
        mask = np.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, :len(row)], mask[i, :len(row)] = row, 1
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
