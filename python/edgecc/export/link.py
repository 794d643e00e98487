"""Gives external data its location: ONNX wants a relative path inside the model's directory tree, and plain files.

Weights in that tree already are referenced where they lie. Others get a second name beside the model: a clone where the file
system shares extents (btrfs, XFS); else a copy if they are small, a hard link if they are large. ONNX Runtime and edgecc read
all three; `onnx.load` and `onnx.checker` refuse hard links, `--weights copy` is for them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import Any

import onnx

from .checkpoint import PACKED, ExportError, Rewritten, Weight, note, read_safetensors, write_safetensors

_FICLONE = 0x40049409  # linux/fs.h
_SMALL = 256 << 20  # bytes: copied in a blink
_PRODUCER = {"producer": "edgecc-export"}


def _clone(source: Path, target: Path) -> bool:
    with open(source, "rb") as reader, open(target, "wb") as writer:
        try:
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
            return True
        except OSError:
            pass
    target.unlink()
    return False


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
        return True
    except OSError:
        return False


def _copy_sparse(source: Path, target: Path) -> None:
    """A copy that keeps the holes: measurement models are mostly holes."""
    with open(source, "rb") as reader, open(target, "wb") as writer:
        size = os.fstat(reader.fileno()).st_size
        writer.truncate(size)
        position = 0
        while position < size:
            try:
                begin = os.lseek(reader.fileno(), position, os.SEEK_DATA)
            except OSError:  # no data after position
                return
            position = os.lseek(reader.fileno(), begin, os.SEEK_HOLE)
            reader.seek(begin)
            writer.seek(begin)
            left = position - begin
            while left:
                chunk = reader.read(min(left, 1 << 22))
                writer.write(chunk)
                left -= len(chunk)


def _is_placed(candidate: Path, real: Path, how: str) -> bool:
    """Whether `candidate` is a link to, or an earlier copy of, the weights `real`."""
    if candidate.samefile(real):
        return how != "copy"
    ours, theirs = candidate.stat(), real.stat()
    return (ours.st_size, ours.st_mtime_ns) == (theirs.st_size, theirs.st_mtime_ns)


def _place(source: Path, model: Path, how: str) -> str:
    """Makes `source` reachable from the directory of `model`; returns the location to write."""
    directory = model.parent.resolve()
    real = source.resolve()
    if real.is_relative_to(directory):
        return real.relative_to(directory).as_posix()
    target = directory / (source.name if not (directory / source.name).exists() else f"{model.stem}-{source.name}")
    for candidate in (directory / source.name, target):
        if candidate.exists() and not candidate.is_symlink() and _is_placed(candidate, real, how):
            return candidate.name
    temporary = target.with_name(target.name + ".partial")
    temporary.unlink(missing_ok=True)
    try:
        if not _clone(real, temporary):
            size = real.stat().st_size
            if how == "copy" or (how == "auto" and size <= _SMALL) or not _link(real, temporary):
                if size > _SMALL:
                    note(f"copying {size / 1e9:.2f} GB of weights to {target}"
                         + ("" if how == "copy" else " (another file system: they cannot be linked)"))
                _copy_sparse(real, temporary)
        if not temporary.samefile(real):
            stat = real.stat()
            os.utime(temporary, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # by which the next export knows it again
        os.replace(temporary, target)
    except OSError as error:
        raise shutil.Error(f"{target}: cannot place the weights beside the model: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return target.name


def _write_rewritten(references: dict[str, Weight], output: Path) -> dict[str, Weight]:
    """Writes what is made at export into MODEL.weights.safetensors beside the model, a tensor at a time; returns where all lie."""
    made = {name: w for name, w in references.items() if isinstance(w, Rewritten)}
    if not made:
        return references
    target = output.with_suffix(".weights.safetensors")
    # What an earlier export wrote may be written again; another's file is left alone.
    if target.exists() and read_safetensors(target)[1].get("producer") != _PRODUCER["producer"]:
        raise ExportError(f"{target} is not from an earlier export and would be overwritten; give -o another name")

    def layout(name: str) -> tuple[str, str, tuple[int, ...]]:
        weight = made[name]
        packed = weight.dtype in PACKED
        return name, "U8" if packed else weight.dtype, (weight.length,) if packed else weight.shape

    def fill(stream: Any, name: str, dtype: str, shape: tuple[int, ...]) -> None:
        stream.write(made[name].stored().data)

    output.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(target, (layout(name) for name in made), fill, _PRODUCER)
    placed, _ = read_safetensors(target)
    return {**references, **{name: placed[name] for name in made}}


def write_model(model: onnx.ModelProto, references: dict[str, Weight], output: Path, how: str) -> None:
    """Writes `output`, atomically, with each referenced initializer pointing into a file beside it. `how` is auto, link or
    copy."""
    references = _write_rewritten(references, output)
    output.parent.mkdir(parents=True, exist_ok=True)
    locations: dict[Path, str] = {}
    for tensor in model.graph.initializer:
        weight = references.get(tensor.name)
        if weight is None:
            continue
        if weight.file not in locations:
            locations[weight.file] = _place(weight.file, output, how)
        for key, value in (("location", locations[weight.file]), ("offset", weight.offset), ("length", weight.length)):
            tensor.external_data.add(key=key, value=str(value))
    partial = output.with_name(output.name + ".partial")
    try:
        partial.write_bytes(model.SerializeToString())
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)
