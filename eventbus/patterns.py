"""Routing-key patterns of a topic exchange (AMQP 0-9-1 §3.1.3.3): ``*`` one word, ``#`` any."""

from __future__ import annotations

from eventbus.errors import DeclarationError

#: RabbitMQ refuses more from 4.3.5 on, as each one multiplies the work of a match.
MAX_HASHES = 2


def check_pattern(pattern: object) -> str:
    """Return `pattern` when a queue can be bound with it.

    Raises
    ------
    DeclarationError
        It is empty, over 255 bytes, has an empty word, more than two ``#``, or a wildcard that is
        not a whole word.
    """
    if not isinstance(pattern, str):
        raise DeclarationError(
            f"a routing-key pattern is a string such as 'order.*', not {pattern!r}"
        )
    shown = pattern if len(pattern) <= 80 else pattern[:77] + "..."
    words = pattern.split(".")
    problem = None
    if len(pattern.encode("utf-8", "surrogatepass")) > 255:
        problem = "takes more than 255 bytes"
    elif not all(words):
        problem = "has an empty word"
    elif any(character.isspace() or not character.isprintable() for character in pattern):
        problem = "contains white space or a control character"
    elif any(("*" in word or "#" in word) and len(word) > 1 for word in words):
        problem = "has a wildcard inside a word; '*' and '#' stand for whole words"
    elif words.count("#") > MAX_HASHES:
        problem = f"has more than {MAX_HASHES} '#', which RabbitMQ refuses"
    if problem:
        raise DeclarationError(f"routing-key pattern {shown!r} {problem}; use e.g. 'order.*'")
    return pattern


def matches(pattern: str, routing_key: str) -> bool:
    """Whether a queue bound with `pattern` gets a message with `routing_key`.

    Word by word, going back only to the latest ``#``: no regular expression, so no input makes it
    explode.
    """
    words = pattern.split(".")
    # An empty routing key has no word at all, so that '*' does not match it.
    keys = routing_key.split(".") if routing_key else []
    word = key = 0
    hash_word = hash_key = -1
    while key < len(keys):
        if word < len(words) and words[word] == "#":
            hash_word, hash_key = word, key
            word += 1
        elif word < len(words) and words[word] in ("*", keys[key]):
            word += 1
            key += 1
        elif hash_word >= 0:
            hash_key += 1
            word, key = hash_word + 1, hash_key
        else:
            return False
    return all(rest == "#" for rest in words[word:])
