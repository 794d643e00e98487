"""Packed weights, byte by byte, small (on the heap) and large (in a scratch mapping)."""

import re
import subprocess

import numpy as np
import pytest

from harness import BUILD, DTYPES
from quantized import Weight
from test_kernels import pack


@pytest.mark.parametrize("n,k", [(1, 1), (17, 5), (1000, 700)])
@pytest.mark.parametrize("layout", ["nk", "kn"])
@pytest.mark.parametrize("element", ["f32", "f16"])
def test_pack(n, k, layout, element):
    w = (np.arange(n * k) % 2000).reshape(n, k).astype(DTYPES[element])
    stored = np.ascontiguousarray(w if layout == "nk" else w.T)
    kind = "%dx%dx%s" % (*stored.shape, element)
    text = """func.func @f(%%x: tensor<1x%dx%s>) -> tensor<1x%dx%s> {
  %%w = edge.weight "w" {value = dense_resource<w> : tensor<%s>} : tensor<%s>
  %%y = edge.linear %%x, %%w {layout = %d : i32} : tensor<1x%dx%s>, tensor<%s> -> tensor<1x%dx%s>
  return %%y : tensor<1x%dx%s>
}
{-# dialect_resources: { builtin: { w: "0x04000000%s" } } #-}
""" % (k, element, n, element, kind, kind, layout == "kn", k, element, kind, n, element, n, element, stored.tobytes().hex())
    done = subprocess.run([BUILD / "bin" / "edgecc-opt", "--edge-pack-weights"], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:2000]
    found = re.search(r'w\.panels: "0x[0-9A-F]{8}([0-9A-F]+)"', done.stdout).group(1)
    assert bytes.fromhex(found) == pack(w).tobytes()


def quantized_module(weight, arch, embedding=False):
    """A linear, and a lookup in the same table, with a raw quantized weight."""
    parts = [p for p in zip("nsz", weight.raw()) if p[1] is not None]
    types = {"n": "i8", "s": weight.scale, "z": "i8" if weight.zero_kind == "i8" else weight.scale}
    lines, resources, kinds = [], [], {}
    for name, data in parts:
        kinds[name] = "tensor<%sx%s>" % ("x".join(map(str, data.shape)), types[name])
        lines.append("  %%%s = edge.weight \"%s\" {value = dense_resource<%s> : %s} : %s" % (name, name, name, kinds[name], kinds[name]))
        resources.append('%s: "0x04000000%s"' % (name, np.ascontiguousarray(data).tobytes().hex()))
    sides = "scales(%%s : %s)" % kinds["s"] + (" zeros(%%z : %s)" % kinds["z"] if "z" in kinds else "")
    x, y, e = "tensor<1x%dxf32>" % weight.k, "tensor<1x%dxf32>" % weight.n, "tensor<1x%dxf32>" % weight.k
    lines.append("  %%y = edge.linear %%x, %%n %s {quantization = %s} : %s, %s -> %s" % (sides, weight.attribute("token"), x, kinds["n"], y))
    if embedding:
        lines.append("  %%e = edge.embedding %%i, %%n %s {quantization = %s} : tensor<1xi64>, %s -> %s" % (
            sides, weight.attribute("float"), kinds["n"], e))
    results, values = ("%s, %s" % (y, e), "%y, %e") if embedding else (y, "%y")
    return "module attributes {edge.target = #edge.target<\"%s\">} {\nfunc.func @f(%%x: %s, %%i: tensor<1xi64>) -> (%s) {\n%s\n  return %s : %s\n}\n}\n{-# dialect_resources: { builtin: { %s } } #-}\n" % (
        arch, x, results, "\n".join(lines), values, results, ", ".join(resources))


@pytest.mark.parametrize("arch", ["aarch64", "x86_64"])
@pytest.mark.parametrize("kind", [(4, 32, "f16", None), (4, 64, "f32", "i8"), (4, 0, "f16", "i8"), (8, 0, "f32", None), (8, 32, "f16", "float"),
                                  (8, 32, "f16", "i8")])
@pytest.mark.parametrize("n,k", [(5, 7), (37, 96), (1000, 1090)])
def test_pack_quantized(n, k, kind, arch):
    weight = Weight(np.random.default_rng(3), n, k, *kind)
    done = subprocess.run([BUILD / "bin" / "edgecc-opt", "--edge-pack-weights"], input=quantized_module(weight, arch, embedding=n == 37),
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:2000]
    found = re.findall(r'n\.panels: "0x[0-9A-F]{8}([0-9A-F]+)"', done.stdout)
    # The head and the table have one weight.
    assert len(found) == 1 and done.stdout.count("edge.weight") == 1
    assert bytes.fromhex(found[0]) == weight.panels(arch).tobytes()


def test_no_room():
    """A folder that cannot hold the scratch file is named, with the bytes and what to do."""
    n, k = 1000, 700
    text = """func.func @f(%%x: tensor<1x%dxf32>) -> tensor<1x%dxf32> {
  %%w = edge.weight "w" {value = dense_resource<w> : tensor<%dx%dxf32>} : tensor<%dx%dxf32>
  %%y = edge.linear %%x, %%w : tensor<1x%dxf32>, tensor<%dx%dxf32> -> tensor<1x%dxf32>
  return %%y : tensor<1x%dxf32>
}
{-# dialect_resources: { builtin: { w: "0x04000000%s" } } #-}
""" % (k, n, n, k, n, k, k, n, k, n, n, "00" * (4 * n * k))
    done = subprocess.run([BUILD / "bin" / "edgecc-opt", "--edge-pack-weights"], input=text, capture_output=True, text=True,
                          env={"TMPDIR": "/nonexistent"})
    assert done.returncode != 0
    assert "weight 'w': cannot create 2822400 bytes of scratch space in /nonexistent" in done.stderr
