"""Quantized weights in numpy: their panels (dialects/edge/Quantization.h), and products as they are defined. Written from the definitions, not
from the compiler's code: what the two agree on is the contract."""

import numpy as np

from harness import DTYPES, Case, tensor


class Weight:
    """n channels of k random numbers, with one scale per `group` of them (0: per channel)."""

    def __init__(self, rng, n, k, bits, group, scale="f16", zeros=None):
        self.n, self.k, self.bits, self.group, self.scale, self.zero_kind = n, k, bits, group, scale, zeros
        self.size = group or k
        self.groups = -(-k // self.size)
        self.q = rng.integers(0, 1 << bits, (n, self.groups * self.size))
        self.scales = (0.5 + rng.random((n, self.groups))).astype(DTYPES[scale])
        middle = 1 << (bits - 1)
        self.zeros = np.full((n, self.groups), middle, np.float64)
        self.outliers, self.columns = None, None
        if zeros == "i8":
            self.zeros = rng.integers(0, 1 << bits, (n, self.groups)).astype(np.float64)
        if zeros == "float":
            self.zeros = (middle + rng.integers(-8 * middle, 8 * middle, (n, self.groups)) / 8).astype(np.float64)

    def keep(self, rng, channels):
        """Input channels that stay floats: their numbers mean zero."""
        self.outliers = np.asarray(sorted(channels), np.int32)
        self.columns = rng.standard_normal((self.n, len(channels))).astype(np.float16)
        for channel in self.outliers:
            self.q[:, channel] = self.zeros[:, channel // self.size]
        return self

    def outlier_operands(self, shapes, elements, inputs):
        """How an op says its outliers, which become its next operands; their weights are [ceil(n / 16), outliers, 16]."""
        filled, count = np.pad(self.columns, ((0, -self.n % 16), (0, 0))), len(self.outliers)
        columns = np.ascontiguousarray(filled.reshape(-1, 16, count).transpose(0, 2, 1))
        shapes += [[count], list(columns.shape)]
        elements += ["i32", "f16"]
        inputs += [self.outliers, columns]
        return "outliers(%%2, %%3 : tensor<%dxi32>, %s)" % (count, tensor(list(columns.shape), "f16"))

    def attribute(self, activations):
        return "#edge.quantization<bits = %d, group = %d, scale = %s%s, activations = %s>" % (
            self.bits, self.group, self.scale, ", zeros = true" if self.zero_kind else "", activations)

    def values(self):
        """[n, k] as the weight is meant."""
        by_group = self.q.reshape(self.n, self.groups, self.size)
        return ((by_group - self.zeros[..., None]) * self.scales.astype(np.float64)[..., None]).reshape(self.n, -1)[:, :self.k]

    def raw(self):
        """Layout nk: numbers, scales, and zeros or None."""
        q = self.q.reshape(self.n, self.groups, self.size)
        if self.bits == 4:
            q = np.pad(q, ((0, 0), (0, 0), (0, self.size % 2)))
            q = q[..., 0::2] | q[..., 1::2] << 4
        zeros = None if not self.zero_kind else self.zeros.astype(np.uint8 if self.zero_kind == "i8" else DTYPES[self.scale])
        return q.astype(np.uint8), self.scales, zeros

    def panels(self, arch):
        """[ceil(n / 16), bytes of a panel]"""
        unit, alignment, signed = (4, 16, True) if arch == "aarch64" else (16, 64, False)
        middle, size = 1 << (self.bits - 1), -(-self.size // 16) * 16
        panels, kind = -(-self.n // 16), DTYPES[self.scale]
        groups = -(-self.k // size)
        q = np.full((panels * 16, groups, size), middle if signed else 0)
        q[:self.n, :, :self.size] = self.q.reshape(self.n, self.groups, self.size)
        scales, zeros = np.zeros((panels * 16, groups), kind), np.zeros((panels * 16, groups), kind)
        scales[:self.n], zeros[:self.n] = self.scales, (self.zeros - middle).astype(kind)
        q[:self.n, :, self.size:] = 0  # what fills up a channel is packed like a number
        header = 16 * kind(0).itemsize * (2 if self.zero_kind else 1)
        per_block = 2 if header % alignment and groups % 2 == 0 else 1
        out = []
        for panel in range(panels):
            rows = slice(panel * 16, panel * 16 + 16)
            for block in range(0, groups, per_block):
                inside = range(block, block + per_block)
                head = b"".join(scales[rows, g].tobytes() for g in inside)
                if self.zero_kind:
                    head += b"".join(zeros[rows, g].tobytes() for g in inside)
                out.append(head + bytes(-len(head) % alignment))
                for g in inside:
                    numbers = (q[rows, g] - middle) % (1 << self.bits) if signed else q[rows, g]
                    if signed:
                        numbers = np.where(np.arange(panel * 16, panel * 16 + 16)[:, None] < self.n, numbers, 0)
                    if arch == "aarch64" and groups == 1:  # pairs
                        pieces = numbers.reshape(16 // unit, unit, size // 8, 8)
                        if self.bits == 4:
                            pieces = pieces[:, :2] | pieces[:, 2:] << 4
                    elif self.bits == 4:
                        steps = numbers.reshape(16 // unit, unit, size // 8, 2, 4)
                        pieces = steps[:, :, :, 0] | steps[:, :, :, 1] << 4
                    else:
                        pieces = numbers.reshape(16 // unit, unit, size // 4, 4)
                    order = (2, 0, 1, 3) if arch == "aarch64" and groups == 1 else (0, 2, 1, 3)
                    out.append(pieces.transpose(order).astype(np.uint8).tobytes())
        return np.frombuffer(b"".join(out), np.uint8).reshape(panels, -1)


def quantize(x, size):
    """int8 with one scale per `size` elements of a row, in the arithmetic that the kernels promise; gives the floats they stand for."""
    m, k = x.shape
    padded = np.pad(x.astype(np.float32), ((0, 0), (0, -k % size))).reshape(m, -1, size)
    highest = np.abs(padded).max(-1, keepdims=True)
    scale = np.where(highest == 0, np.float32(1), highest * np.float32(1 / 127))
    inverse = np.where(highest == 0, np.float32(0), np.float32(127) / np.where(highest == 0, np.float32(1), highest))
    return (np.rint(padded * inverse).astype(np.float64) * scale).reshape(m, -1)[:, :k]


def linear(rng, m, weight, activations, arch, dynamic=True, lhs="f32", out=None, bias=False, zero_row=False, outlier_size=1):
    n, k, out = weight.n, weight.k, out or lhs
    x = rng.standard_normal((m, k)).astype(DTYPES[lhs])
    if zero_row:
        x[m // 2] = 0
    if weight.outliers is not None:
        x[:, weight.outliers] *= outlier_size
    rest = x.copy()
    if weight.outliers is not None:
        rest[:, weight.outliers] = 0
    seen = {"float": rest.astype(np.float64), "token": quantize(rest, k), "group": quantize(rest, weight.size)}[activations]
    y = seen @ weight.values().T
    panels = weight.panels(arch)
    rows = "s0" if dynamic else m
    shapes, elements, inputs = [[rows, k], list(panels.shape)], [lhs, "i8"], [x, panels]
    extras, region = "", ""
    if weight.outliers is not None:
        y = y + x[:, weight.outliers].astype(np.float64) @ weight.columns.astype(np.float64).T
        extras = weight.outlier_operands(shapes, elements, inputs)
    if bias:
        b = rng.standard_normal(n).astype(np.float32)
        y, extras = y + b, extras + " extras(%%%d : tensor<%dxf32>)" % (len(inputs), n)
        shapes, elements, inputs = shapes + [[n]], elements + ["f32"], inputs + [b]
        region = "{\n^bb0(%a: f32, %b: f32):\n%s = arith.addf %a, %b : f32\nedge.yield %s : f32\n}"
    text = "  %r = edge.linear %0, %1 {} {{layout = 2 : i32, quantization = {}}} : {}, {} -> {} {}".format(
        extras, weight.attribute(activations), tensor(shapes[0], lhs), tensor(shapes[1], "i8"), tensor([rows, n], out), region)
    return Case(text, inputs, y, shapes, [rows, n], elements, out, [m])


def embedding(ids, weight, arch):
    ids = np.asarray(ids, np.int64)
    panels = weight.panels(arch)
    values, outliers = weight.values(), ""
    shapes, elements, inputs = [["s0"], list(panels.shape)], ["i64", "i8"], [ids, panels]
    if weight.outliers is not None:
        values[:, weight.outliers] = weight.columns
        outliers = weight.outlier_operands(shapes, elements, inputs)
    text = "  %r = edge.embedding %0, %1 {} {{layout = 2 : i32, rows = {} : i64, quantization = {}}} : {}, {} -> {}".format(
        outliers, weight.n, weight.attribute("float"), tensor(["s0"], "i64"), tensor(list(panels.shape), "i8"), tensor(["s0", weight.k], "f32"))
    return Case(text, inputs, values[ids], shapes, ["s0", weight.k], elements, "f32", [len(ids)])
