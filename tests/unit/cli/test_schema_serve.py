"""``eventbus schema serve``: what it refuses before it listens."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventbus.cli import main

TOKEN = "hunter2-hunter2-hunter2"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--host", "0.0.0.0"), "--without-token"),
        (("--host", "::"), "--without-token"),
        (("--token", "hunter2"), "at least 16"),
        (("--token", "hunter2 with blanks in it"), "no blanks"),
        (("--token", TOKEN, "--token-file", "two-lines"), "not both"),
        (("--token-file", "missing"), "'missing' cannot be read"),
        (("--token-file", "two-lines"), "one line, the token"),
        (("--token-file", "."), "cannot be read"),
        (("--port", "65536"), "from 0 to 65535"),
        (("--host", "nowhere.invalid", "--without-token"), "is no address"),
    ],
)
def test_what_cannot_be_served_is_a_usage_error(
    options: tuple[str, ...],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVENTBUS_DATABASE_URL", "sqlite:///eventbus.db")
    Path("two-lines").write_text(f"{TOKEN}\n{TOKEN}\n")
    with pytest.raises(SystemExit) as ended:
        main(["schema", "serve", "--port", "0", *options])
    shown = capsys.readouterr()
    assert (ended.value.code, shown.out) == (2, "")
    assert told in shown.err
    assert "hunter2" not in shown.err
    assert "Traceback" not in shown.err
