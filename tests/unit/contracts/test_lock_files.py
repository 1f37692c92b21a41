"""A lock file says the same with the same text, and whatever is wrong with one is said."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventbus.contracts import Format, Mode, Schema
from eventbus.contracts.lock_files import (
    FILE_MAX_BYTES,
    LockedVersion,
    LockFile,
    lock_path,
    lock_text,
    read_lock,
    read_locks,
    write_lock,
)
from eventbus.errors import InvalidLockFile

FINGERPRINT = "0" * 63 + "1"


def version(number: int = 1, **changed: Any) -> dict[str, Any]:
    return {
        "version": number,
        "id": 7,
        "fingerprint": FINGERPRINT,
        "schema": {"type": "object"},
        **changed,
    }


def content(**changed: Any) -> dict[str, Any]:
    return {
        "subject": "order.paid",
        "format": "json",
        "compatibility": "FULL_TRANSITIVE",
        "versions": [version()],
        **changed,
    }


def written(folder: Path, value: object, subject: str = "order.paid") -> Path:
    path = lock_path(folder, subject)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def lock(subject: str = "order.paid", format: Format = Format.JSON, *texts: str) -> LockFile:
    schemas = texts or ('{"type": "object"}',)
    return LockFile(
        subject,
        format,
        tuple(
            LockedVersion(number, 7, FINGERPRINT, Schema(format, text))
            for number, text in enumerate(schemas, start=1)
        ),
        Mode.FULL_TRANSITIVE,
        "shop",
    )


@pytest.mark.parametrize(
    "found",
    [
        lock(),
        lock("order.paid", Format.JSON, '{"a": 1}', '{"a": "ü\\u2028"}'),
        lock("order.paid", Format.AVRO, '{"type": "record", "name": "x", "fields": []}'),
        lock("order.paid", Format.PROTOBUF, 'syntax = "proto3";\n\nmessage A {\r\n}\n// \u2028\n'),
        lock("order/../../paid"),
        lock("x" * 255),
        lock("ü" * 120),
        lock("bestellt.\ud800"),
    ],
    ids=lambda found: found.subject[:10].encode("ascii", "replace").decode(),
)
def test_what_was_written_is_read_back(tmp_path: Path, found: LockFile) -> None:
    path = write_lock(tmp_path / "contracts", found)

    assert path.parent == tmp_path / "contracts"
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    back = read_lock(tmp_path / "contracts", found.subject)
    assert back is not None
    assert lock_text(back) == lock_text(found) == path.read_text()
    assert read_locks(tmp_path / "contracts") == {found.subject: back}


def test_other_accounts_can_read_a_lock_file_as_any_other_file(tmp_path: Path) -> None:
    (tmp_path / "any").touch()

    path = write_lock(tmp_path, lock())

    assert path.stat().st_mode == (tmp_path / "any").stat().st_mode


def test_there_may_be_no_lock_file(tmp_path: Path) -> None:
    assert read_lock(tmp_path / "nowhere", "order.paid") is None
    assert read_locks(tmp_path / "nowhere") == {}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "is no JSON"),
        ("[]", "is no object"),
        ("[" * 200_000, "is nested too deeply"),
        ('{"a": 1, "a": 2}', "the same key twice"),
        (json.dumps(content(id=1.5)).replace("1.5", "NaN"), "NaN"),
        (json.dumps(content(id=1)).replace('"id": 1', '"id": ' + "1" * 10_000), "is no JSON"),
        (content(subject="order.payed"), "its subject is 'order.payed', not 'order.paid'"),
        (content(subject=""), "has no subject"),
        (content(subject=None), "has no subject"),
        (content(source=""), "has the source ''"),
        (content(source=["shop"]), "has the source ['shop']"),
        (content(format="xml"), "no schema format 'xml'"),
        (content(format=["json"]), "no schema format"),
        (content(compatibility="SOME"), "no compatibility mode 'SOME'"),
        (content(extra=1), "an unknown key 'extra'"),
        (content(versions=[]), "no list of versions"),
        (content(versions={"1": version()}), "no list of versions"),
        (content(versions=[version()] * 2), "has the version 1, not 2"),
        (content(versions=[version(2)]), "has the version 2, not 1"),
        (content(versions=[version(True)]), "has the version True, not 1"),
        (content(versions=[version(id=0)]), "has the id 0"),
        (content(versions=[version(id=2**31)]), "has the id 2147483648"),
        (content(versions=[version(fingerprint="abc")]), "is no SHA-256"),
        (content(versions=[version(schema=None)]), "cannot be a NoneType"),
        (content(versions=[version(schema=7)]), "cannot be a"),
        (content(versions=[{"version": 1}]), "not an object with version, id"),
        (content(format="protobuf"), "an array of lines"),
        (content(versions=[version(n) for n in range(1, 1003)]), "has 1,002 versions"),
    ],
    ids=lambda value: None if isinstance(value, dict) else str(value)[:30],
)
def test_a_damaged_lock_file_is_refused_with_the_reason(
    tmp_path: Path, value: object, said: str
) -> None:
    path = written(tmp_path, value)

    with pytest.raises(InvalidLockFile) as raised:
        read_lock(tmp_path, "order.paid")

    assert said in str(raised.value)
    assert str(path) in str(raised.value)
    assert raised.value.exit_code == 2


def test_a_merge_conflict_is_named_with_its_line_and_the_way_out(tmp_path: Path) -> None:
    text = json.dumps(content(), indent=2).splitlines()
    text[3:3] = ["<<<<<<< HEAD", "=======", ">>>>>>> other"]
    written(tmp_path, "\n".join(text))

    with pytest.raises(InvalidLockFile, match=r"merge conflict in line 4; .*schema lock"):
        read_lock(tmp_path, "order.paid")


def test_a_huge_file_is_not_read_whole(tmp_path: Path) -> None:
    path = lock_path(tmp_path, "order.paid")
    with open(path, "wb") as file:
        file.truncate(FILE_MAX_BYTES * 64)

    with pytest.raises(InvalidLockFile, match="has more than 16,777,216 bytes"):
        read_lock(tmp_path, "order.paid")


def test_a_file_under_the_name_of_another_subject_is_refused(tmp_path: Path) -> None:
    written(tmp_path, content(), subject="order.payed")

    with pytest.raises(InvalidLockFile, match=r"whose lock file is order\.paid\.lock\.json"):
        read_locks(tmp_path)


@pytest.mark.parametrize("made", ["folder", "binary"])
def test_what_is_no_text_is_refused(tmp_path: Path, made: str) -> None:
    path = lock_path(tmp_path, "order.paid")
    if made == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"\xff\xfe{}")

    with pytest.raises(InvalidLockFile, match=r"cannot be read|is not UTF-8"):
        read_lock(tmp_path, "order.paid")


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "contracts").touch()

    with pytest.raises(InvalidLockFile, match="'contracts' cannot be read"):
        read_locks(tmp_path / "contracts")
    with pytest.raises(InvalidLockFile, match="cannot be written"):
        write_lock(tmp_path / "contracts", lock())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(InvalidLockFile, match="cannot be written"):
        write_lock(tmp_path, lock())


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(
    value=_json
    | st.builds(lambda key, value: content(**{key: value}), st.sampled_from(list(content())), _json)
    | st.builds(
        lambda key, value: content(versions=[version(**{key: value})]),
        st.sampled_from(["id", "fingerprint", "schema"]),
        _json,
    )
)
def test_any_json_is_a_lock_file_or_refused(
    tmp_path_factory: pytest.TempPathFactory, value: object
) -> None:
    folder = tmp_path_factory.getbasetemp()
    written(folder, value)

    try:
        found = read_lock(folder, "order.paid")
    except InvalidLockFile:
        return
    assert found is not None
    assert write_lock(folder, found)
    assert read_lock(folder, "order.paid") == found
