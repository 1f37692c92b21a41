"""A handler for whatever bus the project has."""

from __future__ import annotations

import logging

from eventbus import Context, Event, shared_handler


@shared_handler("order.#", queue="audit")
async def audit(event: Event, context: Context, logger: logging.Logger) -> None:
    """A coroutine that asks the project's source of truth, and writes with the ORM."""
    from tests.integration.django.shop.models import Receipt

    order = await context.fetch(event)
    await Receipt.objects.acreate(order_id=order.pk, handler="audit")
    logger.warning("audited")
