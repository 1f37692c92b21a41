"""protoc, bounded: the descriptors of a schema's text.

protoc runs in a process of its own with a limit on its memory. It reads the schema, what the
schema's references name, and the well-known types; a schema that it takes too long for, or dies
of, is refused and the next one gets a new process. A process is kept while schemas come, as
starting one takes a hundred times as long as one schema.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from eventbus.contracts.limits import SCHEMA_MAX_BYTES
from eventbus.contracts.schema import Schema
from eventbus.errors import InvalidSchema, MissingDependency

#: protoc reads the largest schema that is allowed in less than a second.
TIME_LIMIT_SECONDS = 10.0

#: Lines that are no error: warnings, and the log of protoc's own library.
_REMARK = re.compile(r"(?i)warning: |^[IW]\d{4} ")

_PROGRAM = Path(__file__).with_name("compiler_process.py")


class Compiler:
    """Gives descriptors for schemas; safe to share between threads and to inherit by a fork."""

    def __init__(self, time_limit_seconds: float = TIME_LIMIT_SECONDS) -> None:
        self._time_limit_seconds = time_limit_seconds
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = ""
        self._owner = os.getpid()

    def compile(self, schema: Schema) -> bytes:
        """Return the serialised FileDescriptorSet; the last file in it is the schema's own.

        Raises
        ------
        InvalidSchema
            protoc refuses it, or takes too long or too much memory for it.
        MissingDependency
            grpcio-tools is not installed.
        """
        root = _free_name(schema.references)
        files = {**schema.references, root: schema.text}
        _check_names(schema.references)
        _check_size(files)
        return self._run([root], files)

    def compile_many(self, schemas: Sequence[Schema]) -> list[bytes]:
        """Like `compile`, for schemas of different packages that have no references.

        Raises
        ------
        InvalidSchema
            One of them cannot be read, or not beside the others.
        """
        files = {f"schema_{at}.proto": schema.text for at, schema in enumerate(schemas)}
        for text in files.values():
            _check_size({"": text})
        return _apart(self._run(list(files), files), list(files))

    def _run(self, roots: list[str], files: Mapping[str, str]) -> bytes:
        if self._owner != os.getpid():
            # The process answers to the one that started it.
            self._forget()
        with self._lock:
            answer = self._ask(json.dumps({"roots": roots, "files": files}).encode())
        if answer[:1] == b"D":
            return answer[1:]
        raise InvalidSchema(f"not a Protobuf schema: {_readable(answer[1:], roots[0])}")

    def _ask(self, request: bytes) -> bytes:
        # The process may have ended since it was last asked; a new one cannot have.
        if self._process is not None:
            try:
                return self._exchange(self._process, request)
            except BrokenPipeError:
                self.close()
        return self._exchange(self._start(), request)

    def _start(self) -> subprocess.Popen[bytes]:
        packages = _folder_of_grpc_tools()
        self._folder = tempfile.mkdtemp(prefix="eventbus-protoc-")
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(_PROGRAM), packages],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            env={},
            bufsize=0,
        )
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        return self._process

    def _exchange(self, process: subprocess.Popen[bytes], request: bytes) -> bytes:
        """Send a request and wait for its answer; BrokenPipeError if the process had ended."""
        deadline = time.monotonic() + self._time_limit_seconds
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            _send(process.stdin.fileno(), len(request).to_bytes(4, "big") + request, deadline)
            answers = process.stdout.fileno()
            size = int.from_bytes(_receive(answers, 4, deadline), "big")
            return _receive(answers, size, deadline)
        except TimeoutError:
            self.close()
            raise InvalidSchema(
                f"protoc takes more than {self._time_limit_seconds:g} s for this schema; make it "
                f"smaller"
            ) from None
        except EOFError:
            self.close()
            raise InvalidSchema(
                "protoc ended while it read this schema, as it takes too much memory or is nested "
                "too deeply"
            ) from None

    def close(self) -> None:
        """End the process; the next schema starts another."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _apart(descriptors: bytes, roots: Sequence[str]) -> list[bytes]:
    """One FileDescriptorSet for each root, out of that of all; its own file comes last."""
    from google.protobuf import descriptor_pb2

    files = descriptor_pb2.FileDescriptorSet.FromString(descriptors).file
    by_name = {file.name: file for file in files}
    found = []
    for root in roots:
        needed = _needed(root, by_name)
        one = descriptor_pb2.FileDescriptorSet(file=[by_name[name] for name in needed])
        found.append(one.SerializeToString())
    return found


