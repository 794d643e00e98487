"""Calls of tools out of answers, in each notation."""

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TEMPLATES = ROOT.parent / "shared/data/text-layer/templates"
ARGUMENTS = {"city": "Zürich", "days": 2}
W = ["get_weather", ARGUMENTS]
JSON = json.dumps(ARGUMENTS, ensure_ascii=False)
CALLS, CALLS_END, CALL, CALL_END, SEP = (f"<｜tool▁{name}｜>" for name in ("calls▁begin", "calls▁end", "call▁begin", "call▁end", "sep"))

# notation, answer, calls, text that is left
ANSWERS = [
    ("hermes", f'Let me look.\n<tool_call>\n{{"name": "get_weather", "arguments": {JSON}}}\n</tool_call>', [W], "Let me look.\n"),
    ("hermes", f'<tool_call>{{"arguments": {JSON}, "name": "get_weather"}}</tool_call>\n<tool_call>{{"name": "now", "arguments": {{}}}}</tool_call>', [W, ["now", {}]], "\n"),
    ("hermes", f'<tool_call>\n{{"name": "get_weather", "arguments": {json.dumps(JSON)}}}', [W], ""),
    ("hermes", '<tool_call>{"name": "x", "arguments": {</tool_call> a', [], '<tool_call>{"name": "x", "arguments": {</tool_call> a'),
    ("hermes", '<tool_call>{"name": 5, "arguments": {}}</tool_call>', [], '<tool_call>{"name": 5, "arguments": {}}</tool_call>'),
    ("hermes", "no call, just {\"name\": \"x\"}", [], "no call, just {\"name\": \"x\"}"),
    ("xml-function", "ok\n<tool_call>\n<function=get_weather>\n<parameter=city>\nZürich\n</parameter>\n<parameter=days>\n2\n</parameter>\n</function>\n</tool_call>", [W], "ok\n"),
    ("xml-function", "<tool_call>\n<function=f>\n<parameter=code>\nif a < b:\n  x()\n\n</parameter>\n</function>\n</tool_call>", [["f", {"code": "if a < b:\n  x()\n"}]], ""),
    ("xml-function", "<function=now>\n</function>", [["now", {}]], ""),
    ("xml-function", "<tool_call><function=f><parameter=a>1", [], "<tool_call><function=f><parameter=a>1"),
    ("xml-arguments", "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Zürich</arg_value>\n<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n</tool_call>", [W], ""),
    ("xml-arguments", "<tool_call>now</tool_call>", [["now", {}]], ""),
    ("llama", f'{{"name": "get_weather", "parameters": {JSON}}}', [W], ""),
    ("llama", f'<|python_tag|>{{"name": "get_weather", "parameters": {JSON}}}<|eom_id|>', [W], ""),
    ("llama", f'{{"name": "get_weather", "parameters": {JSON}}}; {{"name": "now", "parameters": {{}}}}', [W, ["now", {}]], ""),
    ("llama", '<|python_tag|>brave_search.call(query="what, is (it)?", n=2)<|eom_id|>', [["brave_search", {"query": "what, is (it)?", "n": 2}]], ""),
    ("llama", '{"just": "json"}', [], '{"just": "json"}'),
    ("llama", f'It is: {{"name": "get_weather", "parameters": {JSON}}}', [], f'It is: {{"name": "get_weather", "parameters": {JSON}}}'),
    ("mistral", f'[TOOL_CALLS][{{"name": "get_weather", "arguments": {JSON}, "id": "abc"}}]', [W], ""),
    ("mistral", f'[TOOL_CALLS] [{{"name": "get_weather", "arguments": {JSON}}}, {{"name": "now", "arguments": {{}}}}]</s>', [W, ["now", {}]], "</s>"),
    ("mistral", f"Sure.[TOOL_CALLS]get_weather[ARGS]{JSON}[TOOL_CALLS]now[ARGS]{{}}", [W, ["now", {}]], "Sure."),
    ("mistral", f"[TOOL_CALLS]get_weather[CALL_ID]123456789[ARGS]{JSON}", [W], ""),
    ("mistral", "[TOOL_CALLS]get_weather", [], "[TOOL_CALLS]get_weather"),
    ("gemma", '<|tool_call>call:get_weather{city:<|"|>Zürich<|"|>,days:2}<tool_call|>', [W], ""),
    ("gemma", 'a<|tool_call>call:f{a:[1,true,<|"|>x,]}<|"|>],b:{<|"|>c<|"|>:null}}<tool_call|>b', [["f", {"a": [1, True, "x,]}"], "b": {"c": None}}]], "ab"),
    ("gemma", "<|tool_call>call:now{}<tool_call|>", [["now", {}]], ""),
    ("gemma", "<|tool_call>call:f{a:}<tool_call|>", [], "<|tool_call>call:f{a:}<tool_call|>"),
    ("harmony", f"<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{JSON}<|call|>", [W], ""),
    ("harmony", f"<|channel|>analysis<|message|>Need it.<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{JSON}<|call|>", [W],
     "<|channel|>analysis<|message|>Need it.<|end|>"),
    ("harmony", f"<|start|>assistant to=functions.get_weather<|channel|>commentary json<|message|>{JSON}<|call|>", [W], ""),
    ("harmony", "<|channel|>final<|message|>to=functions.x {}<|return|>", [], "<|channel|>final<|message|>to=functions.x {}<|return|>"),
    ("deepseek", f"{CALLS}{CALL}function{SEP}get_weather\n```json\n{JSON}\n```{CALL_END}\n{CALL}function{SEP}now\n```json\n{{}}\n```{CALL_END}{CALLS_END}", [W, ["now", {}]], ""),
    ("deepseek", f"hm{CALLS}{CALL}get_weather{SEP}{JSON}{CALL_END}{CALLS_END}", [W], "hm"),
    ("deepseek", f"{CALLS}{CALL}get_weather{SEP}", [], f"{CALLS}{CALL}get_weather{SEP}"),
    ("kimi", f"a<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{JSON}<|tool_call_end|><|tool_call_begin|>functions.now:1"
             "<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>", [W, ["now", {}]], "a"),
    ("functionary", f"get_weather\n{JSON}>>>now\n{{}}<|eot_id|>", [W, ["now", {}]], ""),
    ("functionary", f"all\nHello.>>>get_weather\n{JSON}", [W], "all\nHello."),
    ("none", f'<tool_call>{{"name": "get_weather", "arguments": {JSON}}}</tool_call>', [], f'<tool_call>{{"name": "get_weather", "arguments": {JSON}}}</tool_call>'),
]

