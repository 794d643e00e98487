"""Early exits on real weights: what is executed, what skipped layers' caches hold, and that verifying loses nothing.

    pytest test/e2e/test_early_exit.py [--build-dir build] [--aarch64-build-dir build/aarch64]

The oracle is a Llama in numpy, f64, one token at a time, that may stop after a layer: the layers behind then get their keys and
values from the hidden state there. It knows nothing of batches, of what is pending, or of graphs.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("safetensors")

import edgecc  # noqa: E402
from test_models import child, model_directory  # noqa: E402

PHONE_AGENT = Path(__file__).resolve().parents[3] / "shared/data/models/phone_agent"
# Of lossless text: short prompts, half from each file. EDGECC_ALL_PROMPTS takes a thousand.
PROMPTS = 1000 if os.environ.get("EDGECC_ALL_PROMPTS") else 50


class Llama:
    def __init__(self, directory: Path):
        self.config = json.loads((directory / "config.json").read_text())
        from safetensors.numpy import load_file
        self.weights = {k: v.astype(np.float64) for k, v in load_file(directory / "model.safetensors").items()}
        self.reset(0)

    def reset(self, position: int) -> None:
        """Forgets all but the first positions."""
        layers = self.config["num_hidden_layers"]
        self.cache = [layer[:position] for layer in self.cache] if position else [[] for _ in range(layers)]

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        return x / np.sqrt((x * x).mean() + self.config["rms_norm_eps"]) * self.weights[name]

    def rope(self, x: np.ndarray, position: int) -> np.ndarray:
        half = x.shape[1] // 2
        angle = position / self.config["rope_theta"] ** (np.arange(half) / half)
        a, b = x[:, :half], x[:, half:]
        return np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], 1)

    def step(self, token: int, depth: int | None = None) -> np.ndarray:
        """The logits after `depth` layers; the others fill their caches."""
        config, w = self.config, self.weights
        position, heads, kv_heads = len(self.cache[0]), config["num_attention_heads"], config["num_key_value_heads"]
        hidden = w["model.embed_tokens.weight"][token]
        for layer, cache in enumerate(self.cache):
            def project(name: str, x: np.ndarray) -> np.ndarray:
                return w[f"model.layers.{layer}.{name}_proj.weight"] @ x

            x = self.norm(hidden, f"model.layers.{layer}.input_layernorm.weight")
            cache.append((self.rope(project("self_attn.k", x).reshape(kv_heads, -1), position),
                          project("self_attn.v", x).reshape(kv_heads, -1)))
            if depth is not None and layer >= depth:
                continue
            q = self.rope(project("self_attn.q", x).reshape(heads, -1), position)
            k, v = (np.repeat(np.stack([entry[i] for entry in cache]), heads // kv_heads, 1) for i in (0, 1))
            scores = np.einsum("hd,thd->ht", q, k) / np.sqrt(q.shape[1])
            scores = np.exp(scores - scores.max(1, keepdims=True))
            mixed = np.einsum("ht,thd->hd", scores / scores.sum(1, keepdims=True), v)
            hidden = hidden + project("self_attn.o", mixed.reshape(-1))
            x = self.norm(hidden, f"model.layers.{layer}.post_attention_layernorm.weight")
            gate = project("mlp.gate", x)
            hidden = hidden + project("mlp.down", gate / (1 + np.exp(-gate)) * project("mlp.up", x))
        return w.get("lm_head.weight", w["model.embed_tokens.weight"]) @ self.norm(hidden, "model.norm.weight")


def tokenizer():
    return pytest.importorskip("sentencepiece").SentencePieceProcessor(model_file=str(PHONE_AGENT / "tokenizer.model"))


def lines(count: int) -> list[str]:
    """Half simple, half complex."""
    texts = [(PHONE_AGENT / name).read_text().splitlines() for name in ("simple.txt", "complex.txt")]
    return [line for pair in zip(*texts) for line in pair][:count]


@pytest.fixture(scope="module")
def models(build_dir, tmp_path_factory):
    """The phone agent with exits after 2 and 4 of its 8 layers, and without."""
    if not PHONE_AGENT.is_dir():
        pytest.skip(f"{PHONE_AGENT} is not there")
    source, directory = model_directory("phone_agent", build_dir), tmp_path_factory.mktemp("exits")
    program = build_dir / "bin/edgecc"
    child(str(program), str(source / "model.onnx"), "-o", str(directory / "whole.edge"), "--quiet")
    child(str(program), str(source / "model.onnx"), "-o", str(directory / "exits.edge"), "--quiet", "--exit-layers=2,4", "--exit-verify")
    with edgecc.load(directory / "whole.edge", threads=1) as whole, edgecc.load(directory / "exits.edge", threads=1) as exits:
        yield whole, exits


def test_never_leaving_changes_no_bit(models):
    whole, exits = models
    for line in lines(6):
        ids = tokenizer().encode(line)
        with whole.session() as a, exits.session() as b:
            b.force_exit("never")
            np.testing.assert_array_equal(a.feed(ids[:-5]), b.feed(ids[:-5]))
            for token in ids[-5:]:
                np.testing.assert_array_equal(a.feed([token]), b.feed([token]))
                assert b.exit_report.exit is None and b.exit_report.last_layer == 8


def test_depths_and_caches_are_the_oracles(models):
    _, model = models
    oracle, rng = Llama(PHONE_AGENT), np.random.default_rng(1)
    depths = {0: 2, 1: 4, "never": None}
    for line in lines(4):
        ids = tokenizer().encode(line)
        prompt = len(ids) // 2
        oracle.reset(0)
        with model.session() as session:
            def check(tokens, exit):
                session.force_exit(exit)
                logits = session.feed(tokens)
                for token in tokens:
                    expected = oracle.step(token, depths[exit] if len(tokens) == 1 else None)
                np.testing.assert_allclose(logits, expected, atol=2e-4)
                if len(tokens) == 1:
                    assert session.exit_report.last_layer == depths[exit] or exit == "never"

            check(ids[:prompt], "never")
            for token in ids[prompt:]:
                check([token], [0, 0, 1, "never"][rng.integers(4)])
            # A prompt after tokens that left early sees a whole cache.
            check([5], 0)
            check([6], 1)
            check([7, 8, 9], "never")
            # Rewinding forgets what was pending; more than a batch that all leave; a fork goes on like the original.
            session.position = prompt
            oracle.reset(prompt)
            for token in range(20, 60):
                check([token], 0)
            with model.session() as fork:
                fork.restore(session.save())
                fork.force_exit("never")
                session.force_exit("never")
                np.testing.assert_array_equal(fork.feed([33]), session.feed([33]))


def test_thresholds_decide(models):
    _, model = models
    ids = tokenizer().encode(lines(1)[0])
    with model.session() as session:
        session.feed(ids[:-8])
        for token in ids[-8:]:
            position = session.position
            session.force_exit("never")
            session.feed([token])
            sure = session.exit_confidences
            for threshold in (0.3, 0.7, 0.95):
                session.position = position
                session.force_exit(None)
                for exit in (0, 1):
                    session.set_exit_threshold(exit, threshold)
                session.feed([token])
                taken = next((i for i, c in enumerate(sure) if c >= threshold), None)
                assert session.exit_report.exit == taken


@pytest.mark.parametrize("exit", [0, 1])
def test_verified_text_is_the_whole_models(models, exit):
    whole, model = models
    encode = tokenizer().encode
    with whole.session() as a, model.session() as b:
        for line in lines(PROMPTS):
            prompt = encode(line.split("<act>")[0] + "<act>")
            a.reset()
            b.reset()
            assert list(b.generate(prompt, 16, verify=exit)) == list(a.generate(prompt, 16))


@pytest.mark.parametrize("name", ["stories260K", "babyllama_tok105", "qwen3-f32", "gpt2-f32", "gemma2-dynamo"])
def test_other_models_lose_nothing(name, build_dir, tmp_path):
    """Interleaved rotary embeddings, grouped heads, q/k norms, learned positions, norms behind blocks: an exit after the first
    layer that is never taken changes no bit, and verified text is the whole model's."""
    source, program = model_directory(name, build_dir), str(build_dir / "bin/edgecc")
    child(program, str(source / "model.onnx"), "-o", str(tmp_path / "whole.edge"), "--quiet", "--context", "128")
    child(program, str(source / "model.onnx"), "-o", str(tmp_path / "exits.edge"), "--quiet", "--context", "128", "--exit-layers=1",
          "--exit-verify")
    rng = np.random.default_rng(5)
    with edgecc.load(tmp_path / "whole.edge", threads=1) as whole, edgecc.load(tmp_path / "exits.edge", threads=1) as model:
        vocabulary = next(t for t in whole.entries[0].outputs if t.name == "logits").shape[-1].max
        with whole.session() as a, model.session() as b:
            for _ in range(3):
                ids = rng.integers(0, min(vocabulary, 500), 12).tolist()
                a.reset()
                b.reset()
                b.force_exit("never")
                np.testing.assert_array_equal(a.feed(ids[:-1]), b.feed(ids[:-1]))
                np.testing.assert_array_equal(a.feed(ids[-1:]), b.feed(ids[-1:]))
                a.reset()
                b.reset()
                assert list(b.generate(ids, 24, stop=[], verify=0)) == list(a.generate(ids, 24, stop=[]))


