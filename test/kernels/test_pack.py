"""Packed weights, byte by byte, small (on the heap) and large (in a scratch mapping)."""

import re
import subprocess

import numpy as np
import pytest

from harness import BUILD, DTYPES
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