def _needed(root: str, by_name: Mapping[str, Any]) -> list[str]:
    """A file and what it imports, each behind what it needs itself."""
    done: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in done:
            for imported in by_name[name].dependency:
                visit(imported)
            done[name] = None

    visit(root)
    return list(done)


def _send(descriptor: int, data: bytes, deadline: float) -> None:
    rest = memoryview(data)
    while rest:
        _wait([], [descriptor], deadline)
        rest = rest[os.write(descriptor, rest) :]


def _receive(descriptor: int, count: int, deadline: float) -> bytes:
    parts = []
    while count:
        _wait([descriptor], [], deadline)
        part = os.read(descriptor, min(count, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _wait(readable: list[int], writable: list[int], deadline: float) -> None:
    poll = select.poll()
    for descriptor in readable:
        poll.register(descriptor, select.POLLIN)
    for descriptor in writable:
        poll.register(descriptor, select.POLLOUT)
    if not poll.poll(max(deadline - time.monotonic(), 0) * 1000):
        raise TimeoutError


def _free_name(references: Mapping[str, str]) -> str:
    """A file name for the schema itself that none of its references has."""
    name = "schema.proto"
    while name in references:
        name = f"the_{name}"
    return name


def _check_names(references: Mapping[str, str]) -> None:
    """Refuse names that would be written outside the folder, or that protoc would not look up."""
    for name in references:
        words = name.split("/")
        if (
            not name.isprintable()
            or "\\" in name
            or any(word in ("", ".", "..") for word in words)
            or len(name.encode("utf-8", "replace")) > 1000
            or any(len(word.encode("utf-8", "replace")) > 255 for word in words)
        ):
            raise InvalidSchema(
                f"the reference {name[:80]!r} cannot be imported; name it by a relative path such "
                f"as 'shop/money.proto'"
            )


def _check_size(files: Mapping[str, str]) -> None:
    size = 0
    for text in files.values():
        try:
            size += len(text.encode())
        except UnicodeEncodeError:
            raise InvalidSchema(
                "the schema has a lone surrogate, which UTF-8 cannot hold"
            ) from None
    if size > SCHEMA_MAX_BYTES:
        raise InvalidSchema(
            f"the schema and its references have {size:,} bytes; at most {SCHEMA_MAX_BYTES:,} are "
            f"read"
        )


def _readable(complaint: bytes, root: str) -> str:
    """protoc's first lines, without control characters and without the name we gave the file."""
    text = complaint.decode("utf-8", "replace").replace("sources/", "")
    lines = [
        line.strip().replace(f"{root}:", "line ", 1)
        for line in text.splitlines()
        if line.strip() and _REMARK.search(line) is None
    ]
    shown = "; ".join(lines[:3])[:400]
    return "".join(char if char.isprintable() else "?" for char in shown) or "protoc refuses it"


def _folder_of_grpc_tools() -> str:
    spec = find_spec("grpc_tools")
    if spec is None or spec.origin is None:
        raise MissingDependency(
            "Protobuf schemas are read with grpcio-tools, which is not installed; "
            "pip install 'eventbus[protobuf]'"
        )
    return str(Path(spec.origin).parent.parent)


COMPILER = Compiler()
atexit.register(COMPILER.close)
