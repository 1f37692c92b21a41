"""Asks a registry for schemas by id, on several connections that stay open."""

from __future__ import annotations

import http.client
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from ..errors import expect
from ..process import answer, given


def _ask(host: str, port: int, ids: list[int], count: int) -> int:
    connection = http.client.HTTPConnection(host, port, timeout=30)
    found = 0
    for number in range(count):
        connection.request("GET", f"/schemas/ids/{ids[number % len(ids)]}")
        response = connection.getresponse()
        found += response.status == 200 and b'"schema"' in response.read()
    connection.close()
    return found


def main() -> None:
    options = given()
    url = urlsplit(options["url"])
    connections, each = options["connections"], options["count"] // options["connections"]
    with ThreadPoolExecutor(connections) as pool:
        began = time.perf_counter()
        asked = [
            pool.submit(_ask, url.hostname, url.port, options["ids"], each)
            for _ in range(connections)
        ]
        found = sum(one.result() for one in asked)
        seconds = time.perf_counter() - began
    expect("schemas found", found, each * connections)
    answer(seconds=seconds, count=found)


if __name__ == "__main__":
    main()
