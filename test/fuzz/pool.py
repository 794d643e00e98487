"""A worker process that is started anew when it has died."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

TIMEOUT = 900.0  # of a whole case; the compiler alone has a limit of its own


class Worker:
    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: Any) -> None:
        if self.process:
            assert self.process.stdin
            self.process.stdin.close()
            self.process.wait()

    def _start(self) -> subprocess.Popen[str]:
        here = Path(__file__).resolve().parent
        paths = [str(here.parents[1] / "python"), str(here), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p), "MALLOC_PERTURB_": "165"}
        process = subprocess.Popen([sys.executable, str(here / "worker.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True, env=environment)
        assert process.stdout
        if process.stdout.readline() != "ready\n":
            raise SystemExit(f"{here / 'worker.py'} does not start; run it to see why")
        return process

    def ask(self, job: str) -> dict[str, Any]:
        """The worker's answer; a crash if it dies or takes too long."""
        if not self.process:
            self.process = self._start()
        process = self.process
        assert process.stdin and process.stdout
        print(job, file=process.stdin, flush=True)
        ready, _, _ = select.select([process.stdout], [], [], TIMEOUT)
        line = process.stdout.readline() if ready else ""
        if line:
            return json.loads(line)
        self.process = None
        if not ready:
            process.kill()
        code = process.wait()
        how = f"no end after {TIMEOUT:.0f} s" if not ready else signal.Signals(-code).name if code < 0 else f"exit {code}"
        return {"verdict": "crash", "reason": f"generated code or runtime: {how}", "note": "", "seconds": TIMEOUT if not ready else 0.0}