def test_sampled_text_is_distributed_as_the_whole_models(models):
    whole, model = models
    prompt = tokenizer().encode(lines(2)[1].split("<act>")[0] + "<act>")
    counts = []
    for session, options in ((whole.session(), {}), (model.session(), {"verify": 0})):
        texts = {}
        for seed in range(400):
            session.reset()
            text = tuple(session.generate(prompt, 2, temperature=1.5, seed=seed, stop=[], **options))
            texts[text] = texts.get(text, 0) + 1
        counts.append(texts)
        session.close()
    keys = set(counts[0]) | set(counts[1])
    # Half the sum of the differences of two samples of one distribution is about sqrt(texts / (2 pi * 400)).
    distance = sum(abs(counts[0].get(k, 0) - counts[1].get(k, 0)) for k in keys) / 800
    assert distance < 2 * np.sqrt(len(keys) / (2 * np.pi * 400)), (distance, len(keys))


def test_calibrated_exits_agree_on_other_text(build_dir, tmp_path):
    """Layers and thresholds found on the calibration text, for an agreement of 0.99; judged on lines that are not in it."""
    source, words = model_directory("phone_agent", build_dir), tokenizer()
    samples, path = tmp_path / "calibration.ids", tmp_path / "calibrated.edge"
    texts = (PHONE_AGENT / "calibration.txt").read_text().splitlines()[:1000]
    # What stands before the bar is a prompt, which goes the whole way.
    split = [(words.encode(text), len(words.encode(text.split("<act>")[0] + "<act>"))) for text in texts]
    samples.write_text("\n".join(" ".join(map(str, [*ids[:n], "|", *ids[n:]])) for ids, n in split) + "\n")
    printed = child(str(build_dir / "bin/edgecc"), str(source / "model.onnx"), "-o", str(path), "--exit-layers=auto",
                    "--exit-agreement=0.99", "--calibrate", str(samples), "--calibrate-samples=1000", "--remarks")
    assert "exit" in printed
    rare = [line for line in (PHONE_AGENT / "complex.txt").read_text().splitlines() if "<act>answer" in line or "<act>type" in line]
    with edgecc.load(path, threads=1) as model, model.session() as session:
        usual, unusual = (agreement_of(session, words, chosen) for chosen in (lines(60), rare[:60]))
        print(f"{usual[0]:.4f} agree, {usual[1]:.2f} of {model.layers} layers; of what samples seldom do {unusual[0]:.4f}, {unusual[1]:.2f}")
        assert usual[0] >= 0.99
        assert usual[1] <= 0.75 * model.layers
        # One action in seven: with a map for screens, which is not sure of them or wrong, they go nearly the whole way.
        assert unusual[0] >= 0.98
        assert unusual[1] <= 0.75 * model.layers


