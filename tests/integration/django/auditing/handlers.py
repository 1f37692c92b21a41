"""A handler for whatever bus the project has."""

from __future__ import annotations

import logging

from eventbus import Event, shared_handler


@shared_handler("order.#", queue="audit")
async def audit(event: Event, *, logger: logging.Logger) -> None:
    """A coroutine that writes with the ORM."""
    from tests.integration.django.shop.models import Receipt

    await Receipt.objects.acreate(order_id=event.order_id, handler="audit")  # type: ignore[attr-defined]
    logger.warning("audited")
