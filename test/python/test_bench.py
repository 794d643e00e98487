"""edgecc-bench on small models: what it reports and refuses. How fast anything is is never asserted."""

import json
import subprocess

import pytest

import edgecc
from edgecc.export.__main__ import main as export_main

LIMITS = {"read_bytes_per_second", "int8_macs_per_second", "f32_macs_per_second"}


@pytest.fixture(scope="session")
def bench(compiler):
    program = compiler.with_name("edgecc-bench")
    if not program.exists():
        pytest.skip(f"{program} is not built")

    def run(*arguments):
        done = subprocess.run([str(program), *map(str, arguments)], capture_output=True, text=True, timeout=300)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture(scope="session")
def models(compiler, tmp_path_factory):
    """A decoder of context 64 and an encoder."""
    folder = tmp_path_factory.mktemp("bench")
    for preset, options in (("qwen3", {"context": 64}), ("bert", {})):
        assert export_main(["--random", preset, "-o", str(folder / f"{preset}.onnx")]) == 0
        edgecc.compile(folder / f"{preset}.onnx", folder / f"{preset}.edge", program=compiler, **options)
    return folder


def report(bench, folder, *arguments):
    path = folder / "report.json"
    status, out, err = bench(*arguments, "--rounds", 2, "--json", path)
    assert status == 0, err
    return json.loads(path.read_text()), out


def test_a_language_model_by_prefill_and_decode(bench, models):
    result, table = report(bench, models, models / "qwen3.edge", "--threads", "1,2", "--prefill", "8,16", "--decode", "16,64",
                           "--decode-tokens", 4, "--prompt", 8)
    assert result["format"] == "edgecc-bench 1"
    assert {limit["threads"] for limit in result["machine"]["limits"]} == {1, 2}
    for limit in result["machine"]["limits"]:
        assert all(limit[key]["median"] > 0 for key in LIMITS)
    rows = result["results"]
    assert [(r["what"], r.get("tokens", r.get("context")), r["threads"]) for r in rows] == [
        ("first token", 8, 1), ("first token", 8, 2), ("prefill", 8, 1), ("prefill", 8, 2), ("prefill", 16, 1), ("prefill", 16, 2),
        ("decode", 16, 1), ("decode", 16, 2), ("decode", 64, 1), ("decode", 64, 2)]
    for row in rows:
        seconds = row["seconds"]
        assert len(seconds["samples"]) == 2 and seconds["best"] <= seconds["low"] <= seconds["median"] <= seconds["high"]
        assert "spread" in row
    for row in rows[6:]:
        assert row["read_share"]["median"] > 0 and row["weights_bytes_per_second"] > 0
    assert 0 < result["model"]["weights_per_token_bytes"] <= result["model"]["weights_bytes"]
    assert result["memory"]["context"] == 64
    assert result["memory"]["peak_resident_bytes"] > result["memory"]["program_bytes"] > 0
    assert result["load"]["model_seconds"]["median"] > 0 and result["load"]["session_seconds"]["median"] > 0
    assert "decode at 64" in table and "limits, 2 threads" in table


def test_what_the_context_has_no_room_for_is_left_out_loudly(bench, models):
    result, table = report(bench, models, models / "qwen3.edge", "--threads", 1, "--prefill", "8,512", "--decode", "16,2048")
    assert [r["what"] for r in result["results"]] == ["first token", "prefill", "decode"]
    assert result["notes"] == ["prefill 512 left out: the context is 64", "decode 2048 left out: the context is 64"]
    assert "decode 2048 left out" in table


def test_a_plain_entry_at_given_sizes(bench, models):
    result, _ = report(bench, models, models / "bert.edge", "--threads", 1, "--dim", "sequence=7")
    (row,) = result["results"]
    assert (row["what"], row["entry"], row["dims"], row["threads"]) == ("entry", "main", {"sequence": 7}, 1)
    result, _ = report(bench, models, models / "bert.edge", "--threads", 1)
    assert result["results"][0]["dims"]["sequence"] == 512, "what is not given takes its bound"


def test_the_machine_alone(bench, tmp_path):
    result, table = report(bench, tmp_path, "--machine", "--threads", 1)
    assert result["results"] == [] and result["model"] == {}
    assert "limits, 1 threads" in table


@pytest.mark.parametrize("arguments, sentence", [
    ((), "name a model"),
    (("absent.edge",), "absent.edge"),
    (("{bert}", "--dim", "sequence"), "--dim sequence: write name=value"),
    (("{bert}", "--dim", "width=3"), "--dim width: the model has the sizes sequence"),
    (("{bert}", "--dim", "sequence=4096"), "--dim sequence=4096: the model takes 1 to 512"),
    (("{bert}", "--entry", "other"), "no entry 'other'"),
    (("{bert}", "--micro"), "--micro wants"),
    (("{bert}", "--peak", "int3"), "int3"),
    (("{bert}", "--threads", "0"), "--threads"),
    (("{bert}", "--json", "/absent/file.json", "--rounds", "1"), "cannot write /absent/file.json"),
])
def test_wrong_arguments_are_said(bench, models, arguments, sentence):
    status, _, err = bench(*(a.format(bert=models / "bert.edge") for a in arguments))
    assert status != 0 and sentence in err, err
