"""Lock files: the versions of a contract, kept with the code and reviewed with it.

One file for each subject, ``contracts/order.paid.lock.json``. Its text is a function of what it
says, and a new version is added at its end, so that a review shows nothing but the change::

    {
      "subject": "order.paid",
      "source": "shop",
      "format": "json",
      "compatibility": "FULL_TRANSITIVE",
      "versions": [
        {"version": 1, "id": 1405921, "fingerprint": "9f86d0…", "schema": {…}}
      ]
    }

A Protobuf schema is an array of the lines of its ``.proto`` file. An event that is a snapshot has a
key ``snapshot``: the reason.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from eventbus.contracts.compatibility import DEFAULT_MODE, Mode
from eventbus.contracts.schema import Format, Schema
from eventbus.errors import ConfigurationError, InvalidLockFile, InvalidSchema

SUFFIX = ".lock.json"
#: A schema has at most 1 MiB, and seldom a hundredth of it.
FILE_MAX_BYTES = 16 * 1024 * 1024
#: Versions of one contract; a new major begins again with 1.
VERSIONS_MAX = 1_000
#: A file's name holds at most 255 bytes, an event's name as many before it is quoted.
_STEM_MAX_LENGTH = 180
_CONFLICT = re.compile(r"^(?:<{7}|>{7}|={7}|\|{7})(?: .*)?$", re.MULTILINE)
_FINGERPRINT = re.compile(r"[0-9a-f]{64}", re.ASCII)
_KEYS = frozenset(("subject", "source", "snapshot", "format", "compatibility", "versions"))
_RESTORE = "restore it from the version control, then run 'eventbus schema lock'"


@dataclass(frozen=True)
class LockedVersion:
    """One version of a contract.

    Parameters
    ----------
    version:
        1 for the first.
    id:
        The schema's number, the same in every registry of ours.
    fingerprint:
        SHA-256 of the schema's canonical text, in hexadecimal digits.
    """

    version: int
    id: int
    fingerprint: str
    schema: Schema


@dataclass(frozen=True)
class LockFile:
    """The versions of one subject, the oldest first; there is at least one.

    Parameters
    ----------
    subject:
        The event's name.
    compatibility:
        What a new version is compared with.
    source:
        The service whose event it is; the lock file may be a copy in another service's folder.
    snapshot:
        Why the event carries a copy of data; None for a thin one.
    """

    subject: str
    format: Format
    versions: tuple[LockedVersion, ...]
    compatibility: Mode = DEFAULT_MODE
    source: str | None = None
    snapshot: str | None = None

    @property
    def newest(self) -> LockedVersion:
        """The version that the class of the event should have."""
        return self.versions[-1]

    def with_fingerprint(self, fingerprint: str) -> LockedVersion | None:
        """The newest version that is this schema, if one is."""
        for version in reversed(self.versions):
            if version.fingerprint == fingerprint:
                return version
        return None


def lock_path(folder: str | Path, subject: str) -> Path:
    """The lock file of `subject`; what no file's name can hold is percent-encoded."""
    stem = quote(subject, safe="", errors="surrogatepass")
    if len(stem) > _STEM_MAX_LENGTH:
        digest = hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()
        stem = f"{stem[: _STEM_MAX_LENGTH - 17].rstrip('%')}-{digest[:16]}"
    return Path(folder) / f"{stem}{SUFFIX}"


def read_lock(folder: str | Path, subject: str) -> LockFile | None:
    """The lock file of `subject`, or None where there is none.

    Raises
    ------
    InvalidLockFile
        It cannot be read, is damaged, or is another subject's; the text names file and remedy.
    """
    path = lock_path(folder, subject)
    try:
        lock = read_lock_file(path)
    except FileNotFoundError:
        return None
    if lock.subject != subject:
        raise InvalidLockFile(
            f"{path} says that its subject is {lock.subject!r:.80}, not {subject!r:.80}; {_RESTORE}"
        )
    return lock


