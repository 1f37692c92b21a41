"""Our messages as pika takes them."""

from __future__ import annotations

import pika

from eventbus.message import Message


def properties_of(message: Message) -> pika.BasicProperties:
    """Everything that the dispatcher sends, the persistent delivery mode included."""
    return pika.BasicProperties(
        content_type=message.content_type,
        headers=message.headers,
        delivery_mode=2,
        correlation_id=message.correlation_id,
        message_id=message.message_id,
        timestamp=message.timestamp,
        type=message.type,
        app_id=message.app_id,
    )
