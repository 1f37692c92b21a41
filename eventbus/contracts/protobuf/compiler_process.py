"""The program that runs protoc in a process of its own; `compiler` starts it and speaks to it.

It imports nothing of eventbus, writes into the folder that it is started in, and answers requests
from its standard input on its standard output, each a length of four bytes and as many bytes:

    request   JSON: {"roots": [name], "files": {name: text}}
    answer    "D" and a serialised FileDescriptorSet, or "E" and protoc's complaint

It ends when its input does, or after a minute without a request.
"""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import sys
from collections.abc import Callable

#: protoc takes a few MiB for a schema; beyond this it fails, alone.
_MEMORY_MAX_BYTES = 1024 * 1024 * 1024
#: What protoc may write: descriptors, or its complaints.
_FILE_MAX_BYTES = 32 * 1024 * 1024
_COMPLAINT_MAX_BYTES = 4096
#: Children of the parent hold its end of the pipe open, so that the end of input may not come.
_IDLE_MAX_SECONDS = 60.0

_SOURCES, _DESCRIPTORS, _COMPLAINTS = "sources", "descriptors", "complaints"

_Protoc = Callable[[list[bytes]], int]


def _limit_resources() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_MAX_BYTES, _MEMORY_MAX_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_MAX_BYTES, _FILE_MAX_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _write_sources(files: dict[str, str]) -> None:
    for name, text in files.items():
        path = os.path.join(_SOURCES, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(text.encode())


def _answer(request: bytes, protoc: _Protoc, well_known: str) -> bytes:
    asked = json.loads(request)
    try:
        _write_sources(asked["files"])
    except (OSError, ValueError):
        shutil.rmtree(_SOURCES)
        return b"Ethe names of the imports cannot stand beside each other in a folder"
    answer = _compile(asked["roots"], protoc, well_known)
    if len(asked["files"]) > 1:
        # The next schema must not find these imports. One alone is overwritten, which is quicker.
        shutil.rmtree(_SOURCES)
    return answer


def _compile(roots: list[str], protoc: _Protoc, well_known: str) -> bytes:
    arguments = [
        "protoc",
        # First: no reference takes the place of a well-known type.
        f"--proto_path={well_known}",
        f"--proto_path={_SOURCES}",
        f"--descriptor_set_out={_DESCRIPTORS}",
        "--include_imports",
        *roots,
    ]
    os.ftruncate(2, 0)
    os.lseek(2, 0, os.SEEK_SET)
    if protoc([argument.encode() for argument in arguments]) == 0:
        with open(_DESCRIPTORS, "rb") as file:
            return b"D" + file.read()
    with open(_COMPLAINTS, "rb") as file:
        return b"E" + file.read(_COMPLAINT_MAX_BYTES)


def _receive(count: int) -> bytes:
    parts = []
    while count:
        part = os.read(0, min(count, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _send(answer: bytes) -> None:
    rest = memoryview(len(answer).to_bytes(4, "big") + answer)
    while rest:
        rest = rest[os.write(1, rest) :]


def _serve(protoc: _Protoc, well_known: str) -> None:
    while select.select([0], [], [], _IDLE_MAX_SECONDS)[0]:
        try:
            request = _receive(int.from_bytes(_receive(4), "big"))
        except EOFError:
            return
        _send(_answer(request, protoc, well_known))


def _main(packages: str) -> None:
    """Serve with the grpc_tools that is installed in the folder `packages`."""
    folder = os.getcwd()
    complaints = os.open(_COMPLAINTS, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.dup2(complaints, 2)
    sys.path.append(packages)
    import grpc_tools
    from grpc_tools import _protoc_compiler

    _limit_resources()
    well_known = os.path.join(os.path.dirname(grpc_tools.__file__), "_proto")
    try:
        _serve(_protoc_compiler.run_main, well_known)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _main(sys.argv[1])
