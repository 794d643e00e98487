"""A language model that says what a test has written down, with a tokenizer of single bytes.

The next token depends on the position alone, so a test knows the whole conversation: `save_model(folder, script)` with the token at
each position. `save_tokenizer` writes a tokenizer.json whose tokens are the 256 bytes and then the given special tokens.
"""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def save_tokenizer(folder: Path, specials: list[str], template: str, end: str):
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template, "eos_token": end, "bos_token": specials[0]}))
    return tokenizer


def save_model(path: Path, script: list[int], vocabulary: int) -> Path:
    """`script[i]` is the token after i + 1 tokens."""
    length = len(script)
    constants = {"script": np.array(script, np.int64), "rows": np.eye(vocabulary, dtype=np.float32) * 30,
                 "silence": np.zeros((vocabulary, 1), np.float32)}
    nodes = [helper.make_node("Gather", ["script", "position_ids"], ["next"]), helper.make_node("Gather", ["rows", "next"], ["chosen"]),
             helper.make_node("Gather", ["silence", "input_ids"], ["nothing"]), helper.make_node("Add", ["chosen", "nothing"], ["logits"])]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, [1, "sequence"]) for name in ("input_ids", "position_ids")]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, "sequence", vocabulary])]
    graph = helper.make_graph(nodes, "scripted", inputs, outputs, [numpy_helper.from_array(v, k) for k, v in constants.items()])
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString())
    assert length <= 4096
    return path
