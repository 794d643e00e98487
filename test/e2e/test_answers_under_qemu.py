"""A real chat model gives the same greedy answers on the host and on AArch64: SmolLM2 from its GGUF file, in 4 bits and in f16.

    pytest test/e2e/test_answers_under_qemu.py [--quick] [-s]      # -s prints the rows of docs/results/smollm2-answers.md
"""

import subprocess

import pytest

import edgecc
from folders import artifact_folder
from test_chat import exporter, gguf_file, run  # noqa: F401

QUESTIONS = ["What is the capital of France?", "What is the capital of Japan?", "Who wrote Romeo and Juliet?", "How many days are there in a week?",
             "What is the opposite of hot?", "What is 2 + 3?", "What is the chemical formula of water?", "What do bees make?",
             "What is the largest ocean on Earth?", "Which planet is known as the Red Planet?"]
SCHEMES = {"4 bits": {"quant": "w4g32a8"}, "f16": {}}
TOKENS = "24"


@pytest.fixture(scope="module")
def artifact(build_dir, exporter):  # noqa: F811
    """artifact(scheme, target): the compiled model; each is made once."""
    made = {}

    def compiled(scheme: str, target: str):
        if (scheme, target) not in made:
            edge = artifact_folder(build_dir) / f"smollm2-answers-{scheme.replace(' ', '-')}-{target}.edge"
            with pytest.MonkeyPatch.context() as patch:
                for name, value in exporter.items():
                    patch.setenv(name, value)
                edgecc.compile(gguf_file(), edge, target=target, context=256, timeout=600, **SCHEMES[scheme])
            made[scheme, target] = edge
        return made[scheme, target]
    return compiled


@pytest.mark.parametrize("scheme, question", [
    pytest.param(scheme, question, marks=[] if (scheme, question) == ("4 bits", QUESTIONS[2]) else pytest.mark.long)
    for question in QUESTIONS for scheme in SCHEMES])
def test_same_answer(scheme, question, artifact, build_dir, under_qemu):
    options = ["--prompt", question, "--max-tokens", TOKENS, "--temperature", "0"]
    host = run(build_dir, artifact(scheme, "host"), *options)
    phone = subprocess.run([*under_qemu("cortex-a76"), str(artifact(scheme, "linux-arm64")), "--threads", "1", *options],
                           capture_output=True, text=True)
    assert host.returncode == 0 and phone.returncode == 0, host.stderr + phone.stderr
    assert host.stdout.strip() and phone.stdout == host.stdout
    print(f"| {question} | {scheme} | {' '.join(host.stdout.split())} |")
