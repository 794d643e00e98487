"""edgecc: compile ONNX transformers ahead of time into one file, and run them.

    import edgecc
    edgecc.compile("model.onnx", "model.edge", dims={"batch": 1, "sequence": (1, 256)})
    model = edgecc.load("model.edge")
    outputs = model.run({"input_ids": ids, "attention_mask": mask})
    for piece in language_model.generate("Once upon a time", max_tokens=64): ...
    for piece in language_model.chat("What is the capital of France?"): ...
"""

from .compiler import compile, find_program
from .errors import CompileError, ContextFullError, EdgeccError, RunError
from .runtime import Dim, Entry, Memory, Model, Session, Symbol, Tensor, load
from .text import Answer, Chat, GenerationOptions, Message, Piece, SamplingOptions, Text, ToolCall, Usage

__version__ = "0.1.0"
__all__ = ["Answer", "Chat", "CompileError", "ContextFullError", "Dim", "EdgeccError", "Entry", "GenerationOptions", "Memory", "Message",
           "Model", "Piece", "RunError", "SamplingOptions", "Session", "Symbol", "Tensor", "Text", "ToolCall", "Usage", "compile", "find_program", "load"]
