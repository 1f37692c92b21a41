"""What RabbitMQ holds of an application: from its HTTP API, or from what AMQP lets one see."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from eventbus.brokers.port import QueueStats
from eventbus.brokers.rabbitmq.management import Management, ManagementUnavailable
from eventbus.drift import Found, FoundQueue, aside, overriding_policies
from eventbus.topology import Binding, Exchange, Queue, Topology


def inspect_with_api(
    management: Management,
    declared: Topology,
    prefix: str,
    stats: Callable[[list[str]], dict[str, QueueStats]],
) -> Found:
    """Everything that the API shows; raises `ManagementUnavailable`."""
    exchanges: dict[str, str | None] = {}
    bindings: list[Binding] = []
    for exchange in declared.exchanges:
        kind = management.exchange_type(exchange.name)
        if kind is not None:
            exchanges[exchange.name] = kind
            bindings += management.bindings_from(exchange.name)
    queues = {queue.name: queue for queue in management.queues(prefix)}
    # The API's counts are up to 5 s old; a queue that is no more has none.
    counted = stats(list(queues))
    queues = {
        name: replace(
            queue,
            messages=max(queue.messages, counted[name].messages),
            consumers=counted[name].consumers,
        )
        for name, queue in queues.items()
        if name in counted
    }
    found = Found(exchanges, queues, tuple(bindings))
    return replace(found, notes=tuple(overriding_policies(declared, found)))


def inspect_with_amqp(
    declared: Topology,
    find_exchange: Callable[[Exchange], tuple[str | None] | None],
    find_queue: Callable[[Queue], FoundQueue | None],
    why_not: ManagementUnavailable,
) -> Found:
    """What can be seen of the declared queues alone."""
    exchanges: dict[str, str | None] = {}
    for exchange in declared.exchanges:
        found = find_exchange(exchange)
        if found is not None:
            exchanges[exchange.name] = found[0]
    queues = {}
    for queue in declared.queues:
        for one in (queue, aside(queue.name)):
            existing = find_queue(one)
            if existing is not None:
                queues[one.name] = existing
    return Found(exchanges, queues, None, complete=False, notes=_notes(why_not, queues.values()))


def _notes(why_not: ManagementUnavailable, queues: Iterable[FoundQueue]) -> tuple[str, ...]:
    notes = [
        f"bindings, queues that nothing declares any more and policies cannot be seen: {why_not}",
        "enable the plugin with 'rabbitmq-plugins enable rabbitmq_management' and give the user "
        "the tag 'monitoring', or set EVENTBUS_MANAGEMENT_URL",
    ]
    hidden = [queue.name for queue in queues if queue.arguments is None]
    if hidden:
        notes.append(
            f"the user may not configure {', '.join(hidden)}, so their arguments cannot be seen"
        )
    return tuple(notes)
