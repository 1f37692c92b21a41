"""Private instances of the real servers, for tests and benchmarks.

Each runs in a temporary folder on free ports of 127.0.0.1, touches no server that already runs on
the machine, and is gone when the process that started it has ended, however that ended.

    with RabbitMQ() as rabbitmq:
        publish(rabbitmq.url)
        rabbitmq.kill()       # SIGKILL, as when the machine fails
        rabbitmq.start()      # same port, same data
"""

from .mariadb import MariaDB
from .postgresql import PostgreSQL
from .rabbitmq import RabbitMQ
from .redis import Redis
from .server import Server, ServerError

__all__ = ["MariaDB", "PostgreSQL", "RabbitMQ", "Redis", "Server", "ServerError"]