def read_locks(folder: str | Path) -> dict[str, LockFile]:
    """Subject to lock file, of all lock files in `folder`, sorted; none without the folder.

    Raises
    ------
    InvalidLockFile
        One of them cannot be read, is damaged, or does not have its subject's name.
    """
    found = {}
    for path in lock_file_paths(folder):
        lock = read_lock_file(path)
        proper = lock_path(folder, lock.subject)
        if proper.name != path.name:
            raise InvalidLockFile(
                f"{path} says that its subject is {lock.subject!r:.80}, whose lock file is "
                f"{proper.name}; rename it, or {_RESTORE}"
            )
        found[lock.subject] = lock
    return dict(sorted(found.items()))


def lock_file_paths(folder: str | Path) -> list[Path]:
    """The lock files in `folder`, sorted; none where there is no folder."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InvalidLockFile(
            f"the folder {str(folder)!r} of the setting 'contracts' cannot be read: "
            f"{error.strerror}"
        ) from None
    return [Path(folder) / name for name in sorted(names) if name.endswith(SUFFIX)]


def read_lock_file(path: Path) -> LockFile:
    """The lock file at `path`.

    Raises
    ------
    FileNotFoundError
        There is none.
    InvalidLockFile
        It cannot be read, or is damaged.
    """
    value = parsed(path, read_text(path))
    with _about(path):
        return _lock_of(value)


def parsed(path: Path, text: str) -> Any:
    """The JSON value in the `text` of the file at `path`.

    Raises
    ------
    InvalidLockFile
        It is no JSON, or has a merge conflict.
    """
    with _about(path):
        try:
            return _decoder.decode(text)
        except RecursionError:
            raise InvalidLockFile(f"is nested too deeply; {_RESTORE}") from None
        except ValueError as error:
            raise InvalidLockFile(_why_no_json(text, str(error))) from None


def read_text(path: Path) -> str:
    """The text of a file.

    Raises
    ------
    FileNotFoundError
        There is none.
    InvalidLockFile
        It cannot be read, is too large, or is not UTF-8.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InvalidLockFile(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > FILE_MAX_BYTES:
        raise InvalidLockFile(
            f"{path} has more than {FILE_MAX_BYTES:,} bytes, which is no contract's; {_RESTORE}"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidLockFile(f"{path} is not UTF-8; {_RESTORE}") from None


def _why_no_json(text: str, problem: str) -> str:
    conflict = _CONFLICT.search(text)
    if conflict is None:
        return f"is no JSON: {problem[:200]}; {_RESTORE}"
    line = text.count("\n", 0, conflict.start()) + 1
    return (
        f"has a merge conflict in line {line}; keep the versions of the branch that is merged "
        f"into, and run 'eventbus schema lock' to add yours as the next version"
    )


@contextlib.contextmanager
def _about(path: Path) -> Iterator[None]:
    """Put the file's name before what is wrong with it."""
    try:
        yield
    except InvalidLockFile as error:
        raise InvalidLockFile(f"{path} {error}") from None


def _lock_of(value: Any) -> LockFile:
    if not isinstance(value, dict):
        raise InvalidLockFile(f"is no object with subject, format and versions; {_RESTORE}")
    unknown = sorted(set(value) - _KEYS)
    if unknown:
        raise InvalidLockFile(
            f"has an unknown key {unknown[0]!r:.80}: written by a newer eventbus, or by hand; "
            f"{_RESTORE}"
        )
    subject = value.get("subject")
    if not isinstance(subject, str) or not subject:
        raise InvalidLockFile(f"has no subject; {_RESTORE}")
    if "format" not in value:
        raise InvalidLockFile(f"has no format; {_RESTORE}")
    source = value.get("source")
    if source is not None and (not isinstance(source, str) or not source):
        raise InvalidLockFile(f"has the source {source!r:.80}, which is no service; {_RESTORE}")
    snapshot = value.get("snapshot")
    if snapshot is not None and (not isinstance(snapshot, str) or not snapshot.strip()):
        raise InvalidLockFile(f"has the snapshot {snapshot!r:.80}, which is no reason; {_RESTORE}")
    try:
        format = Format.of(value["format"])
        mode = Mode.of(value.get("compatibility", DEFAULT_MODE))
    except ConfigurationError as error:
        raise InvalidLockFile(f"cannot be used: {error}") from None
    versions = _versions_of(value.get("versions"), format)
    return LockFile(subject, format, versions, mode, source, snapshot)


def _versions_of(found: Any, format: Format) -> tuple[LockedVersion, ...]:
    if not isinstance(found, list) or not found:
        raise InvalidLockFile(f"has no list of versions, the oldest first; {_RESTORE}")
    if len(found) > VERSIONS_MAX:
        raise InvalidLockFile(
            f"has {len(found):,} versions; at most {VERSIONS_MAX:,} are read: begin a new major"
        )
    return tuple(_version_of(one, number, format) for number, one in enumerate(found, start=1))


def _version_of(found: Any, number: int, format: Format) -> LockedVersion:
    where = f"versions[{number - 1}]"
    if not isinstance(found, dict) or set(found) != {"version", "id", "fingerprint", "schema"}:
        raise InvalidLockFile(
            f"{where} is not an object with version, id, fingerprint and schema; {_RESTORE}"
        )
    if type(found["version"]) is not int or found["version"] != number:
        raise InvalidLockFile(
            f"{where} has the version {found['version']!r:.40}, not {number}: versions count from "
            f"1 without a gap; {_RESTORE}"
        )
    if type(found["id"]) is not int or not 0 < found["id"] < 2**31:
        raise InvalidLockFile(f"{where} has the id {found['id']!r:.40}, which is none; {_RESTORE}")
    fingerprint = found["fingerprint"]
    if not isinstance(fingerprint, str) or not _FINGERPRINT.fullmatch(fingerprint):
        raise InvalidLockFile(
            f"{where} has the fingerprint {fingerprint!r:.80}, which is no SHA-256; {_RESTORE}"
        )
    try:
        schema = schema_of(found["schema"], format)
    except InvalidSchema as error:
        raise InvalidLockFile(f"{where}.schema: {error}; {_RESTORE}") from None
    return LockedVersion(number, found["id"], fingerprint, schema)


def schema_of(value: Any, format: Format) -> Schema:
    """The schema that a lock file has as `value`.

    Raises
    ------
    InvalidSchema
        It is none.
    """
    if format is not Format.PROTOBUF:
        # A string would be taken for a schema's text; here it is an Avro type's name.
        return Schema.of(json.dumps(value) if isinstance(value, str) else value, format)
    if not isinstance(value, list) or not all(isinstance(line, str) for line in value):
        raise InvalidSchema("a Protobuf schema is an array of lines here")
    return Schema.of("".join(f"{line}\n" for line in value), format)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)


def lock_text(lock: LockFile) -> str:
    """The text of the lock file: the same for the same contracts."""
    value = {
        "subject": lock.subject,
        **({} if lock.source is None else {"source": lock.source}),
        **({} if lock.snapshot is None else {"snapshot": lock.snapshot}),
        "format": lock.format.value,
        "compatibility": lock.compatibility.value,
        "versions": [
            {
                "version": one.version,
                "id": one.id,
                "fingerprint": one.fingerprint,
                "schema": schema_value(one.schema),
            }
            for one in lock.versions
        ],
    }
    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can hold
        text = json.dumps(value, indent=2)
    return f"{text}\n"


def schema_value(schema: Schema) -> Any:
    """What a lock file has for `schema`: JSON, or the lines of a ``.proto`` file."""
    if schema.format is Format.PROTOBUF:
        return schema.text.removesuffix("\n").split("\n")
    return json.loads(schema.text)


def write_lock(folder: str | Path, lock: LockFile) -> Path:
    """Write the lock file of ``lock.subject``, whole or not at all; returns its path.

    Raises
    ------
    InvalidLockFile
        It cannot be written.
    """
    path = lock_path(folder, lock.subject)
    write_text(path, lock_text(lock))
    return path


def write_text(path: Path, text: str) -> None:
    """Write a file, whole or not at all, and its folder where there is none.

    Raises
    ------
    InvalidLockFile
        It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, text.encode())
    except OSError as error:
        raise InvalidLockFile(f"{path} cannot be written: {error.strerror}") from None


def _replace(path: Path, data: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        # mkstemp's files are for their owner only.
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
