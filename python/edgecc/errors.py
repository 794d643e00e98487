"""The exceptions of the package; their text is the compiler's or runtime's own sentence."""


class EdgeccError(Exception):
    """Anything that edgecc refuses."""


class CompileError(EdgeccError):
    """The compiler refused the model; `args[0]` is what it said. `returncode` is negative when a signal ended it."""

    def __init__(self, message: str, returncode: int):
        super().__init__(message)
        self.returncode = returncode


class RunError(EdgeccError):
    """The runtime refused; `status` names the kind, as in edgecc.h: "invalid argument", "context full", ..."""

    def __init__(self, message: str, code: int, status: str):
        super().__init__(message)
        self.code = code
        self.status = status


class ContextFullError(RunError):
    """The call would go beyond the session's context length; the session is as it was before the call."""
