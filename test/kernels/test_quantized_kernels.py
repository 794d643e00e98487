"""Every quantized row of kernels.def, through edge.linear and edge.embedding, against numpy (quantized.py)."""

import itertools

import numpy as np
import pytest

from harness import target_fixture, verify
from quantized import Weight, embedding, gated, linear, side_by_side

ACTIVATIONS = ("float", "token", "group")

target = target_fixture()


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.mark.parametrize("activations", ACTIVATIONS)
def test_groups(target, rng, activations):
    """Groups shorter and longer than a turn of the loops, a last group that is not full, an odd number of groups, zeros, both scales."""
    shapes = [(1, 32, 16), (2, 64, 80), (5, 96, 33), (13, 40, 20), (30, 128, 7)]
    kinds = [(4, 32, "f16", None), (8, 32, "f16", None), (4, 64, "f16", "i8"), (4, 16, "f32", None), (8, 128, "f32", "i8"),
             (4, 32, "f32", "float"), (8, 32, "f16", "float")]
    cases = []
    for index, (bits, group, scale, zeros) in enumerate(kinds):
        for m, k, n in shapes if index < 3 else [shapes[1], shapes[index % 5]]:
            cases.append(linear(rng, m, Weight(rng, n, k, bits, group, scale, zeros), activations, target.arch))
    verify(cases, target)


@pytest.mark.parametrize("activations", ("float", "token"))
def test_channels(target, rng, activations):
    """One scale per channel; k not a multiple of anything."""
    cases = [linear(rng, m, Weight(rng, n, k, bits, 0, *kind), activations, target.arch)
             for bits, (m, k, n), kind in itertools.product(
                 (4, 8), ((1, 16, 16), (3, 7, 5), (9, 33, 40), (26, 100, 36)), (("f16", None), ("f32", "i8")))]
    verify(cases, target)


@pytest.mark.parametrize("activations", ACTIVATIONS)
def test_one_row(target, rng, activations):
    """What decodes: the number of rows is known to be one."""
    cases = [linear(rng, 1, Weight(rng, n, k, bits, group, "f16", zeros), activations, target.arch, dynamic=False)
             for (n, k), (bits, group), zeros in itertools.product(
                 ((16, 64), (100, 96), (150, 260)), ((4, 32), (8, 32), (4, 0), (8, 0)), (None, "i8"))]
    verify(cases, target)


def test_all_heights(target, rng):
    """Rows of every height around the tallest tile and the interleaved four."""
    weights = [Weight(rng, 32, 64, bits, group) for bits, group in ((4, 32), (8, 0))]
    verify([linear(rng, m, w, "token", target.arch) for m, w in itertools.product((*range(1, 15), 24, 49), weights)], target)


def test_static_rows(target, rng):
    verify([linear(rng, m, Weight(rng, 40, 64, 4, 32), "token", target.arch, dynamic=False) for m in (2, 4, 7, 12, 13)], target)


def test_large(target, rng):
    """Many panels, groups and tasks; the range of the accumulators: all numbers at the ends of theirs."""
    cases = [linear(rng, m, Weight(rng, n, k, bits, group), activations, target.arch) for m, n, k, bits, group, activations in (
        (65, 400, 512, 4, 32, "token"), (65, 200, 512, 8, 0, "token"), (1, 1100, 1024, 4, 32, "group"), (7, 48, 4096, 8, 128, "token"))]
    for bits, q in itertools.product((4, 8), (0, -1)):
        w = Weight(rng, 16, 1024, bits, 0 if bits == 8 else 128)
        w.q[:] = q % (1 << bits)
        cases.append(linear(rng, 2, w, "token", target.arch))
        cases[-1].inputs[0][:] = 1
        cases[-1].expected = np.ones((2, 1024)) @ w.values().T
    verify(cases, target)


def test_epilogue_and_types(target, rng):
    verify([linear(rng, m, Weight(rng, n, 64, 4, 32), a, target.arch, bias=True, zero_row=True)
            for m, n, a in itertools.product((1, 14), (16, 37), ("float", "token"))] +
           [linear(rng, m, Weight(rng, 24, 80, 8, 0), a, target.arch, lhs=e)
            for m, a, e in itertools.product((1, 6), ("float", "token"), ("f16", "bf16"))], target)


def test_embedding(target, rng):
    kinds = [(4, 32, "f16", None), (8, 0, "f32", None), (4, 0, "f16", "i8"), (8, 32, "f16", "float"), (4, 64, "f16", "i8")]
    verify([embedding([0, 33, 16, 15, 39], Weight(rng, 40, k, *kind), target.arch) for k, kind in itertools.product((64, 70), kinds)], target)


@pytest.mark.parametrize("activations", ACTIVATIONS)
def test_outliers(target, rng, activations):
    """One column, a dozen, both ends of k; they are a hundred times the rest, which must not coarsen it."""
    cases = []
    for (bits, group, zeros), (m, k, n), dynamic in itertools.product(
            ((4, 32, None), (8, 0, None), (4, 0, "i8"), (8, 32, "i8")), ((1, 64, 48), (6, 100, 20), (29, 64, 33)), (True, False)):
        if group or activations != "group":
            for channels in ({0}, {k - 1, *range(3, 25, 2)}):
                weight = Weight(rng, n, k, bits, group, "f16", zeros).keep(rng, channels)
                cases.append(linear(rng, m, weight, activations, target.arch, dynamic, bias=m == 6, outlier_size=100))
    verify(cases, target)


def test_outliers_of_narrow_floats_and_tables(target, rng):
    verify([linear(rng, 5, Weight(rng, 40, 64, 4, 32).keep(rng, {1, 62}), a, target.arch, lhs="f16") for a in ("float", "token")] +
           [embedding([0, 33, 16], Weight(rng, 40, 70, 4, 32).keep(rng, {0, 5, 69}), target.arch)], target)


@pytest.mark.parametrize("activations", ("float", "token"))
def test_gated(target, rng, activations):
    """Two weights in one kernel; a last panel that is not full; rows that fill no tile."""
    verify([gated(rng, m, Weight(rng, n, 96, bits, group), Weight(rng, n, 96, bits, group), activations, target.arch, dynamic)
            for (bits, group), (m, n), dynamic in itertools.product(((4, 32), (8, 0)), ((1, 64), (5, 40), (30, 80)), (True, False))], target)


@pytest.mark.parametrize("activations", ("float", "token"))
def test_side_by_side(target, rng, activations):
    """Query, key and value: tasks of three weights, of two widths."""
    verify([side_by_side(rng, m, Weight(rng, 256, k, bits, group), [Weight(rng, 128, k, bits, group) for _ in range(2)], activations, target.arch)
            for (bits, group), m, k in itertools.product(((4, 32), (8, 0)), (1, 5, 30), (64, 1024))], target)
