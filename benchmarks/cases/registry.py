"""Registry: schemas looked up by id over HTTP, from one process."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import httpx

from eventbus.contracts import Schema
from eventbus.contracts.registry.database import DatabaseRegistry
from tests.services.ports import Port
from tests.waiting import wait_until

from ..commands import eventbus
from ..measuring import Contestant, Goal, Measures, Samples
from ..process import compete
from ..servers import Place, Servers
from .case import Case, Size

BY_ID = "eventbus schema serve"
RATE = "look-ups/s"

#: As many schemas as a few services have, each with as many fields as an event has.
SCHEMAS = 50
FIELDS = 20
CONNECTIONS = 4


def _contestants(servers: Servers, size: Size) -> list[Contestant]:
    return [
        Contestant(
            BY_ID,
            lambda: _run(servers, size.look_ups),
            f"{CONNECTIONS} connections that stay open; the asking process is on the same machine",
        )
    ]


def _run(servers: Servers, count: int) -> Measures:
    with servers.place() as place, tempfile.NamedTemporaryFile() as stamps:
        ids = _fill(place)
        port = Port()
        url = f"http://127.0.0.1:{port}"
        with eventbus(place, Path(stamps.name), "schema", "serve", "--port", str(port)):
            wait_until(lambda: httpx.get(url).is_success, 30.0, retry_on=httpx.TransportError)
            found = compete(
                "registry_look_ups", url=url, ids=ids, count=count, connections=CONNECTIONS
            )
    return {RATE: found["count"] / found["seconds"]}


def _fill(place: Place) -> list[int]:
    bus = place.bus()
    registry = DatabaseRegistry(bus.engine)
    ids = [registry.register(f"event.{number}", _schema(number)).id for number in range(SCHEMAS)]
    bus.engine.dispose()
    return ids


def _schema(number: int) -> Schema:
    fields = {f"field_{one}": {"type": "string"} for one in range(FIELDS)}
    value = {"title": f"event.{number}", "type": "object", "properties": fields}
    return Schema.of(json.dumps(value), "json")


def _goals(samples: Samples) -> list[Goal]:
    return [Goal("look-ups by id over HTTP", samples.of(BY_ID, RATE), 500.0, "/s")]


CASE = Case(
    name="registry",
    title="Registry: look-ups by id over HTTP, one process",
    notes=(
        "From the first request to the last answer, PostgreSQL behind it: each request reads the "
        "schema from the database."
    ),
    contestants=_contestants,
    goals=_goals,
)
