"""The RabbitMQ adapter: pika carries the data plane, kombu the control plane."""

from eventbus.brokers.rabbitmq.broker import RabbitMQBroker

__all__ = ["RabbitMQBroker"]
