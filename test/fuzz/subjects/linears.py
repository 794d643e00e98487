"""Products with weights: linears that share an input, gated MLPs, and quantized weights in the forms of exporters."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from graph import F16, F32, Array, Case, Graph, Size


def codes(g: Graph, shape: tuple[int, ...], dtype: object) -> Array:
    """Without int8 beyond +-64: there ONNX Runtime's sums of two products saturate on processors without VNNI."""
    low, high = (0, 256) if dtype is np.uint8 else (-64, 64)
    return g.rng.integers(low, high, shape).astype(dtype)


def dequantized(g: Graph, rows: int, columns: int) -> str:
    """An int8 weight [rows, columns] by DequantizeLinear: one scale, one for each column or row, or by blocks."""
    dtype = g.pick(np.int8, np.uint8)
    axis = int(g.pick(-1, 0, 1, 2))
    count = {-1: (), 0: (rows,), 1: (columns,), 2: (1,)}[axis]
    scale = g.param((g.rng.random(count) + 0.1) * 0.02, F32)
    zero = [g.param(codes(g, count, dtype) // 8)] if g.chance(0.6) or dtype is np.uint8 else []
    return g("DequantizeLinear", g.param(codes(g, (rows, columns), dtype)), scale, *zero, **({"axis": axis % 2} if axis in (0, 1) else {}))


def cast_scaled(g: Graph, rows: int, columns: int) -> str:
    value = g("Cast", g.param(codes(g, (rows, columns), np.int8)), to=1)
    if g.chance(0.4):
        value = g("Sub", value, g.scalar(3.0))
    return g("Mul", value, g.param(g.array(*(int(g.pick(1, rows)), columns), scale=0.02)))


def weight(g: Graph, rows: int, columns: int) -> str:
    how = g.rng.integers(9)
    if how == 0:
        return dequantized(g, rows, columns)
    if how == 1:
        return cast_scaled(g, rows, columns)
    if how == 2:
        return g("Transpose", g.param(g.array(columns, rows, scale=rows ** -0.5)), perm=[1, 0])
    if how == 3:
        return g("Cast", g.param(g.array(rows, columns, scale=0.2), F16), to=1)
    if how == 4:
        return g("Reshape", g.param(g.array(rows * columns, scale=0.2)), g.ints(rows, columns))
    if how == 5:
        return g("Transpose", dequantized(g, columns, rows), perm=[1, 0])
    if how == 6:
        whole = g.param(g.array(rows, columns + 3, scale=0.2))
        return g("Slice", whole, g.ints(3), g.ints(2**62), g.ints(1))
    return g.param(g.array(rows, columns, scale=rows ** -0.5))


def nbits(g: Graph, x: str, k: int, n: int) -> str:
    bits, block = int(g.pick(4, 4, 8)), int(g.pick(16, 32, 64))
    blocks = -(-k // block)
    size = block * bits // 8
    packed = g.param(g.rng.integers(0, 256, (n, blocks, size)).astype(np.uint8))
    scales = g.param((g.rng.random(n * blocks) + 0.1) * 0.05, F32)
    inputs = [x, packed, scales]
    if g.chance(0.5):
        inputs.append(g.param(g.rng.integers(0, 256, (n, -(-blocks * bits // 8))).astype(np.uint8)))
    if len(inputs) == 4 and g.chance(0.3):
        inputs += ["", g.param(g.array(n))]
    return g("MatMulNBits", *inputs, domain="com.microsoft", K=k, N=n, bits=bits, block_size=block)


def product(g: Graph, x: str, k: int, n: int) -> str:
    """x [..., k] times a weight, with or without a bias and a factor."""
    how = g.rng.integers(8)
    if how == 0:
        return nbits(g, x, k, n)
    if how == 1:
        quantized, scale, zero = g("DynamicQuantizeLinear", x, outs=3)
        w, w_scale = g.param(codes(g, (k, n), g.pick(np.int8, np.uint8))), g.param((g.rng.random(int(g.pick(1, n))) + 0.1) * 0.02, F32)
        whole = g("MatMulInteger", quantized, w, zero)
        return g("Mul", g("Cast", whole, to=1), g("Mul", scale, w_scale))
    if how == 2:
        scale, zero = g.scalar(0.03), g.param(np.uint8(g.rng.integers(0, 256)))
        x = g("DequantizeLinear", g("QuantizeLinear", x, scale, zero), scale, zero)
    y = g("MatMul", x, weight(g, k, n))
    if g.chance(0.2):
        y = g("Mul", y, g.scalar(0.5))
    if g.chance(0.5):
        bias = g.param(g.array(*(1,) * int(g.pick(0, 0, 1)), int(g.pick(n, n, n, 1))))
        y = g("Add", *((y, bias) if g.chance(0.5) else (bias, y)))
    return y


def activation(g: Graph, x: str) -> str:
    how = g.rng.integers(7)
    if how == 0:
        return g("Mul", x, g("Sigmoid", x))
    if how == 1:
        half = g("Mul", x, g.scalar(0.5))
        return g("Mul", half, g("Add", g("Erf", g("Div", x, g.scalar(2 ** 0.5))), g.scalar(1.0)))
    if how == 2:
        inner = g("Mul", g("Add", x, g("Mul", g("Pow", x, g.scalar(3.0)), g.scalar(0.044715))), g.scalar(0.7978845608))
        return g("Mul", g("Mul", x, g.scalar(0.5)), g("Add", g("Tanh", inner), g.scalar(1.0)))
    if how == 3:
        return g("Mul", g("Relu", x), g("Relu", x))
    return g(g.pick("Relu", "Tanh", "Sigmoid", "Softplus", "HardSwish", "LeakyRelu", "Elu"), x)


def linears(rng: np.random.Generator) -> Case:
    g = Graph(rng)
    k = int(g.pick(1, 3, 8, 16, 32, 33, 48))
    shape: list[Size | int] = [g.size("b", 1, 3), g.size("s")][int(g.rng.integers(0, 3)):]
    x = g.input("x", [*shape, k])
    if not shape:
        x = g("Unsqueeze", x, g.ints(0)) if g.chance(0.5) else x
    for _ in range(int(g.pick(1, 1, 2))):
        n = int(g.pick(1, 4, 16, 17, 40))
        kind = g.rng.integers(4)
        if kind == 0:  # a gated MLP
            up, gate = product(g, x, k, n), product(g, x, k, n)
            hidden = g("Mul", *((activation(g, gate), up) if g.chance(0.5) else (up, activation(g, gate))))
            y = product(g, hidden, n, k)
            x = g("Add", *((y, x) if g.chance(0.5) else (x, y))) if g.chance(0.6) else y
            continue
        if kind == 1:  # several linears of one input
            parts = [product(g, x, k, n) for _ in range(int(g.pick(2, 3)))]
            for part in parts[1:]:
                g.output(part)
            x, k = parts[0], n
        elif kind == 2 and len(shape) == 1:
            transposed = int(g.chance(0.5))
            w = g.param(g.array(*((n, k) if transposed else (k, n)), scale=0.3))
            x = g("Gemm", x, w, *([g.param(g.array(*g.pick((n,), (1, n), ())))] if g.chance(0.7) else []),
                  transB=transposed, alpha=float(g.pick(1.0, 0.5)), beta=float(g.pick(1.0, 2.0)))
            k = n
        else:
            x, k = product(g, x, k, n), n
        if g.chance(0.5):
            x = activation(g, x)
    g.output(x)
    return g.case(f"k {k}", tolerance=2e-3)
