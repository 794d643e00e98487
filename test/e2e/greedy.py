#!/usr/bin/env python3
"""Continues prompts greedily and prints the tokens of each.

    python test/e2e/greedy.py model.edge --tokens 8 [--cpu x86-64-v4] 1,2,3 4,5

Prints {"code": the code segment, "texts": [[token, ...], ...]}. A program of its own, so that a crash of
generated code is one test's failure.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python"))

import edgecc  # noqa: E402


def greedy(session: edgecc.Session, prompt: list[int], count: int) -> list[int]:
    tokens = [int(session.feed(np.array(prompt)).argmax())]
    while len(tokens) < count:
        tokens.append(int(session.feed(np.array(tokens[-1:])).argmax()))
    return tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("prompts", nargs="+", help="token ids, separated by commas")
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--cpu", help="code segment or CPU features to use")
    a = parser.parse_args()
    texts = []
    with edgecc.load(a.model, cpu=a.cpu) as model:
        for prompt in a.prompts:
            with model.session() as session:
                texts.append(greedy(session, [int(token) for token in prompt.split(",")], a.tokens))
        print(json.dumps({"code": model.code, "texts": texts}))


if __name__ == "__main__":
    main()
