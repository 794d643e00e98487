"""jinja2 as transformers sets it up, and template_check beside it."""

import copy
import functools
import json
import subprocess
from datetime import datetime
from pathlib import Path

NOW = 1753540245  # 2025-07-26 14:30:45 UTC


@functools.lru_cache(maxsize=8)
def jinja(source: str):
    """The template of transformers' own function."""
    from transformers.utils import chat_template_utils

    class Frozen(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.fromtimestamp(NOW)

    chat_template_utils.datetime = Frozen
    return chat_template_utils._cached_compile_jinja_template(source)


def expected(source: str, context: dict) -> dict:
    """{"output"}, or {"error", "raised"}, or {"refused"} if the template does not compile."""
    import jinja2

    try:
        template = jinja(source)
    except jinja2.TemplateSyntaxError as error:
        return {"refused": str(error)}
    try:
        return {"output": template.render(**copy.deepcopy(context))}  # `list|indent` changes its argument
    except jinja2.TemplateError as error:
        return {"error": str(error), "raised": type(error) is jinja2.TemplateError, "type": type(error).__name__}
    except Exception as error:  # whatever Python raises
        return {"error": str(error), "raised": False, "type": type(error).__name__}


def actual(program: Path, cases: list[tuple[str, dict]]) -> list[dict]:
    lines = [json.dumps({"template": source, "context": json.dumps(context), "now": NOW}) for source, context in cases]
    result = subprocess.run([program], input="\n".join(lines) + "\n", capture_output=True, text=True)
    assert result.returncode == 0, f"template_check ended with {result.returncode}: {result.stderr[-2000:]}"
    return [json.loads(line) for line in result.stdout.splitlines()]


def difference(want: dict, got: dict) -> str:
    """Empty if the two agree: the same output, or both raise, with the same sentence for raise_exception."""
    if "output" in want:
        return "" if got.get("output") == want["output"] else f"expected {want['output']!r}\n     got {got.get('output', got)!r}"
    if "refused" in want:
        return "" if "refused" in got else f"expected a refusal ({want['refused']}), got {got}"
    if "error" not in got:
        return f"expected the error {want['error']!r}, got {got}"
    if want["raised"] and (not got["raised"] or got["error"] != want["error"]):
        return f"expected the sentence {want['error']!r}, got {got}"
    return ""
