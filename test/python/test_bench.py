"""edgecc-bench on small models: what it reports and refuses. How fast anything is is never asserted."""

import json
import subprocess
import sys

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
        assert all(limit[key]["median"] > 0 for key in LIMITS | {"mapped_read_bytes_per_second"})
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


@pytest.mark.parametrize("model, arguments, phases", [
    ("qwen3", ("--prefill", 8, "--decode", 16), ["prefill 8", "decode at 16"]),
    ("bert", ("--dim", "sequence=9"), ["main"]),
])
def test_a_profile_names_the_kernels(bench, models, tmp_path, model, arguments, phases):
    trace = tmp_path / "trace.json"
    result, table = report(bench, models, models / f"{model}.edge", "--threads", 1, "--profile", "--trace", trace, *arguments)
    assert [p["phase"] for p in result["profile"]] == phases
    for phase in result["profile"]:
        names = [k["name"] for k in phase["kernels"]]
        assert not any(name.startswith("code at") for name in names) and "(between kernels)" in names
        assert any(name.startswith(("linear", "attention")) for name in names)
        assert sum(k["share"] for k in phase["kernels"]) == pytest.approx(1, abs=1e-6)
        assert sum(k["seconds"] for k in phase["kernels"]) == pytest.approx(phase["seconds"])
        assert phase["calls"] == 2
        assert phase["phase"] in table
    events = json.loads(trace.read_text())["traceEvents"]
    calls = [e for e in events if e["cat"] == "call"]
    assert [e["name"] for e in calls] == [p for p in phases for _ in range(2)]
    for event in events:
        assert event["ph"] == "X" and event["dur"] >= 0
        assert any(c["ts"] <= event["ts"] and event["ts"] + event["dur"] <= c["ts"] + c["dur"] + 1e-3 for c in calls)


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
    (("{bert}", "--trace", "trace.json"), "--trace goes with --profile"),
    (("{bert}", "--peak", "int3"), "int3"),
    (("{bert}", "--threads", "0"), "--threads"),
    (("{bert}", "--json", "/absent/file.json", "--rounds", "1"), "cannot write /absent/file.json"),
])
def test_wrong_arguments_are_said(bench, models, arguments, sentence):
    status, _, err = bench(*(a.format(bert=models / "bert.edge") for a in arguments))
    assert status != 0 and sentence in err, err


# ---- python3 -m edgecc.bench ----------------------------------------------------------------------------------------------------


@pytest.fixture
def bench_main(compiler, runtime, monkeypatch):
    if not compiler.with_name("edgecc-bench").exists():
        pytest.skip("edgecc-bench is not built")
    monkeypatch.setenv("EDGECC", str(compiler))
    from edgecc.bench.__main__ import main

    return main


def test_single_layers_by_kind_of_weights(bench_main, tmp_path, capsys):
    path = tmp_path / "micro.json"
    # Small shapes would need hundreds of layers to leave the caches: only that it measures is tested.
    assert bench_main(["micro", "--shape", "1x1024x2048", "--shape", "3x1024x2048", "--weights", "f32", "--rounds", "1", "--json",
                       str(path)]) == 0
    rows = json.loads(path.read_text())["results"]
    assert [(r["weights"], r["m"], r["k"], r["n"]) for r in rows] == [("f32", 1, 1024, 2048), ("f32", 3, 1024, 2048)]
    assert all(r["macs_per_second"] > 0 and r["share"]["median"] > 0 and r["arithmetic"] == "f32" for r in rows)
    assert rows[0]["bound"] == "memory"
    assert rows[0]["weight_bytes"] == 1024 * 2048 * 4
    assert "3x1024x2048" in capsys.readouterr().out


def test_every_row_of_the_kernel_table_has_a_recipe(bench_main):
    from edgecc.bench.layers import RECIPES, recipes_of_table
    from edgecc.bench.micro import _TABLE

    assert set(recipes_of_table(_TABLE)) <= set(RECIPES)


def test_an_unknown_kind_of_weights_is_said(bench_main, capsys):
    assert bench_main(["micro", "--weights", "w5"]) == 1
    assert "--weights w5: there are f32" in capsys.readouterr().err


