"""Encoders by what they were made for: labelled examples, one a call, as a phone has them, each beside ONNX Runtime on the uncompressed
model."""

from __future__ import annotations

from dataclasses import dataclass, field
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


@dataclass
class Task:
    """What an encoder is measured by."""

    name: str
    examples: list[Example]
    _expected: list[int] = field(init=False, default_factory=list)

    def measure(self, model: Path, edge: Path) -> dict[str, float]:
        """Of a model and its artifact: the share of right answers, and of those that ONNX Runtime gives on the uncompressed model, which
        is asked once; where calls can end early, the layers that they run."""
        if not self._expected:
            run = oracle(model)
            self._expected = [e.answer(run(e.feeds)) for e in self.examples]
        right, expected = np.array([e.right for e in self.examples]), np.array(self._expected)
        answers, layers = [], []
        with load(edge) as compiled, compiled.session() as session:
            for example in self.examples:
                answers.append(example.answer(session.run(example.feeds)))
                if compiled.exits:
                    layers.append(session.exit_report.last_layer)
        found = np.array(answers)
        accuracy, reference = float(np.mean(found == right)), float(np.mean(expected == right))
        return {"accuracy": accuracy, "reference_accuracy": reference, **({"kept": accuracy / reference} if reference else {}),
                "same": float(np.mean(found == expected)), **({"layers": float(np.mean(layers))} if layers else {})}
