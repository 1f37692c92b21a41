"""Idempotency keys in Redis.

One script call a batch and command, so a batch of 200 costs one round trip. The scripts are
`transitions` in Lua; they read the server's clock, because the clocks of the workers differ.

A key is ``eventbus:<service>:<handler>:<event id>``. Its value is ``D<fingerprint>`` when the event
is done and ``H<token> <fingerprint> <starts> <lease until, epoch ms>`` while it is claimed, or
while its starts are remembered; Redis lets the key expire when it has been kept long enough.

Redis has to keep what it was told: ``maxmemory-policy noeviction``, and persistence as far as a
restart must not forget. A failover to a replica can forget the last claims.

    store = RedisStore("redis://localhost:6379/0", "shop")
    [claim] = store.claim([Key("charge", "/shop 42", "9f86d081")], token, lease_ms=30_000)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import redis
from redis import exceptions as failures
from redis.backoff import NoBackoff
from redis.retry import Retry

from eventbus.errors import ConfigurationError, IdempotencyStoreUnavailable
from eventbus.settings import mask

from .names import bounded, handler_name
from .port import KEEP_STARTS_MS, Claim, Key, Verdict
from .transitions import NOBODY, with_repeats

#: Longer ids are kept as their digest.
_MAX_EVENT_ID = 200

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# A comma separates the answers: one string is read much faster than a list of replies.
_CLAIM = f"""{_NOW}
local token, lease, alone = ARGV[1], tonumber(ARGV[2]), ARGV[4] == '1'
local mine = 'H' .. token .. ' '
local until_ms, keep = string.format(' %.0f', now + lease), lease + {KEEP_STARTS_MS}
local function hold(key, fingerprint, starts)
  redis.call('SET', key, mine .. fingerprint .. ' ' .. starts .. until_ms, 'PX', keep)
  return 'M' .. starts
end
local answers = {{}}
local next_fingerprint = string.gmatch(ARGV[3], '%S+')
for i, key in ipairs(KEYS) do
  local fingerprint, answer = next_fingerprint(), 'M1'
  local fresh = mine .. fingerprint .. ' 1' .. until_ms
  local value = not redis.call('SET', key, fresh, 'PX', keep, 'NX') and redis.call('GET', key)
  if not value then
    -- Most keys are new; it is ours.
  elseif string.byte(value) == 68 then
    answer = value == 'D' .. fingerprint and 'D' or 'X'
  else
    local holder, data, starts, lease_until =
      string.match(value, '^H(%S+) (%S+) (%d+) (%d+)$')
    if holder == token and data == fingerprint then
      answer = hold(key, fingerprint, starts)
    elseif tonumber(lease_until) <= now and starts ~= '0' and not alone then
      answer = 'S' .. starts
    elseif tonumber(lease_until) <= now then
      answer = hold(key, fingerprint, starts + 1)
    else
      answer = data == fingerprint and 'B' or 'X'
    end
  end
  answers[i] = answer
