"""Caches of fewer bits in whole models: what they lose, that sessions go back and are saved, and the same tokens on AArch64.

    pytest test/e2e/test_cache.py [--build-dir build] [--aarch64-build-dir build/aarch64]
"""

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import edgecc  # noqa: E402
import export_models  # noqa: E402
from folders import artifact_folder  # noqa: E402
from test_models import child, model_directory  # noqa: E402
from test_quantized import story_tokens  # noqa: E402

# Nats per token that a cache may lose, about twice what was measured (passes/quantize/README.md).
MODELS = {"stories260K": {"f16": 0.001, "int8": 0.003, "int4": 0.10}, "babyllama_tok105": {"f16": 0.001, "int8": 0.003, "int4": 0.05}}
LENGTH = 255


def stories(name: str, build_dir: Path, tmp_path: Path) -> list[np.ndarray]:
    """The beginnings of some stories, in the model's tokens."""
    if name == "babyllama_tok105":
        return story_tokens(12, LENGTH)
    text, tokenizer = export_models.DATA / "text/toy-RNN/tinystories_sample_2MiB.txt", export_models.DATA / "models/stories260K/tok512.bin"
    for path in (text, tokenizer):
        if not path.exists():
            pytest.skip(f"{path} is not there")
    child(str(build_dir / "bin/edgecc-tokenize"), str(text), "--tokenizer", str(tokenizer), "--count", "12", "-o", str(tmp_path / "ids"))
    rows = [[int(i) for i in line.split()] for line in (tmp_path / "ids").read_text().splitlines()]
    return [np.array([i for i in row if i != 1][:LENGTH]) for row in rows]


def compiled(name: str, kv: str | None, build_dir: Path, target: str = "host") -> tuple[Path, dict]:
    edge = artifact_folder(build_dir) / f"{name}-cache-{kv}-{target}.edge"
    return edge, edgecc.compile(model_directory(name, build_dir) / "model.onnx", edge, target=target, kv=kv, timeout=300)


def losses(edge: Path, rows: list[np.ndarray], chunk: int) -> float:
    """Nats per token, with `chunk` tokens in a call: more are read by the prompt's kernels, one by those of a token."""
    loss = []
    with edgecc.load(edge) as model:
        for row in rows:
            ids = np.concatenate([[1], row])
            with model.session() as session:
                parts = [session.run({"input_ids": ids[i:i + chunk][None]}, "decode" if chunk == 1 else "score")["logits"][0]
                         for i in range(0, len(ids), chunk)]
            logits = np.concatenate(parts).astype(np.float64)
            logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
            loss += list(-logits[np.arange(len(row)), row])
    return float(np.mean(loss))


@pytest.mark.parametrize("name", MODELS)
def test_loss(name, build_dir, tmp_path):
    """Each type loses little, read by any kernel, and takes the bytes that the report says."""
    rows = stories(name, build_dir, tmp_path)
    plain, report = compiled(name, None, build_dir)
    before, chunks = report["memory"]["kv_bytes_per_token"], (1, 48, LENGTH + 1)
    reference = [losses(plain, rows, chunk) for chunk in chunks]
    sizes = []
    for kv, most in MODELS[name].items():
        edge, report = compiled(name, kv, build_dir)
        more = [losses(edge, rows, chunk) - known for chunk, known in zip(chunks, reference)]
        print(f"{name} {kv}: {report['memory']['kv_bytes_per_token']} of {before} bytes per token, "
              f"more nats per token in chunks of {chunks}: {', '.join('%.5f' % m for m in more)} over {reference[0]:.4f}")
        assert max(more) < most, (kv, more)
        sizes.append(report["memory"]["kv_bytes_per_token"])
        memory = edgecc.load(edge, inspect_only=True).memory(1 << 40)  # the longest context
        assert memory.bytes_per_position == sizes[-1]
        assert report["quantized_cache"]["bytes_after"] == memory.states
    assert before > sizes[0] > sizes[1] > sizes[2]
    assert sizes[0] == before // 2 and before / sizes[1] > 2.6


@pytest.mark.parametrize("kv", ("int8", "int4"))
def test_sessions_go_back_and_on(kv, build_dir):
    """A saved session goes on with the same tokens; so does one that went back by a few, whatever it wrote there before."""
    edge, _ = compiled("stories260K", kv, build_dir)
    with edgecc.load(edge) as model, model.session() as first, model.session() as second:
        story = list(first.generate([1], 90, stop=[]))
        begin = list(second.generate([1], 70, stop=[]))
        assert begin == story[:70]
        saved = second.save()
        second.run({"input_ids": np.array([[5, 6, 7, 8] * 7])}, "prefill")
        second.position -= 28
        assert list(second.generate(begin[-1:], 20, stop=[])) == story[70:]
        second.restore(saved)
        assert list(second.generate(begin[-1:], 20, stop=[])) == story[70:]
        # Far back, groups of 4 bits are read as floats again: another story may begin, but it is one.
        second.position = 7
        again = list(second.generate(story[6:7], 60, stop=[]))
        assert again == story[7:67] if kv == "int8" else again[:20] == story[7:27]


@pytest.mark.parametrize("kv", ("int8", "int4"))
def test_same_tokens_on_aarch64(kv, build_dir, under_qemu):
    """However the prompt is cut, and on any kind of processor."""
    host, _ = compiled("stories260K", kv, build_dir)
    edge, _ = compiled("stories260K", kv, build_dir, "linux-arm64")
    with edgecc.load(host) as model, model.session() as session:
        story = list(session.generate([1], 100, stop=[]))
    for cpu in ("cortex-a53", "cortex-a76", "max"):
        said = child(*under_qemu(cpu), str(edge), "--threads", "1", "--ids", "1", "--max-tokens", "100", "--ignore-eos", "--print-ids")
        assert [int(t) for t in re.findall(r"\d+", said)] == story, cpu


def test_no_cache(build_dir, tmp_path):
    directory = model_directory("minilm", build_dir)
    with pytest.raises(edgecc.CompileError, match="no KV cache that a session keeps"):
        edgecc.compile(directory / "model.onnx", tmp_path / "no.edge", kv="int8")
    with pytest.raises(edgecc.CompileError, match="--kv=q8: a KV cache can be kept as f32, f16, int8 or int4"):
        edgecc.compile(directory / "model.onnx", tmp_path / "no.edge", kv="q8")
