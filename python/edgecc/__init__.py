"""edgecc: compile ONNX transformers ahead of time into one file, and run them.

    import edgecc
    edgecc.compile("model.onnx", "model.edge", dims={"batch": 1, "sequence": (1, 256)})
    model = edgecc.load("model.edge")
    outputs = model.run({"input_ids": ids, "attention_mask": mask})
    for token in language_model.generate(prompt, max_tokens=64): ...
"""

from .compiler import compile, find_program
from .errors import CompileError, ContextFullError, EdgeccError, RunError
from .runtime import Dim, Entry, Memory, Model, Session, Symbol, Tensor, load
from .wordpiece import WordPiece

__version__ = "0.1.0"
__all__ = ["CompileError", "ContextFullError", "Dim", "EdgeccError", "Entry", "Memory", "Model", "RunError", "Session", "Symbol",
           "Tensor", "WordPiece", "compile", "find_program", "load"]
