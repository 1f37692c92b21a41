"""The samples in ``deploy/``: valid to the tools that read them, right about our own options."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
from ruamel.yaml import YAML

from eventbus.contracts.registry.server.listening import DRAIN_SECONDS
from eventbus.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
#: Of those we have no schema; the tool that reads them is installed in the cluster.
NO_SCHEMA = ("keda.yaml", "kustomization.yaml")

#: What the containers and the units may wait for at a stop, beyond the drain of the process.
MARGIN_SECONDS = 5

COMMANDS = ("run", "worker", "dispatcher")


def run(tool: str, *arguments: object) -> str:
    beside = Path(sys.executable).with_name(tool)
    program = str(beside) if beside.exists() else shutil.which(tool)
    assert program, f"{tool} is not installed: pip install 'eventbus[deploy]', apt install systemd"
    done = subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def documents(path: Path) -> list[Any]:
    return list(YAML(typ="safe").load_all(path))


def containers(path: Path) -> Iterator[dict[str, Any]]:
    for document in documents(path):
        template = document.get("spec", {}).get("template", {})
        yield from template.get("spec", {}).get("containers", [])


COMPOSE: dict[str, Any] = documents(DEPLOY / "compose.yaml")[0]
#: Every start of ours in all of the samples: command and options.
STARTS = [
    *(
        s["command"]
        for s in COMPOSE["services"].values()
        if s.get("command") and "environment" in s and "EVENTBUS_APP" in s["environment"]
    ),
    *(c["args"] for path in KUBERNETES for c in containers(path)),
    *(
        line.split()[1:]
        for path in UNITS
        for line in path.read_text().splitlines()
        if line.startswith("ExecStart=")
    ),
]


# -- what the tools say ---------------------------------------------------------------------------


def test_the_dockerfile() -> None:
    assert run("hadolint", DEPLOY / "Dockerfile") == ""


def test_the_compose_file() -> None:
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")


@pytest.mark.parametrize(
    "path", [p for p in KUBERNETES if p.name not in NO_SCHEMA], ids=lambda path: path.name
)
def test_the_kubernetes_manifests(path: Path) -> None:
    assert "WARN" not in run("kubernetes-validate", "--strict", path)


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_the_systemd_units(unit: Path, tmp_path: Path) -> None:
    here = tmp_path / unit.name
    # What it starts is not on this machine.
    here.write_text(unit.read_text().replace("/opt/eventbus/bin/eventbus", "/bin/true"))
    assert run("systemd-analyze", "verify", here) == ""
    run("systemd-analyze", "security", "--offline=true", "--threshold=20", unit)


# -- what only we know ----------------------------------------------------------------------------


def test_there_are_starts_to_look_at() -> None:
    assert len(STARTS) == 11


@pytest.mark.parametrize("start", STARTS, ids=" ".join)
def test_every_start_has_options_that_are_there(start: list[str]) -> None:
    module = "_".join(start[:2]) if start[0] == "schema" else start[0]
    options = start[len(module.split("_")) :]
    command = import_module(f"eventbus.cli.{module}").command
    command.make_context(module, list(options), resilient_parsing=False).close()


@pytest.mark.parametrize(
    "path", [p for p in DEPLOY.rglob("*") if p.is_file()], ids=lambda path: path.name
)
def test_every_variable_is_an_option_or_a_setting(path: Path) -> None:
    known = {"EVENTBUS_APP"}
    known |= {f"EVENTBUS_{name.upper()}" for name in Settings.__dataclass_fields__}
    for name in COMMANDS:
        command: click.Command = import_module(f"eventbus.cli.{name}").command
        known |= {f"EVENTBUS_{name}_{option.name}".upper() for option in command.params}
    used = set(re.findall(r"EVENTBUS_[A-Z_]*[A-Z]", path.read_text()))
    assert used <= known


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.name)
def test_a_pod_has_longer_than_its_process_to_stop(path: Path) -> None:
    for document in documents(path):
        if document.get("kind") == "Deployment":
            grace = document["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
            (container,) = containers(path)
            assert grace >= drain_seconds(container["args"]) + MARGIN_SECONDS


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_has_longer_than_its_process_to_stop(unit: Path) -> None:
    text = unit.read_text()
    (start,) = re.findall(r"^ExecStart=\S+ (.*)$", text, re.MULTILINE)
    (stop,) = re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    assert int(stop) >= drain_seconds(start.split()) + MARGIN_SECONDS
    # An import error would otherwise be started for ever, every five seconds.
    assert "\nRestartPreventExitStatus=2\n" in text


def drain_seconds(start: list[str]) -> float:
    if start[0] == "dispatcher":
        return 15
    if start[0] == "schema":
        return 2 * DRAIN_SECONDS
    command = import_module("eventbus.cli.worker").command
    context = command.make_context("worker", list(start[1:]))
    seconds: float = context.params["shutdown_timeout"].total_seconds()
    return seconds


def test_no_sample_has_a_secret_in_it() -> None:
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            for user, password in re.findall(r"://([^\s:/@]*):([^\s@/]+)@", path.read_text()):
                assert password == "PASSWORD" or password.startswith("${"), (path, user)


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.name)
def test_no_pod_may_do_more_than_it_needs(path: Path) -> None:
    for container in containers(path):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "limits" in container["resources"]


def test_keda_scales_what_is_there() -> None:
    names = {
        document["metadata"]["name"]
        for path in KUBERNETES
        for document in documents(path)
        if document.get("kind") == "Deployment"
    }
    scaled = documents(DEPLOY / "kubernetes" / "keda.yaml")[1]
    assert scaled["spec"]["scaleTargetRef"]["name"] in names


def test_the_image_starts_eventbus_without_a_shell() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    forms = re.findall(r"^(?:ENTRYPOINT|CMD|    CMD) (.*)$", text, re.MULTILINE)
    assert len(forms) == 3
    for form in forms:
        assert isinstance(json.loads(form), list)
    assert re.search(r"^USER [1-9]\d*$", text, re.MULTILINE)
    for path in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        for name in path.split():
            assert (DEPLOY.parent / name).exists(), name
            assert f"!{name}" in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()


def test_the_probe_of_the_image_is_python() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    (probe,) = re.findall(r"^    CMD (.*)$", text, re.MULTILINE)
    program, option, code = json.loads(probe)
    assert (program, option) == ("python", "-c")
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "no_proxy": "127.0.0.1"},
    )
    # Nothing listens there: unhealthy, by its exit code.
    assert done.returncode == 1
