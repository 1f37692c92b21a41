"""The embedded broker: queues as tables of a database, durable, several processes, no server.

It is what runs where no broker URL is set. It keeps the promises of `eventbus.brokers.port` as
RabbitMQ does: a topic exchange that copies each message into every queue bound for it, prefetch,
late acknowledgement, redelivery of what a dead consumer had, delayed retries, dead-letter queues,
bounded queues. What it is not is a server: its figure is what the database can write.

=============  =====================================================
`rows`         one message ↔ one row, and the statements on rows
`routes`       which queues a routing key goes to
`bounds`       moves or refuses what is too much for a queue
`link`         one connection, opened again after an error
`publisher`, `consumer`, `admin`  the parts of the port
=============  =====================================================
"""

from eventbus.brokers.embedded.broker import EmbeddedBroker

__all__ = ["EmbeddedBroker"]