@pytest.fixture(scope="module")
def comparison(compiler, runtime, tmp_path_factory):
    """Ours and ONNX Runtime's, without llama.cpp: this interpreter stands for one that does not have it."""
    pytest.importorskip("onnxruntime")
    from edgecc.bench.__main__ import main

    folder = tmp_path_factory.mktemp("compare")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGECC", str(compiler))
        assert main(["models", str(folder), "--preset", "qwen3", "--context", "128", "--quant", "none,nbits", "--onnx", "int4,int8",
                     "--gguf", "none"]) == 0
    return folder


def test_engines_take_turns_and_agree(bench_main, comparison, capsys):
    path = comparison / "report.json"
    assert bench_main(["compare", str(comparison), "--threads", "1", "--prefill", "16", "--decode", "8,32", "--rounds", "2", "--json",
                       str(path)]) == 0
    report = json.loads(path.read_text())
    names = ["onnxruntime int4", "onnxruntime int8", "edgecc none", "edgecc nbits"]
    assert list(report["engines"]) == names and report["base"] == "edgecc none"
    # The same weights: what differs is the rounding to 4 and 8 bits.
    assert report["engines"]["onnxruntime int8"]["agreement"] > 0.99
    assert report["engines"]["onnxruntime int4"]["agreement"] > 0.8
    rows = report["results"]
    assert [(r["what"], r.get("tokens", r.get("context")), r["engine"]) for r in rows] == [
        (*what, name) for what in (("prefill", 16), ("decode", 8), ("decode", 32)) for name in names]
    for row in rows:
        assert len(row["seconds"]["samples"]) == 2 and row["tokens_per_second"] > 0
        assert row["ratio"]["median"] > 0
    assert "decode at 32" in capsys.readouterr().out


def test_what_is_not_installed_is_skipped_loudly(bench_main, comparison, capsys):
    listing = comparison / "models.json"
    made = json.loads(listing.read_text())
    ours = [m for m in made["models"] if m["engine"] == "edgecc"]
    # An interpreter without the engine, when models are made and when they are run.
    made["models"] = ours[:1] + [{"engine": "llama.cpp", "name": "llama.cpp Q4_0", "path": "absent.gguf", "bytes": 1}]
    made["llama_python"] = sys.executable
    other = comparison / "other"
    other.mkdir(exist_ok=True)
    made["models"][0] = {**ours[0], "path": f"../{ours[0]['path']}"}
    (other / "models.json").write_text(json.dumps(made))
    path = other / "report.json"
    assert bench_main(["compare", str(other), "--threads", "1", "--prefill", "16", "--decode", "8", "--rounds", "1", "--json",
                       str(path)]) == 0
    said = capsys.readouterr()
    assert "SKIPPED: llama.cpp Q4_0" in said.err and "llama_cpp" in said.err
    assert any("llama.cpp Q4_0" in note for note in json.loads(path.read_text())["notes"])


def test_a_comparison_needs_models(bench_main, tmp_path, capsys):
    assert bench_main(["compare", str(tmp_path)]) == 1
    assert "make it with: python3 -m edgecc.bench models" in capsys.readouterr().err


