"""Every table that eventbus keeps, as SQLAlchemy Core values.

Times are epoch milliseconds in BIGINT columns: the same on PostgreSQL, MySQL and SQLite, with no
session time zone to get wrong. `create` makes the tables of one metadata, so that an application
may hand them to Alembic (`EventBus.metadata`) together with its own.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.event import listen
from sqlalchemy.types import TypeDecorator, TypeEngine

metadata = MetaData()

#: SQLite numbers rows by itself only in an INTEGER column.
_Sequence = BigInteger().with_variant(Integer, "sqlite")


def _is_mysql(dialect: Dialect) -> bool:
    return dialect.name in ("mysql", "mariadb")


def _has_partial_indexes(
    ddl: Any, target: Any, bind: Any, *args: Any, dialect: Dialect, **options: Any
) -> bool:
    return not _is_mysql(dialect)


# `with_variant` would do the same, but it needs the MySQL dialect, some MiB of it, in processes
# that will never see MySQL. MySQL's BLOB and TEXT end at 64 KiB; a longer value would be refused,
# or cut.


class _Bytes(TypeDecorator[bytes]):
    """Bytes of any length."""

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """LONGBLOB on MySQL."""
        if not _is_mysql(dialect):
            return dialect.type_descriptor(LargeBinary())
        from sqlalchemy.dialects.mysql import LONGBLOB

        return dialect.type_descriptor(LONGBLOB())


class _LongText(TypeDecorator[str]):
    """Text of any length."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """LONGTEXT on MySQL."""
        if not _is_mysql(dialect):
            return dialect.type_descriptor(Text())
        from sqlalchemy.dialects.mysql import LONGTEXT

        return dialect.type_descriptor(LONGTEXT())


class _Exact(TypeDecorator[str]):
    """A string compared byte by byte: MySQL's default collation would take ``A`` for ``a``."""

    impl = String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """A binary collation on MySQL."""
        if not _is_mysql(dialect):
            return dialect.type_descriptor(String(self.length))
        from sqlalchemy.dialects.mysql import VARCHAR

        kind = VARCHAR(self.length, charset="utf8mb4", collation="utf8mb4_bin")
        return dialect.type_descriptor(kind)