def agreement_of(session, words, texts: list[str]) -> tuple[float, float]:
    """Of the calls behind the prompts: how many say what they would if none had ended early; the layers that they ran."""
    agreeing = calls = layers = 0
    for line in texts:
        ids, prompt = words.encode(line), len(words.encode(line.split("<act>")[0] + "<act>"))
        said = {}
        for exit in ("never", None):
            session.reset()
            session.force_exit(exit)
            session.feed(ids[:prompt - 1])
            for token in ids[prompt - 1:-1]:
                said.setdefault(exit, []).append(int(session.feed([token]).argmax()))
                layers += session.exit_report.last_layer if exit is None else 0
        calls += len(said[None])
        agreeing += sum(a == b for a, b in zip(said["never"], said[None]))
    return agreeing / calls, layers / calls


@pytest.mark.parametrize("options", [[], ["--exit-verify", "--exit-layer", "2"], ["--exit-layer", "4"]])
def test_emulated_tokens_and_exits(options, build_dir, under_qemu, tmp_path):
    """The same tokens, and as many at each depth, under qemu as here."""
    source, words = model_directory("phone_agent", build_dir), tokenizer()
    said = []
    for target, run in (("host", [str(build_dir / "bin/edgecc-run")]), ("linux-arm64", under_qemu("cortex-a76"))):
        path = tmp_path / f"{target}.edge"
        child(str(build_dir / "bin/edgecc"), str(source / "model.onnx"), "-o", str(path), "--quiet", "--target", target,
              "--exit-layers=2,4", "--exit-verify", "--exit-threshold=0.8")
        for line in lines(3):
            ids = ",".join(map(str, words.encode(line.split("<act>")[0] + "<act>")))
            done = subprocess.run([*run, str(path), "--threads", "1", "--ids", ids, "--max-tokens", "12", "--stats", *options],
                                  capture_output=True, text=True, timeout=600, check=True)
            said.append((done.stdout, [line for line in done.stderr.splitlines() if line.startswith(("exits:", "verified:"))]))
    assert said[:3] == said[3:]
    assert all(stats for _, stats in said)
