"""`EmbeddedBroker`: knows the database, makes the parts."""

from __future__ import annotations

from eventbus.brokers.embedded.admin import EmbeddedAdmin
from eventbus.brokers.embedded.consumer import EmbeddedConsumer
from eventbus.brokers.embedded.link import Link
from eventbus.brokers.embedded.publisher import EmbeddedPublisher
from eventbus.database import sync_url
from eventbus.errors import ConfigurationError
from eventbus.settings import mask


class EmbeddedBroker:
    """A broker whose queues are tables of the database at `url`.

    Parameters
    ----------
    url:
        SQLAlchemy URL: SQLite in a file, PostgreSQL, MySQL from 8.0 or MariaDB from 10.6. The
        tables are made by ``eventbus db upgrade``; on SQLite by the first use.
    exchange:
        The topic exchange that is published to.

    Raises
    ------
    ConfigurationError
        The URL is no database URL, or names a database in memory, which no two connections share.

    >>> broker = EmbeddedBroker("sqlite:///eventbus.db", "events")
    >>> publisher = broker.publisher("dispatcher")
    """

    def __init__(self, url: str, exchange: str) -> None:
        parsed = sync_url(url)
        if parsed.get_backend_name() == "sqlite" and (parsed.database or "") in ("", ":memory:"):
            raise ConfigurationError(
                f"{mask(url)!r} is a database in memory, which processes and threads cannot share; "
                f"the embedded broker needs a file, such as sqlite:///eventbus.db"
            )
        self.url = mask(url)
        self._url = parsed
        self._exchange = exchange

    def publisher(self, name: str) -> EmbeddedPublisher:
        """A publisher with a connection of its own."""
        return EmbeddedPublisher(Link(self._url, name), self._exchange)

    def consumer(self, name: str) -> EmbeddedConsumer:
        """A consumer with a connection of its own."""
        return EmbeddedConsumer(Link(self._url, name), name)

    def admin(self) -> EmbeddedAdmin:
        """Open a connection for operations.

        Raises
        ------
        BrokerUnavailable
            The database cannot be reached.
        DatabaseNotMigrated
            It has no tables of eventbus, or of another version.
        """
        link = Link(self._url, "eventbus-admin")
        link.open()
        return EmbeddedAdmin(link)

    def ping(self) -> None:
        """Connect and look for the tables once; raises as `admin` does."""
        link = Link(self._url, "eventbus-ping")
        try:
            link.open()
        finally:
            link.close()