end
return table.concat(answers, ',')
"""

_REMEMBER = """
local token, ttl = ARGV[1], ARGV[2]
local mine = 'H' .. token .. ' '
local answers = {}
local next_fingerprint = string.gmatch(ARGV[3], '%S+')
for i, key in ipairs(KEYS) do
  local fingerprint = next_fingerprint()
  local value = redis.call('GET', key)
  if not value or string.sub(value, 1, #mine) == mine then
    redis.call('SET', key, 'D' .. fingerprint, 'PX', ttl)
    answers[i] = '1'
  else
    answers[i] = string.byte(value) == 68 and '1' or '0'
  end
end
return table.concat(answers)
"""

_RELEASE = """
local mine = 'H' .. ARGV[1] .. ' '
for _, key in ipairs(KEYS) do
  local value = redis.call('GET', key)
  if value and string.sub(value, 1, #mine) == mine then
    redis.call('DEL', key)
  end
end
return ''
"""

_UNCLAIM = f"""{_NOW}
local mine, lease = 'H' .. ARGV[1] .. ' ', tonumber(ARGV[2])
local until_ms, keep = string.format(' %.0f', now + lease), lease + tonumber(ARGV[3])
for _, key in ipairs(KEYS) do
  local value = redis.call('GET', key)
  if value and string.sub(value, 1, #mine) == mine then
    local data, starts = string.match(value, '^H%S+ (%S+) (%d+) %d+$')
    if starts == '1' and lease == 0 then
      redis.call('DEL', key)
    else
      redis.call('SET', key, 'H{NOBODY} ' .. data .. ' ' .. starts - 1 .. until_ms, 'PX', keep)
    end
  end
end
return ''
"""

_RENEW = f"""{_NOW}
local mine, lease = 'H' .. ARGV[1] .. ' ', tonumber(ARGV[2])
local until_ms, keep = string.format(' %.0f', now + lease), lease + {KEEP_STARTS_MS}
local answers = {{}}
for i, key in ipairs(KEYS) do
  local value = redis.call('GET', key)
  if value and string.sub(value, 1, #mine) == mine then
    redis.call('SET', key, string.match(value, '^(.*) %d+$') .. until_ms, 'PX', keep)
    answers[i] = '1'
  else
    answers[i] = '0'
  end
end
return table.concat(answers)
"""

_ANSWERS = {
    b"D": Claim(Verdict.DONE),
    b"B": Claim(Verdict.BUSY),
    b"X": Claim(Verdict.MISMATCH),
    b"M1": Claim(Verdict.MINE, 1),
}

_TRUE = ord("1")


class _Script:
    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = hashlib.sha1(source.encode()).hexdigest()


_claim = _Script(_CLAIM)
_remember = _Script(_REMEMBER)
_release = _Script(_RELEASE)
_unclaim = _Script(_UNCLAIM)
_renew = _Script(_RENEW)


class RedisStore:
    """The `IdempotencyStore` in Redis. Threads may share it; after a fork it connects anew.

    Parameters
    ----------
    url:
        ``redis://``, ``rediss://`` or ``unix://``; its options may set ``socket_timeout`` and
        others of redis-py.
    service:
        The name of the service, part of every key.
    timeout_seconds:
        How long to wait for a connection, and for an answer.

    Raises
    ------
    ConfigurationError
        The URL cannot be used.
    """

    def __init__(self, url: str, service: str, *, timeout_seconds: float = 2.0) -> None:
        self._shown = mask(url)
        self._service = service
        self._timeout_seconds = timeout_seconds
        self._client = _client(url, timeout_seconds)
        self._execute: Callable[..., Any] = self._client.execute_command
        self._prefixes: dict[str, str] = {}

    def claim(
        self, keys: Sequence[Key], token: str, lease_ms: int, *, alone: bool = False
    ) -> list[Claim]:
        """See `IdempotencyStore.claim`."""
        distinct = list(dict.fromkeys(keys))
        if not distinct:
            return []
        reply = self._run(
            _claim, distinct, _word(token), lease_ms, _fingerprints(distinct), int(alone)
        )
        answers = [_ANSWERS.get(word) or _started(word) for word in reply.split(b",")]
        return with_repeats(keys, answers)

    def remember(self, keys: Sequence[Key], token: str, ttl_ms: int) -> list[bool]:
        """See `IdempotencyStore.remember`."""
        reply = self._run(_remember, keys, _word(token), ttl_ms, _fingerprints(keys))
        return [answer == _TRUE for answer in reply]

    def release(self, keys: Sequence[Key], token: str) -> None:
        """See `IdempotencyStore.release`."""
        self._run(_release, keys, _word(token))

    def unclaim(
        self,
        keys: Sequence[Key],
        token: str,
        lease_ms: int = 0,
        keep_ms: int = KEEP_STARTS_MS,
    ) -> None:
        """See `IdempotencyStore.unclaim`."""
        self._run(_unclaim, keys, _word(token), lease_ms, keep_ms)

    def renew(self, keys: Sequence[Key], token: str, lease_ms: int) -> list[bool]:
        """See `IdempotencyStore.renew`."""
        reply = self._run(_renew, keys, _word(token), lease_ms)
        return [answer == _TRUE for answer in reply]

    def done(self, keys: Sequence[Key]) -> list[bool]:
        """See `IdempotencyStore.done`."""
        if not keys:
            return []
        reply = self._call("MGET", *[self._name(key) for key in keys])
        return [isinstance(value, bytes) and value.startswith(b"D") for value in reply]

    def ping(self) -> None:
        """See `IdempotencyStore.ping`."""
        self._call("PING")

    def close(self) -> None:
        """See `IdempotencyStore.close`."""
        self._client.close()

    def _run(self, script: _Script, keys: Sequence[Key], *arguments: str | int) -> bytes:
        if not keys:
            return b""
        names = [self._name(key) for key in keys]
        try:
            reply = self._call("EVALSHA", script.sha, len(names), *names, *arguments)
        except failures.NoScriptError:
            # A new server, or one whose scripts were flushed. EVAL also keeps the script.
            reply = self._call("EVAL", script.source, len(names), *names, *arguments)
        if not isinstance(reply, bytes):
            raise self._unavailable(f"answered {reply!r} to a script; is there a proxy before it?")
        return reply

    def _name(self, key: Key) -> str:
        prefix = self._prefixes.get(key.handler)
        if prefix is None:
            name = bounded(handler_name(self._service, key.handler), _MAX_EVENT_ID)
            prefix = self._prefixes[key.handler] = f"eventbus:{name}:"
        return prefix + bounded(key.event_id, _MAX_EVENT_ID)

    def _call(self, *command: str | int) -> Any:
        try:
            try:
                return self._execute(*command)
            except failures.TimeoutError:
                raise
            except failures.ConnectionError as error:
                if isinstance(error, _FINAL):
                    raise
                # The server closed a connection that stood idle, or was restarted. Once more: each
                # command may be carried out twice, because the same token is the same claim.
                return self._execute(*command)
        except failures.NoScriptError:
            raise
        except failures.RedisError as error:
            raise self._unavailable(_reason(error, self._timeout_seconds)) from error
        except OSError as error:
            raise self._unavailable(f"the connection failed: {error}") from error

    def _unavailable(self, reason: str) -> IdempotencyStoreUnavailable:
        return IdempotencyStoreUnavailable(f"idempotency store {self._shown} {reason}")


#: Connection errors that a second attempt would meet again.
_FINAL = (failures.AuthenticationError, failures.BusyLoadingError, failures.MaxConnectionsError)

_REASONS = {
    "OOM": "is out of memory; raise maxmemory, and keep maxmemory-policy noeviction",
    "READONLY": "is a read-only replica; redis_url must address the primary",
    "MISCONF": "refuses writes because it cannot save to its disk",
    "LOADING": "is still loading its data",
    "NOAUTH": "wants another user or password than redis_url has",
    "WRONGPASS": "wants another user or password than redis_url has",
    "NOPERM": "does not permit the user of redis_url to run our commands",
    "NOREPLICAS": "refuses writes because too few replicas are connected",
    "MASTERDOWN": "is a replica that has lost its primary",
    "BUSY": "is busy with a script of somebody else",
    "CROSSSLOT": "is a cluster, which cannot keep the keys of a batch together; use one Redis",
    "MOVED": "is a cluster, which cannot keep the keys of a batch together; use one Redis",
}


def _reason(error: failures.RedisError, timeout_seconds: float) -> str:
    """What the server said or did, as the end of a sentence."""
    if isinstance(error, failures.TimeoutError):
        return f"did not answer in time ({timeout_seconds:g} s)"
    text = str(error).strip()
    code = _CODES.get(type(error)) or text.split(" ", 1)[0]
    if code in _REASONS:
        return f"{_REASONS[code]} ({text[:200]})"
    kind = "cannot be reached" if isinstance(error, failures.ConnectionError) else "failed"
    return f"{kind}: {text[:200]}"


#: redis-py takes the code off the messages that it has classes for.
_CODES: dict[type[failures.RedisError], str] = {
    failures.OutOfMemoryError: "OOM",
    failures.ReadOnlyError: "READONLY",
    failures.BusyLoadingError: "LOADING",
    failures.MasterDownError: "MASTERDOWN",
    failures.NoPermissionError: "NOPERM",
    failures.AuthenticationError: "WRONGPASS",
    failures.AuthenticationWrongNumberOfArgsError: "WRONGPASS",
}


def _client(url: str, timeout_seconds: float) -> redis.Redis:
    try:
        client = redis.Redis.from_url(
            url,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            socket_keepalive=True,
            # redis-py would repeat a command after a time-out, behind our back.
            retry=Retry(NoBackoff(), 0),
        )
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"redis_url={mask(url)!r}: {error}") from None
    # An option in a URL that is shared with others must not change how we read the answers.
    client.connection_pool.connection_kwargs["decode_responses"] = False
    return client


def _started(word: bytes) -> Claim:
    verdict = Verdict.MINE if word[:1] == b"M" else Verdict.SUSPECT
    return Claim(verdict, int(word[1:]))


def _fingerprints(keys: Sequence[Key]) -> str:
    # One argument: redis-py packs each in Python, which is most of what a key costs.
    return " ".join([_word(key.fingerprint) for key in keys])


def _word(text: str) -> str:
    """A token or fingerprint without the space that separates the fields of a value."""
    if text.isalnum() and text.isascii():
        return text
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