#: One row an event, written in the application's own transaction; gone once it is published.
outbox = Table(
    "eventbus_outbox",
    metadata,
    Column("seq", _Sequence, primary_key=True, autoincrement=True),
    Column("event_id", _Exact(64), nullable=False),
    Column("name", _Exact(255), nullable=False),
    Column("partition_key", _Exact(255)),
    Column("shard", SmallInteger, nullable=False),
    Column("attributes", _LongText, nullable=False),
    Column("body", _Bytes, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("available_at_ms", BigInteger, nullable=False),
    # pending, delayed, failed, or held: a queue refuses its event.
    Column("state", String(10), nullable=False),
    # Failed ones; at least 1 of a row that holds back its key.
    Column("attempts", Integer, nullable=False),
    Column("last_error", _LongText),
    # Without it SQLite would number a new row like one that is already in the event log.
    sqlite_autoincrement=True,
)
outbox_state = Index("eventbus_outbox_state", outbox.c.state, outbox.c.seq)
#: Finds the delayed rows whose time has come.
outbox_delayed = Index(
    "eventbus_outbox_delayed",
    outbox.c.state,
    outbox.c.available_at_ms,
    postgresql_where=outbox.c.state == "delayed",
    sqlite_where=outbox.c.state == "delayed",
)
#: Finds the keys that a row holds back.
outbox_held = Index(
    "eventbus_outbox_held",
    outbox.c.partition_key,
    outbox.c.attempts,
    postgresql_where=outbox.c.attempts > 0,
    sqlite_where=outbox.c.attempts > 0,
)

#: Finds the rows of an event that is held back, however many others there are. MySQL has no partial
#: indexes; it walks along the state.
outbox_held_name = Index(
    "eventbus_outbox_held_name",
    outbox.c.name,
    outbox.c.seq,
    postgresql_where=outbox.c.state == "held",
    sqlite_where=outbox.c.state == "held",
).ddl_if(callable_=_has_partial_indexes)

#: Which dispatcher publishes which part of the outbox; the lease fences its settlements.
shard = Table(
    "eventbus_shard",
    metadata,
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("owner", _Exact(64)),
    Column("lease_until_ms", BigInteger, nullable=False),
)

#: The dispatchers alive, so that each knows its fair share of the shards.
dispatcher = Table(
    "eventbus_dispatcher",
    metadata,
    Column("owner", _Exact(64), primary_key=True),
    Column("lease_until_ms", BigInteger, nullable=False),
)

#: What was published, kept for `event_log_retention`: audit, unrouted events, replay. Partitioned
#: by day on PostgreSQL (`eventbus.outbox.partitions`), where every key has to hold the day.
event_log = Table(
    "eventbus_event_log",
    metadata,
    Column("published_at_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("event_id", _Exact(64), nullable=False),
    Column("name", _Exact(255), nullable=False),
    Column("partition_key", _Exact(255)),
    Column("attributes", _LongText, nullable=False),
    Column("body", _Bytes, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("routed", Boolean, nullable=False),
    postgresql_partition_by="RANGE (published_at_ms)",
)
#: The partition for what has no other: without it, an event could not be moved to the log. Not in
#: `metadata`, as it is there on PostgreSQL only.
event_log_default = event_log.to_metadata(MetaData(), name="eventbus_event_log_default")
_default_partition = DDL(  # type: ignore[no-untyped-call]
    "CREATE TABLE IF NOT EXISTS eventbus_event_log_default PARTITION OF eventbus_event_log DEFAULT"
)
listen(event_log, "after_create", _default_partition.execute_if(dialect="postgresql"))
event_log_unrouted = Index(
    "eventbus_event_log_unrouted",
    event_log.c.routed,
    event_log.c.name,
    event_log.c.seq,
    postgresql_where=event_log.c.routed.is_(False),
    sqlite_where=event_log.c.routed.is_(False),
)

#: Claims and remembered keys of the ``sql`` idempotency store.
idempotency = Table(
    "eventbus_idempotency",
    metadata,
    Column("handler", _Exact(200), primary_key=True),
    Column("event_id", _Exact(300), primary_key=True),
    Column("state", String(10), nullable=False),
    Column("token", _Exact(40), nullable=False),
    Column("fingerprint", _Exact(32), nullable=False),
    Column("starts", Integer, nullable=False),
    Column("lease_until_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
)
idempotency_expiry = Index("eventbus_idempotency_expiry", idempotency.c.expires_at_ms)

#: One row for each event that a transactional handler has taken, in the handler's transaction.
inbox = Table(
    "eventbus_inbox",
    metadata,
    Column("handler", _Exact(200), primary_key=True),
    Column("event_id", _Exact(300), primary_key=True),
    Column("fingerprint", _Exact(32), nullable=False),
    Column("processed_at_ms", BigInteger, nullable=False),
)
inbox_processed = Index("eventbus_inbox_processed", inbox.c.processed_at_ms)

#: Queues of the embedded broker.
queue = Table(
    "eventbus_queue",
    metadata,
    Column("name", _Exact(255), primary_key=True),
    Column("arguments", _LongText, nullable=False),
)

#: Bindings of the embedded broker's queues to its one exchange.
binding = Table(
    "eventbus_binding",
    metadata,
    Column("exchange", _Exact(127), primary_key=True),
    Column("queue", _Exact(255), primary_key=True),
    Column("pattern", _Exact(255), primary_key=True),
)

#: Messages of the embedded broker: one row for each message in each queue.
message = Table(
    "eventbus_message",
    metadata,
    Column("seq", _Sequence, primary_key=True, autoincrement=True),
    Column("queue", _Exact(255), nullable=False),
    Column("routing_key", _Exact(255), nullable=False),
    Column("properties", _LongText, nullable=False),
    Column("body", _Bytes, nullable=False),
    # Published by a producer; not a retry, nor moved here from another queue.
    Column("from_exchange", Boolean, nullable=False),
    # 0: ready, in the order of `seq`; else the time at which a retry becomes ready.
    Column("available_at_ms", BigInteger, nullable=False),
    # The consumer that has it, or "": an index finds a value more surely than NULL.
    Column("owner", _Exact(64), nullable=False),
    # Times it was given to a consumer that neither settled it nor gave it back.
    Column("deliveries", Integer, nullable=False),
    sqlite_autoincrement=True,
)
message_next = Index(
    "eventbus_message_next",
    message.c.queue,
    message.c.owner,
    message.c.available_at_ms,
    message.c.seq,
)

#: The consumers of the embedded broker that are alive; what one without a lease has is free again.
consumer = Table(
    "eventbus_consumer",
    metadata,
    Column("owner", _Exact(64), primary_key=True),
    Column("name", _Exact(255), nullable=False),
    # A JSON list of the queues that it consumes.
    Column("queues", _LongText, nullable=False),
    Column("lease_until_ms", BigInteger, nullable=False),
)

#: The services that run, each with its latest report; those whose lease has run out are gone.
process = Table(
    "eventbus_process",
    metadata,
    Column("id", _Exact(64), primary_key=True),
    Column("service", _Exact(100), nullable=False),
    Column("kind", String(10), nullable=False),
    Column("name", _Exact(255), nullable=False),
    # JSON of bounded size, see `eventbus.workers.monitoring.processes`.
    Column("report", _LongText, nullable=False),
    Column("started_at_ms", BigInteger, nullable=False),
    Column("lease_until_ms", BigInteger, nullable=False),
)

#: The queues that an operator has paused; workers look here.
paused_queue = Table(
    "eventbus_paused_queue",
    metadata,
    Column("queue", _Exact(255), primary_key=True),
    Column("paused_at_ms", BigInteger, nullable=False),
    Column("paused_by", _Exact(255), nullable=False),
    Column("reason", _LongText, nullable=False),
)

#: What operators did to many messages at once: replays, deletions, migrations. An audit.
operation = Table(
    "eventbus_operation",
    metadata,
    Column("id", _Exact(64), primary_key=True),
    # Such as ``dlq.replay``.
    Column("kind", String(40), nullable=False),
    Column("state", String(20), nullable=False),
    Column("started_by", _Exact(255), nullable=False),
    Column("started_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    Column("finished_at_ms", BigInteger),
    # JSON: which messages were chosen, and how.
    Column("parameters", _LongText, nullable=False),
    # JSON: how many were done, failed, skipped, and where a resumed operation goes on.
    Column("progress", _LongText, nullable=False),
    Column("error", _LongText),
)
operation_started = Index("eventbus_operation_started", operation.c.started_at_ms)

#: The subjects of the schema registry that have a setting of their own; the global ones have the
#: empty name. What is written to the registry locks the global row first: one at a time.
contract_subject = Table(
    "eventbus_contract_subject",
    metadata,
    Column("subject", _Exact(255), primary_key=True),
    # FULL_TRANSITIVE and so on; NULL: as is set globally.
    Column("compatibility", String(30)),
    # READWRITE or READONLY; NULL: as is set globally.
    Column("access", String(10)),
)

#: The schemas, by the id that goes into messages; each once, however many subjects have it.
contract_schema = Table(
    "eventbus_contract_schema",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    # See `eventbus.contracts.fingerprints`.
    Column("fingerprint", _Exact(64), nullable=False, unique=True),
    Column("format", String(10), nullable=False),
    Column("text", _LongText, nullable=False),
)

#: Which versions of other subjects a schema refers to, and by what names.
contract_reference = Table(
    "eventbus_contract_reference",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("name", _LongText, nullable=False),
    Column("subject", _Exact(255), nullable=False),
    Column("version", Integer, nullable=False),
)
contract_reference_target = Index(
    "eventbus_contract_reference_target",
    contract_reference.c.subject,
    contract_reference.c.version,
)

#: The versions of the subjects.
contract_version = Table(
    "eventbus_contract_version",
    metadata,
    Column("subject", _Exact(255), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("id", Integer, nullable=False),
    # No longer offered, but still there for those that have its id.
    Column("deleted", Boolean, nullable=False),
    Column("registered_at_ms", BigInteger, nullable=False),
)
contract_version_id = Index("eventbus_contract_version_id", contract_version.c.id)

#: What the handlers of all services read, as their workers say at the start.
contract_reader = Table(
    "eventbus_contract_reader",
    metadata,
    # A hash of subject, service, release, queue and handler: too long together for a key of MySQL.
    Column("key", _Exact(64), primary_key=True),
    Column("subject", _Exact(255), nullable=False),
    Column("service", _Exact(100), nullable=False),
    Column("release", _Exact(100), nullable=False),
    Column("queue", _Exact(255), nullable=False),
    Column("handler", _Exact(200), nullable=False),
    Column("format", String(10), nullable=False),
    Column("text", _LongText, nullable=False),
    # Name to text, JSON.
    Column("references", _LongText, nullable=False),
    Column("seen_at_ms", BigInteger, nullable=False),
)
contract_reader_subject = Index("eventbus_contract_reader_subject", contract_reader.c.subject)

#: The answers of a registry at an URL, for when it is away.
contract_answer = Table(
    "eventbus_contract_answer",
    metadata,
    # A hash of the registry's address.
    Column("registry", _Exact(64), primary_key=True),
    # A hash of what was asked.
    Column("request", _Exact(64), primary_key=True),
    # JSON.
    Column("answer", _LongText, nullable=False),
    Column("answered_at_ms", BigInteger, nullable=False),
)

#: The version of these tables, one row.
schema_version = Table(
    "eventbus_schema_version",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
)
