"""Encoders by what they were made for: labelled examples, one a call, as a phone has them, each beside ONNX Runtime on the uncompressed
model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Mapping

import numpy as np

from ..runtime import load
from .oracle import oracle_session

Feeds = dict[str, np.ndarray]


@dataclass(frozen=True)
class Example:
    """A call, and the right one of its answers: logits [1, answers], or with `position` [1, tokens, answers]."""

    feeds: Feeds
    right: int
    position: int | None = None

    def answer(self, outputs: Mapping[str, np.ndarray]) -> int:
        logits = outputs["logits"][0]
        return int((logits if self.position is None else logits[self.position]).argmax())


def oracle(model: Path) -> Callable[[Feeds], dict[str, np.ndarray]]:
    """What ONNX Runtime makes of one call; inputs that the model does not have are left out."""
    session = oracle_session(model)
    inputs, outputs = ({t.name for t in session.get_inputs()}, [t.name for t in session.get_outputs()])
    return lambda feeds: dict(zip(outputs, session.run(outputs, {k: v for k, v in feeds.items() if k in inputs})))


def measure(examples: list[Example]) -> Callable[[Path, Path], dict[str, float]]:
    """Of a model and its artifact: the share of right answers, and of those that ONNX Runtime gives on the uncompressed model; where
    calls can end early, the layers that they run."""
    expected: list[int] = []
    right = np.array([e.right for e in examples])

    def figures(model: Path, edge: Path) -> dict[str, float]:
        if not expected:
            run = oracle(model)
            expected.extend(e.answer(run(e.feeds)) for e in examples)
        answers, layers = [], []
        with load(edge) as compiled, compiled.session() as session:
            for example in examples:
                answers.append(example.answer(session.run(example.feeds)))
                if compiled.exits:
                    layers.append(session.exit_report.last_layer)
        return {"accuracy": float(np.mean(np.array(answers) == right)), "reference_accuracy": float(np.mean(np.array(expected) == right)),
                "same": float(np.mean(np.array(answers) == np.array(expected))), **({"layers": float(np.mean(layers))} if layers else {})}
    return figures