def test_plots(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    from edgecc.bench.__main__ import main as bench_main

    ratio = {"median": 1.5, "low": 1.4, "high": 1.6}
    row = {"what": "decode", "context": 16, "threads": 1}
    limit = {"threads": 1, "read_bytes_per_second": {"median": 2e10}, "int8_macs_per_second": {"median": 2e11},
             "f32_macs_per_second": {"median": 5e10}}
    layer = {"what": "linear", "weights": "f32", "m": 1, "k": 64, "n": 64, "weight_bytes": 16384.0, "threads": 1, "arithmetic": "f32",
             "bound": "memory", "macs_per_second": 4e9, "share": {"median": 0.8}}
    reports = {
        "compare": {"format": "edgecc-bench compare 1", "model": {"preset": "x"}, "base": "a", "results": [{**row, "engine": "b", "ratio": ratio}]},
        "model": {"format": "edgecc-bench 1", "results": [{**row, "read_share": ratio}]},
        "micro": {"format": "edgecc-bench micro 1", "machine": {"limits": [limit]}, "results": [layer]},
    }
    files = []
    for name, content in reports.items():
        files.append(str(tmp_path / f"{name}.json"))
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    assert bench_main(["plot", *files, "-o", str(tmp_path / "all.svg")]) == 0
    assert "<svg" in (tmp_path / "all.svg").read_text()
    (tmp_path / "other.json").write_text("{}")
    assert bench_main(["plot", str(tmp_path / "other.json"), "-o", str(tmp_path / "x.svg")]) == 1
    assert "not a report" in capsys.readouterr().err


def test_bars_are_one_table(tmp_path, capsys):
    from edgecc.bench.__main__ import main as bench_main

    def ratio(engine, median, **row):
        return {"engine": engine, "threads": 1, "ratio": {"median": median}, **row}

    reports = {
        "model": {"results": [{"what": "decode", "threads": 1, "read_share": {"median": 0.9}}]},
        # The faster of the peers counts: the smaller ratio.
        "compare": {"notes": ["ONNX Runtime: not installed"], "results": [
            ratio("llama.cpp Q4_0", 1.2, what="decode", context=16), ratio("llama.cpp Q4_0 no-flash", 1.6, what="decode", context=16),
            ratio("llama.cpp Q4_K_M", 2.1, what="prefill", tokens=128)]},
        "kernels": {"results": [{"weights": "w4g32a8", "shape": "1x4096x4096", "variant": "arm64-dotprod", "instructions_per_mac": 0.21,
                                 "cycles_per_mac": {"neoverse-n1": 0.0464, "neoverse-v1": 0.0477, "neoverse-n2": None},
                                 "others_cycles": {"KleidiAI": [0.046, 0.041, None], "ggml": [0.05, None, None]}}]},
        "whole": {"results": [{"what": "decode", "variant": "arm64-dotprod", "instructions_per_token": 112.6e6}]},
    }
    for name, report in reports.items():
        (tmp_path / f"bars-{name}.json").write_text(json.dumps(report))
    assert bench_main(["bars", str(tmp_path), "--reuse", "--threads", "1", "--only", "model,compare,kernels,whole"]) == 0
    lines = capsys.readouterr().out.splitlines()
    verdict = {line[:74].strip(): line[96:].strip() for line in lines[1:-1]}
    assert verdict["decode, share of the read bandwidth, 1 threads"] == "met"
    assert verdict["decode over llama.cpp Q4_0, 1 threads"] == "NOT MET"
    assert verdict["prefill 128 over llama.cpp, 1 threads"] == "met"
    assert verdict["decode over ONNX Runtime int4, 1 threads"].endswith("no onnxruntime int4 in the comparison: ONNX Runtime: not installed")
    assert verdict["w4g32a8 1x4096x4096 arm64-dotprod, instructions per MAC"] == "NOT MET"
    assert verdict["decode arm64-dotprod, million instructions per token"] == "met"
    assert verdict["prefill arm64-i8mm, million instructions per token"].startswith("skipped: nothing was measured for prefill")
    # To the digits that are known of the others: 0.046.
    assert verdict["w4g32a8 1x4096x4096 arm64-dotprod, cycles on n1 over the best other's"] == "met"
    assert verdict["w4g32a8 1x4096x4096 arm64-dotprod, cycles on v1 over the best other's"] == "NOT MET"
    assert verdict["w4g32a8 1x4096x4096 arm64-dotprod, cycles on n2 over the best other's"].startswith("skipped: no other's cycles")
    assert lines[-1].startswith("4 of ")


def test_bars_say_what_they_could_not_run(tmp_path, capsys):
    from edgecc.bench.__main__ import main as bench_main

    assert bench_main(["bars", str(tmp_path), "--only", "kernels", "--costs", str(tmp_path / "absent.py")]) == 0
    assert "skipped: " in capsys.readouterr().out
    assert bench_main(["bars", str(tmp_path), "--only", "speed"]) == 1
    assert "the reports are model, compare, micro, kernels, whole" in capsys.readouterr().err
