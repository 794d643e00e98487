"""tools/dev/aarch64_costs.py: what it counts is sane, and what is missing is said."""

import importlib.util
import json
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT

SCRIPT = ROOT / "tools/dev/aarch64_costs.py"
ICOUNT = ROOT.parent / "shared/tools/icount/icount.c"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("aarch64_costs", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_row_is_counted(script, tmp_path):
    for needed in (ROOT / "build/aarch64/bin/edgecc-bench", ROOT / "build/bin/edgecc", ICOUNT):
        if not needed.exists():
            pytest.skip(f"{needed} is not there")
    if not shutil.which("qemu-aarch64"):
        pytest.skip("no qemu-aarch64")
    path = tmp_path / "costs.json"
    done = subprocess.run([sys.executable, SCRIPT, "--weights", "f32", "--shape", "1x512x512", "--variant", "arm64-neon", "--json", path],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(path.read_text())["results"]
    assert (row["weights"], row["shape"], row["variant"]) == ("f32", "1x512x512", "arm64-neon")
    # 4 products an instruction, and one load for them at least.
    assert 0.3 < row["instructions_per_mac"] < 1
    assert set(row["cycles_per_mac"]) == set(script.CORES)
    assert all(0.05 < c < 2 for c in row["cycles_per_mac"].values())
    assert "1x512x512" in done.stdout


def test_without_the_plugin_it_is_skipped_loudly(tmp_path):
    done = subprocess.run([sys.executable, SCRIPT, "--icount", tmp_path / "absent.c"], capture_output=True, text=True)
    assert done.returncode == 77
    assert done.stderr.startswith("SKIPPED: ")


def test_an_unknown_variant_is_said():
    done = subprocess.run([sys.executable, SCRIPT, "--variant", "arm64-sve9"], capture_output=True, text=True)
    assert done.returncode == 2 and "there are arm64-neon, arm64-dotprod, arm64-i8mm" in done.stderr


def test_peers_are_of_kinds_and_shapes_that_are_measured(script):
    sys.path.insert(0, str(ROOT / "python"))
    from edgecc.bench.layers import RECIPES

    for kind, shape, variant in [*script.PEERS, *script.PEER_CYCLES]:
        assert kind in RECIPES and shape in script.SHAPES and variant in script.QEMU_CPU
    assert set(script.PEER_TOKENS) <= set(script.QEMU_CPU)


def test_cycles_are_none_where_the_core_lacks_the_instructions(script):
    assert script.cycles("fmla v0.4s, v1.4s, v2.4s", "neoverse-n1") > 0
    smmla = script.disassemble((0x4E82A420,))  # smmla v0.4s, v1.16b, v2.16b
    assert "smmla" in smmla
    assert script.cycles(smmla, "neoverse-n1") is None
    assert script.cycles(smmla, "neoverse-v1") > 0
