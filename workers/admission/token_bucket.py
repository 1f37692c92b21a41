"""A rate limit as a value: how many runs may begin now, and when the next one may."""

from __future__ import annotations

from dataclasses import dataclass, replace

from eventbus.rate_limit import RateLimit

#: What was not used is saved up for this long, so that a busy loop does not fall below the rate.
BURST_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """Tokens that fall due evenly; each lets one run begin.

    Parameters
    ----------
    per_second:
        Tokens that come in a second.
    capacity:
        Tokens that can be saved up, at least one.
    tokens, at:
        What there was, and when, in seconds of any clock that only grows.

    Example::

        bucket = TokenBucket.full(RateLimit.parse("100/s"), now)
        if bucket.has_token(now):
            bucket = bucket.taken(now)
    """

    per_second: float
    capacity: float
    tokens: float
    at: float

    @classmethod
    def full(cls, limit: RateLimit, now: float) -> TokenBucket:
        """A bucket that has saved up all it can."""
        capacity = max(1.0, limit.per_second * BURST_SECONDS)
        return cls(limit.per_second, capacity, capacity, now)

    def has_token(self, now: float) -> bool:
        """Whether a run may begin."""
        # A sum of small parts may miss the whole by a rounding error, and would be asked for ever.
        return self._tokens_at(now) >= 1.0 - 1e-9

    def taken(self, now: float) -> TokenBucket:
        """What is left after a run has begun."""
        return replace(self, tokens=self._tokens_at(now) - 1.0, at=max(now, self.at))

    def given_back(self) -> TokenBucket:
        """What there is after all if that run did not take place."""
        return replace(self, tokens=min(self.tokens + 1.0, self.capacity))

    def next_at(self) -> float:
        """When the next token is there."""
        return self.at + max(1.0 - self.tokens, 0.0) / self.per_second

    def _tokens_at(self, now: float) -> float:
        earned = max(now - self.at, 0.0) * self.per_second
        return min(self.tokens + earned, self.capacity)
