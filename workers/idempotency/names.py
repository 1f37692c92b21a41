"""Names under which every store can keep an idempotency key, whatever a producer sent as its id.

An id may be of any length, and hold what PostgreSQL does not store (NUL), what UTF-8 cannot carry
(a lone surrogate) or what MySQL compares away (a space at the end). Such a name is replaced by its
SHA-256; two different names never become one.
"""

from __future__ import annotations

import functools
import hashlib

_HASHED = "sha256-"


def bounded(text: str, limit: int) -> str:
    """Return `text` where it is printable ASCII of at most `limit` characters, else its digest."""
    plain = len(text) <= limit and text.isascii() and text.isprintable() and text[-1:] != " "
    # A name that looks like a digest is hashed as well: nobody can choose the name of another id.
    if plain and not text.startswith(_HASHED):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return (_HASHED + digest)[:limit]


@functools.lru_cache(maxsize=1024)
def handler_name(service: str, handler: str) -> str:
    """Return ``service:handler`` with the colons inside each of them escaped.

    The service belongs to the name: two services that share a database or a Redis may both have a
    handler called ``charge``, and one must not take the other's events for done.
    """
    return ":".join(part.replace("%", "%25").replace(":", "%3A") for part in (service, handler))