NOTATIONS = {
    "Qwen-Qwen2.5-7B-Instruct": "hermes", "Qwen-Qwen3-0.6B": "hermes", "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": "hermes", "Qwen3-Coder": "xml-function", "GLM-4.6": "xml-arguments",
    "meta-llama-Llama-3.1-8B-Instruct": "llama", "mistralai-Mistral-Nemo-Instruct-2407": "mistral", "Mistral-Small-3.2-24B-Instruct-2506": "mistral", "google-gemma-4-31B-it-interleaved": "gemma",
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B": "deepseek", "deepseek-ai-DeepSeek-V3.1": "deepseek", "Kimi-K2-Instruct": "kimi", "meetkai-functionary-medium-v3.2": "functionary",
    "google-gemma-2-2b-it": "none", "microsoft-Phi-3.5-mini-instruct": "none",
}


@pytest.fixture(scope="module")
def run(request):
    program = request.config.getoption("--build-dir", ROOT / "build").resolve() / "bin/template_check"
    if not program.exists():
        pytest.skip(f"{program} is not built")

    def run_one(**question) -> dict:
        result = subprocess.run([program], input=json.dumps(question) + "\n", capture_output=True, text=True, check=True)
        return json.loads(result.stdout)
    return run_one


@pytest.mark.parametrize("notation, answer, calls, text", ANSWERS)
def test_finds_the_calls_of_an_answer(run, notation, answer, calls, text):
    got = run(notation=notation, answer=answer)
    assert [[name, json.loads(arguments)] for name, arguments in got["calls"]] == calls
    assert got["text"] == text


@pytest.mark.parametrize("notation", sorted({answer[0] for answer in ANSWERS}))
def test_cut_answers_are_text_or_calls(run, notation):
    """No prefix of an answer fails, and none gives a call that the whole has not."""
    for other, answer, calls, _ in ANSWERS:
        for end in range(0, len(answer), 7) if other == notation else []:
            got = run(notation=notation, answer=answer[:end])
            assert all([name, json.loads(arguments)] in calls for name, arguments in got["calls"])


@pytest.mark.skipif(not TEMPLATES.exists(), reason=f"{TEMPLATES} is not there")
@pytest.mark.parametrize("name", NOTATIONS)
def test_detects_the_notation_of_a_template(run, name):
    got = run(template=(TEMPLATES / f"{name}.jinja").read_text(), context='{"messages": [{"role": "user", "content": "x"}]}')
    assert got["notation"] == NOTATIONS[name]
