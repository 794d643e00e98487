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


def gated(rng, m, gate, up, activations, arch, dynamic=True):
    """up(x) * (gate(x) + b): two products of one input, of which only this is stored."""
    k, n, rows = gate.k, gate.n, "s0" if dynamic else m
    x, b = rng.standard_normal((m, k)).astype(np.float32), rng.standard_normal(n).astype(np.float32)
    seen = x.astype(np.float64) if activations == "float" else quantize(x, k)
    panels = [w.panels(arch) for w in (gate, up)]
    shapes = [[rows, k], list(panels[0].shape), list(panels[1].shape), [n]]
    types = [tensor(s, e) for s, e in zip(shapes, ("f32", "i8", "i8", "f32"))]
    result = tensor([rows, n], "f32")
    attributes = "{layout = 2 : i32, quantization = %s}" % gate.attribute(activations)
    text = f"""  %g = edge.linear %0, %1 extras(%3 : {types[3]}) {attributes} : {types[0]}, {types[1]} -> {result} {{
  ^bb0(%s: f32, %b: f32):
    %t = arith.addf %s, %b : f32
    edge.yield %t : f32
  }}
  %r = edge.linear %0, %2 extras(%g : {result}) {attributes} : {types[0]}, {types[2]} -> {result} {{
  ^bb0(%s: f32, %g0: f32):
    %t = arith.mulf %s, %g0 : f32
    edge.yield %t : f32
  }}"""
    y = (seen @ up.values().T) * (seen @ gate.values().T + b)
    return Case(text, [x, *panels, b], y, shapes, [rows, n], ["f32", "i8", "i8", "f32"], "f32", [m])


def side_by_side(rng, m, wide, narrow, activations, arch):
    """Three products of one input, each with a bias: [m, 2, n] + [m, 1, n] * [m, 1, n]."""
    k, n = narrow[0].k, narrow[0].n
    weights = [wide, *narrow]
    x = rng.standard_normal((m, k)).astype(np.float32)
    seen = x.astype(np.float64) if activations == "float" else quantize(x, k)
    panels, biases = [w.panels(arch) for w in weights], [rng.standard_normal(w.n).astype(np.float32) for w in weights]
    shapes = [[m, k], *(list(p.shape) for p in panels), *([w.n] for w in weights)]
    elements = ["f32"] + ["i8"] * 3 + ["f32"] * 3
    types = [tensor(s, e) for s, e in zip(shapes, elements)]
    attributes = "{layout = 2 : i32, quantization = %s}" % wide.attribute(activations)
    text = "".join(f"""  %q{i} = edge.linear %0, %{i + 1} extras(%{i + 4} : {types[i + 4]}) {attributes} : {types[0]}, {types[i + 1]} -> tensor<{m}x{w.n}xf32> {{
  ^bb0(%s: f32, %b: f32):
    %t = arith.addf %s, %b : f32
    edge.yield %t : f32
  }}
""" for i, w in enumerate(weights))
    text += f"""  %parts = edge.reshape %q0 : tensor<{m}x{2 * n}xf32> -> tensor<{m}x2x{n}xf32>
  %none = tensor.empty() : tensor<{m}x2x{n}xf32>
  %r = linalg.generic {{indexing_maps = [affine_map<(i, h, j) -> (i, h, j)>, affine_map<(i, h, j) -> (i, j)>, affine_map<(i, h, j) -> (i, j)>,
      affine_map<(i, h, j) -> (i, h, j)>], iterator_types = ["parallel", "parallel", "parallel"]}}
      ins(%parts, %q1, %q2 : tensor<{m}x2x{n}xf32>, tensor<{m}x{n}xf32>, tensor<{m}x{n}xf32>) outs(%none : tensor<{m}x2x{n}xf32>) {{
  ^bb0(%a: f32, %b: f32, %c: f32, %o: f32):
    %p = arith.mulf %b, %c : f32
    %s = arith.addf %a, %p : f32
    linalg.yield %s : f32
  }} -> tensor<{m}x2x{n}xf32>"""
    q, a, b = (seen @ w.values().T + bias for w, bias in zip(weights, biases))
    return Case(text, [x, *panels, *biases], q.reshape(m, 2, n) + (a * b)[:, None], shapes, [m, 2, n], elements, "f32", [1])
