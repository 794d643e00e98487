"""Compiled chat templates against jinja2, set up by transformers."""

import os
import time
from pathlib import Path

import pytest

pytest.importorskip("jinja2", reason="jinja2 is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

import conversations  # noqa: E402
import oracle  # noqa: E402
import small_templates  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]
TEMPLATES = ROOT.parent / "shared/data/text-layer/templates"
# Refused because transformers' own jinja2 has no such filter either; there it fails when the line is reached.
REFUSED = {"deepseek-ai-DeepSeek-V3.2.jinja": "template:90: unknown or unsupported filter 'from_json'"}


@pytest.fixture(scope="session")
def program(request) -> Path:
    path = request.config.getoption("--build-dir", ROOT / "build").resolve() / "bin/template_check"
    if not path.exists():
        pytest.skip(f"{path} is not built")
    return path


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def templates() -> list[Path]:
    return sorted(TEMPLATES.glob("*.jinja"))


@pytest.mark.skipif(not templates(), reason=f"{TEMPLATES} is not there")
@pytest.mark.parametrize("path", templates(), ids=lambda path: path.stem)
def test_equals_jinja2_on_a_real_template(program, path):
    source = path.read_text()
    names, contexts = zip(*conversations.contexts())
    answers = oracle.actual(program, [(source, context) for context in contexts])
    if path.name in REFUSED:
        assert {answer.get("refused") for answer in answers} == {REFUSED[path.name]}
        return
    wrong = [f"{name}: {text}" for name, context, got in zip(names, contexts, answers)
             if (text := oracle.difference(oracle.expected(source, context), got))]
    assert not wrong, f"{len(wrong)} of {len(names)} differ:\n" + "\n".join(text[:2000] for text in wrong[:3])


@pytest.mark.skipif(not templates(), reason=f"{TEMPLATES} is not there")
@pytest.mark.parametrize("path", [path for path in templates() if path.name not in REFUSED], ids=lambda path: path.stem)
def test_text_of_the_caller_is_never_trusted(program, path):
    """Every message, role and tool consists of characters that no template has."""
    def mark(value):
        if isinstance(value, str):
            return "ж".join(f"{value}") + "ж"
        if isinstance(value, list):
            return [mark(element) for element in value]
        return {key: element if key in ("role", "type", "id", "tool_call_id") else mark(element) for key, element in value.items()} if isinstance(value, dict) else value

    cases = [{**context, "messages": mark(context["messages"]), "tools": mark(context["tools"]), "bos_token": "<s>", "eos_token": "</s>"}
             for name, context in conversations.contexts() if not name.startswith("long")]
    seen = 0
    for answer in oracle.actual(program, [(path.read_text(), context) for context in cases]):
        output = answer.get("output", "").encode()
        ranges = answer.get("trusted", [])
        assert ranges == sorted(ranges) and all(a[1] < b[0] for a, b in zip(ranges, ranges[1:]))
        for begin, end in ranges:
            assert "ж" not in output[begin:end].decode()
        seen += "ж" in output.decode()
    assert seen > 1


@pytest.mark.parametrize("name", small_templates.TEMPLATES)
def test_equals_jinja2_on_a_small_template(program, name):
    sources = small_templates.TEMPLATES[name]
    for source, got in zip(sources, oracle.actual(program, [(source, small_templates.CONTEXT) for source in sources])):
        assert not (text := oracle.difference(oracle.expected(source, small_templates.CONTEXT), got)), f"{source!r}\n{text}"


@pytest.mark.parametrize("source, sentence", small_templates.REFUSED)
def test_refuses_at_compile_time_with_line_and_construct(program, source, sentence):
    assert oracle.actual(program, [(source, {})])[0] == {"refused": f"template:{sentence}"}


@pytest.mark.parametrize("source, pieces", small_templates.TRUSTED)
def test_knows_which_text_is_the_template_s(program, source, pieces):
    got = oracle.actual(program, [(source, {"d": "data", "l": ["x", "y"], "bos_token": "<s>", "n": 5})])[0]
    output = got["output"].encode()
    assert [output[begin:end].decode() for begin, end in got["trusted"]] == pieces


@pytest.mark.parametrize("source, sentence", small_templates.HOSTILE)
def test_hostile_template_ends_with_an_error(program, source, sentence):
    got = oracle.actual(program, [(source, {})])[0]
    assert sentence in got.get("error", got.get("refused", "")), got
