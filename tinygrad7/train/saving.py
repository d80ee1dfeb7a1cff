"""Checkpoints: the whole state of a training run in one file, replaced in one move.

A file is written beside the old one, forced to the disk and renamed over it. Whenever the process dies, the file that
is found is the old one or the new one, never half of one; and what is read is proved by a digest before it is used.
"""

from __future__ import annotations

import contextlib
import glob
import io
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad7.train.pack import pack, unpack

_HEADER = "tinygrad7.json"
_FORMAT, _VERSION = "tinygrad7 checkpoint", 1
_LEFT_SECONDS = 600.0  # nobody writes one file for that long without touching it
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same state gives the same bytes, whenever it is written


class CheckpointError(RuntimeError):
    """A checkpoint that is not there, damaged, foreign, or made by another model."""


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file so that at any moment either the old content or the new one is there, also after a power cut, and
    where several processes write it: the last one wins."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):  # of processes that were killed
        with contextlib.suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > _LEFT_SECONDS:
                left.unlink()
    if hasattr(os, "O_DIRECTORY"):
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


class Checkpoint:
    """The state of named parts, kept in ``path``: ``.npz`` (no pickle), or ``.safetensors`` where that is installed.

    ``Checkpoint("run.npz", model=model, optimizer=optimizer, stream=batches, dropout=rng)``: a part has
    ``state_dict`` and ``load_state_dict``, or is a ``numpy.random.Generator``; ``tg.train.fit`` adds those it knows.
    ``notes``: numbers, texts, arrays of yours, also nested, to be kept beside. Raises ``TypeError`` for a part that is
    neither, ``ValueError`` for another suffix, ``ImportError`` where safetensors is missing."""

    def __init__(self, path: str | os.PathLike[str], *, notes: dict[str, Any] | None = None, **parts: Any) -> None:
        self.path = Path(path)
        self.notes = {} if notes is None else notes
        if self.path.suffix not in (".npz", ".safetensors"):
            raise ValueError(f"Checkpoint: {self.path.name!r} must end in .npz or .safetensors")
        if self.path.suffix == ".safetensors":
            _safetensors()
        self.parts: dict[str, Any] = {}
        self.add(**parts)

    def add(self, **parts: Any) -> None:
        """More parts; a name that is there already is replaced."""
        for name, part in parts.items():
            if not isinstance(part, np.random.Generator) and not hasattr(part, "load_state_dict"):
                raise TypeError(
                    f"Checkpoint: part {name!r} is a {type(part).__name__}; it needs state_dict() and "
                    "load_state_dict(), or to be a numpy.random.Generator"
                )
            self.parts[name] = part

    def exists(self) -> bool:
        """Whether there is a file to load."""
        return self.path.exists()

    def save(self) -> None:
        """Replace the file by the notes and the parts' present state.

        If writing fails (a full disk), the error is passed on and the file that was good stays."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        skeleton, arrays = pack({"notes": self.notes, "parts": self._states()})
        digest = _digest(skeleton, arrays)
        header = json.dumps({"format": _FORMAT, "version": _VERSION, "sha256": digest, "tree": skeleton})
        encode = _encode_npz if self.path.suffix == ".npz" else _encode_safetensors
        write_atomically(self.path, encode(header, arrays))

    def load(self) -> dict[str, Any]:
        """Put every part into the saved state, and take over and return the notes.

        Raises ``CheckpointError`` with the reason for a file that is missing, truncated, corrupt or foreign, and for
        a state that does not fit a part; then no part has been changed."""
        tree = self._read()
        saved, own = tree["parts"], set(self.parts)
        if set(saved) != own:
            raise CheckpointError(
                f"{self.path}: it holds {', '.join(sorted(saved))}, but {', '.join(sorted(own))} are to be loaded"
            )
        before = self._states()
        name = ""
        try:
            for name, state in saved.items():
                self._set(name, state)
        except (KeyError, ValueError, TypeError) as error:
            for name_before, state in before.items():
                self._set(name_before, state)
            reason = error.args[0] if error.args else error
            raise CheckpointError(f"{self.path}: its {name} does not fit, nothing was changed: {reason}") from error
        self.notes = tree["notes"]
        return self.notes

    def read_notes(self) -> dict[str, Any]:
        """The notes of the file; no part is touched. Raises as ``load``."""
        found: dict[str, Any] = self._read()["notes"]
        return found

    def _states(self) -> dict[str, Any]:
        return {
            name: part.bit_generator.state if isinstance(part, np.random.Generator) else part.state_dict()
            for name, part in self.parts.items()
        }

    def _set(self, name: str, state: Any) -> None:
        part = self.parts[name]
        if isinstance(part, np.random.Generator):
            part.bit_generator.state = state
        else:
            part.load_state_dict(state)

    def _read(self) -> dict[str, Any]:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            raise CheckpointError(f"{self.path}: there is no such file") from None
        except OSError as error:
            raise CheckpointError(f"{self.path}: it cannot be read: {error.strerror}") from error
        decode = _decode_npz if self.path.suffix == ".npz" else _decode_safetensors
        try:
            header, arrays = decode(content)
            found = json.loads(header)
            if found.get("format") != _FORMAT:
                raise CheckpointError(f"its header names the format {found.get('format')!r}, not {_FORMAT!r}")
            if found["version"] != _VERSION:
                raise CheckpointError(f"it has version {found['version']}, this package reads version {_VERSION}")
            if _digest(found["tree"], arrays) != found["sha256"]:
                raise CheckpointError("it is corrupt: the digest of its content is not the one that was written")
            tree: dict[str, Any] = unpack(found["tree"], arrays)
        except CheckpointError as error:
            raise CheckpointError(f"{self.path}: {error}") from error.__cause__
        except (ValueError, KeyError, AttributeError) as error:  # a header that is none of ours
            raise CheckpointError(f"{self.path}: it is corrupt: {error}") from error
        return tree


def _digest(skeleton: str, arrays: dict[str, np.ndarray]) -> str:
    import hashlib

    digest = hashlib.sha256(skeleton.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _encode_npz(header: str, arrays: dict[str, np.ndarray]) -> bytes:
    import zipfile

    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(_HEADER, _EPOCH), header)
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), member.getbuffer())
    return whole.getvalue()


def _decode_npz(content: bytes) -> tuple[str, dict[str, np.ndarray]]:
    import zipfile

    if not content.startswith(b"PK"):
        raise CheckpointError(f"it is foreign: {'it is empty' if not content else 'no .npz file starts like this'}")
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        names = archive.namelist()
        if _HEADER not in names:
            held = ", ".join(names[:4]) + (" ..." if len(names) > 4 else "")
            raise CheckpointError(f"it is foreign: an archive of {held or 'nothing'}, without {_HEADER}")
        arrays = {
            name.removesuffix(".npy"): np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False)
            for name in names
            if name != _HEADER
        }
        return archive.read(_HEADER).decode(), arrays
    except zipfile.BadZipFile as error:
        damage = "truncated" if "not a zip file" in str(error) else "corrupt"
        raise CheckpointError(f"it is {damage}: {error}") from error
    except (EOFError, NotImplementedError) as error:
        raise CheckpointError(f"it is corrupt: {error}") from error


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError("Checkpoint: .safetensors needs the package: pip install safetensors; or use .npz") from error
    return safetensors.numpy


def _encode_safetensors(header: str, arrays: dict[str, np.ndarray]) -> bytes:
    content: bytes = _safetensors().save(arrays, metadata={_HEADER: header})
    return content


def _decode_safetensors(content: bytes) -> tuple[str, dict[str, np.ndarray]]:
    library = _safetensors()
    try:
        arrays: dict[str, np.ndarray] = library.load(content)
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    except Exception as error:  # the library has an exception class of its own
        raise CheckpointError(f"it is truncated, corrupt or foreign: {error}") from error
    if _HEADER not in metadata:
        raise CheckpointError(f"it is foreign: safetensors without {_HEADER} in the metadata")
    return metadata[_HEADER], arrays
