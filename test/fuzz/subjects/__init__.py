"""What is fuzzed: a generator of cases for each subject, and what is done to its cases."""

from __future__ import annotations

import zlib
from typing import Callable

import numpy as np

from graph import Case
from mutate import near_miss
from variants import flagged, optimized, quantizable

from .attention import attention
from .decoders import decoders
from .elementwise import elementwise
from .linears import linears
from .moves import moves
from .norms import norms
from .operators import operators
from .rope import rope
from .shapes import shapes

Generator = Callable[[np.random.Generator], Case]
Variant = Callable[[Case, np.random.Generator], Case]
GENERATORS: dict[str, Generator] = {"attention": attention, "operators": operators, "decoders": decoders, "rope": rope, "norms": norms,
                                    "linears": linears, "elementwise": elementwise, "moves": moves, "shapes": shapes}
# Near misses of all; the optimizer where it fuses; flags where there are weights.
VARIANTS: dict[str, tuple[Variant, list[str]]] = {
    "miss": (near_miss, list(GENERATORS)),
    "optimized": (optimized, ["attention", "operators", "decoders", "norms", "linears", "rope"]),
    "flags": (flagged, ["decoders", "linears", "attention"]),
}
FLAG_TRIES = 30  # graphs that are drawn until one has a weight that --quant takes
SUBJECTS = [*GENERATORS, *[f"{name}-{variant}" for variant, (_, names) in VARIANTS.items() for name in names]]


def make_case(subject: str, seed: int) -> Case:
    """The same case for the same subject and seed."""
    rng = np.random.default_rng([zlib.crc32(subject.encode()), seed])
    name, _, variant = subject.partition("-")
    case = GENERATORS[name](rng)
    for _ in range(FLAG_TRIES if variant == "flags" else 0):
        if quantizable(case.model):
            break
        case = GENERATORS[name](rng)
    return VARIANTS[variant][0](case, rng) if variant else case
