"""Calls of tools in conversations: a scripted model answers in the notation of a real template.

    pytest test/e2e/test_calls_in_chats.py [--build-dir build]

Oracles: jinja2 writes the prompts, HF tokenizers counts them, and the answer and its calls are known.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import edgecc
import pytest
import scripted

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ROOT.parent / "shared/data/text-layer/templates"
sys.path.insert(0, str(ROOT / "test/text/templates"))

import oracle  # noqa: E402

ARGUMENTS = {"city": "Zürich", "days": 2}
JSON = json.dumps(ARGUMENTS, ensure_ascii=False)
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "Weather of a city.", "parameters": {
    "type": "object", "required": ["city"], "properties": {"city": {"type": "string", "description": "City"},
                                                           "days": {"type": "integer", "description": "Days"}}}}}]
CALLED = [f"call get_weather {JSON}"]
# template, special tokens, what the model says, text that is shown, calls
CASES = {
    "hermes": ("Qwen-Qwen2.5-7B-Instruct", ["<|im_start|>", "<|im_end|>"], f'Let me see.\n<tool_call>\n{{"name": "get_weather", "arguments": {JSON}}}\n</tool_call>',
               "Let me see.\n", CALLED),
    "hermes, no call": ("Qwen-Qwen2.5-7B-Instruct", ["<|im_start|>", "<|im_end|>"], 'Use <tool_call> so: <tool_call>{"name": 1}', 'Use <tool_call> so: <tool_call>{"name": 1}', []),
    "hermes, almost": ("Qwen-Qwen2.5-7B-Instruct", ["<|im_start|>", "<|im_end|>"], "a < b, <tool and <tool_cal", "a < b, <tool and <tool_cal", []),
    "xml": ("Qwen3-Coder", ["<|im_start|>", "<|im_end|>"],
            "<tool_call>\n<function=get_weather>\n<parameter=city>\nZürich\n</parameter>\n<parameter=days>\n2\n</parameter>\n</function>\n</tool_call>", "", CALLED),
    "mistral": ("mistralai-Mistral-Nemo-Instruct-2407", ["<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"],
                f'[TOOL_CALLS][{{"name": "get_weather", "arguments": {JSON}}}]', "", CALLED),
    "llama": ("meta-llama-Llama-3.1-8B-Instruct", ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|python_tag|>"],
              f'{{"name": "get_weather", "parameters": {JSON}}}', "", CALLED),
    "llama, tagged": ("meta-llama-Llama-3.1-8B-Instruct", ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|python_tag|>"],
                      f'<|python_tag|>{{"name": "get_weather", "parameters": {JSON}}}', "", CALLED),
    "llama, json": ("meta-llama-Llama-3.1-8B-Instruct", ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"], ' {"just": "json"}', ' {"just": "json"}', []),
    "functionary": ("meetkai-functionary-medium-v3.2", ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"], f"get_weather\n{JSON}", "", CALLED),
    "functionary, text": ("meetkai-functionary-medium-v3.2", ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"], "all\nHello.", "Hello.", []),
    "gemma": ("google-gemma-4-31B-it-interleaved", ["<bos>", "<turn|>", "<|turn>", "<|tool_call>", "<tool_call|>", '<|"|>', "<|tool>", "<tool|>"],
              'Now: <|tool_call>call:get_weather{city:<|"|>Zürich<|"|>,days:2}<tool_call|>', "Now: ", CALLED),
}


def conversation(build_dir, folder, case, *, results=()):
    """Runs a conversation whose first answer is the case's and whose second one is "Warm."; returns (edgecc-run's result, prompt)."""
    name, specials, said, _, _ = CASES[case]
    source = TEMPLATES / f"{name}.jinja"
    if not source.exists():
        pytest.skip(f"NOT TESTED, tool calls of {name}: {source} is not there")
    pytest.importorskip("tokenizers", reason="NOT TESTED, tool calls: the Python package tokenizers is not installed")
    template, end = source.read_text(), specials[1]
    tokenizer = scripted.save_tokenizer(folder / "text", specials, template, end)
    first = {"role": "user", "content": "Weather?"}
    context = {"bos_token": specials[0], "eos_token": end, "tools": TOOLS, "add_generation_prompt": True}
    prompt = oracle.expected(template, {**context, "messages": [first]})["output"]
    ids = lambda text: tokenizer.encode(text, add_special_tokens=False).ids  # noqa: E731
    script = [0] * 4000
    begin = len(ids(prompt)) - 1
    answer = ids(said) + ids(end)
    script[begin:begin + len(answer)] = answer
    after = len(answer) + begin + 1
    script[after:] = (ids("Warm.") + ids(end)) * 600
    script = script[:4000]
    model = scripted.save_model(folder / "model.onnx", script, tokenizer.get_vocab_size())
    edgecc.compile(model, folder / "model.edge", dims={"sequence": (1, 4000)}, tokenizer=folder / "text")
    (folder / "tools.json").write_text(json.dumps(TOOLS))
    lines = "".join(line + "\n" for line in ["Weather?", *results, "/save " + str(folder / "saved.json")])
    done = subprocess.run([str(build_dir / "bin/edgecc-run"), str(folder / "model.edge"), "--chat", "--tools", str(folder / "tools.json"), "--max-tokens", "300"],
                          input=lines, capture_output=True, text=True)
    return done, len(ids(prompt))


@pytest.mark.parametrize("case", CASES)
def test_calls_are_read_and_kept(build_dir, tmp_path, case):
    _, _, _, text, calls = CASES[case]
    done, prompt = conversation(build_dir, tmp_path, case)
    assert done.returncode == 0, done.stderr
    assert done.stdout == text + "\n" + "".join(call + "\n" for call in calls)
    assert f"prompt: {prompt} tokens" in done.stderr, done.stderr
    message = json.loads((tmp_path / "saved.json").read_text())[-1]
    assert message["role"] == "assistant" and message["content"] == (text.rstrip() if calls else text), message
    if not calls:
        assert "tool_calls" not in message
        return
    (call,) = message["tool_calls"]
    assert call["function"] == {"name": "get_weather", "arguments": ARGUMENTS} and re.fullmatch("[a-z0-9]{9}", call["id"]), call


def test_a_result_is_answered(build_dir, tmp_path):
    done, prompt = conversation(build_dir, tmp_path, "hermes", results=["/tool 22 degrees"])
    assert done.returncode == 0, done.stderr
    messages = json.loads((tmp_path / "saved.json").read_text())
    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "assistant"], messages
    assert messages[2]["content"] == "22 degrees" and messages[2]["tool_call_id"] == messages[1]["tool_calls"][0]["id"], messages
    # The call that the template writes is the one that the model wrote: it is not computed again.
    second = [line for line in done.stderr.splitlines() if line.startswith("prompt:")][1]
    said = len(CASES["hermes"][2].encode())
    assert int(re.search(r"(\d+) of them cached", second)[1]) >= prompt + said, second


def test_calls_in_python(build_dir, tmp_path):
    conversation(build_dir, tmp_path, "hermes")
    with edgecc.load(tmp_path / "model.edge") as model:
        assert model.text.has_tools
        with model.chat(tools=TOOLS) as chat:
            assert chat.tool_calls == []
            assert chat.send("Weather?", max_tokens=300).text == "Let me see.\n"
            (call,) = chat.tool_calls
            assert (call.name, call.arguments) == ("get_weather", ARGUMENTS) and re.fullmatch("[a-z0-9]{9}", call.id), call
            assert chat.messages[-1]["tool_calls"][0]["id"] == call.id
            # The script says "Warm." again and again from the end of the call on.
            answer = chat.send({"role": "tool", "tool_call_id": call.id, "content": "22 degrees"}, max_tokens=300).text
            assert answer and "Warm.".endswith(answer)
            assert chat.tool_calls == [] and [m["role"] for m in chat.messages] == ["user", "assistant", "tool", "assistant"]
        # Without tools a call is text.
        with model.chat() as chat:
            chat.send("Weather?", max_tokens=300)
            assert not chat.tool_calls and "tool_calls" not in chat.messages[-1]


def test_refusals(build_dir, tmp_path):
    done, _ = conversation(build_dir, tmp_path, "hermes, no call", results=["/tool 22"])
    assert done.returncode == 1 and "/tool: the last answer has no call that waits for a result" in done.stderr, done.stderr
    (tmp_path / "tools.json").write_text('{"type": "function"}')
    command = [str(build_dir / "bin/edgecc-run"), str(tmp_path / "model.edge"), "--prompt", "x", "--tools", str(tmp_path / "tools.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "tools.json: is not a JSON array of functions" in done.stderr, done.stderr
    (tmp_path / "tools.json").write_text("[{]")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "tools.json: the variable's value is not JSON" in done.stderr, done.stderr
