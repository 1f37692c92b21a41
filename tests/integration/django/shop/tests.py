"""The project's own tests, run by ``manage.py test``: on the test database, like its models."""

from __future__ import annotations

import pytest
from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase

from eventbus import NotInTransaction
from eventbus.django import project
from tests.integration.django.shop.handlers import OrderPlaced, bus


def rows() -> int:
    """Rows in the outbox of the test database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM eventbus_outbox")
        return int(cursor.fetchone()[0])


class PublishingTest(TestCase):
    """Django rolls each of these tests back."""

    def test_an_event_is_there(self) -> None:
        """Written through the test's own transaction."""
        bus.publish(OrderPlaced(order_id=1))
        assert rows() == 1

    def test_the_next_test_does_not_see_it(self) -> None:
        """Gone with the rollback."""
        assert rows() == 0
        with transaction.atomic():
            bus.publish(OrderPlaced(order_id=1))
        assert rows() == 1


class OutsideTest(TransactionTestCase):
    """These tests have no transaction around them."""

    def test_publishing_outside_a_transaction_is_refused(self) -> None:
        """As outside of tests."""
        with pytest.raises(NotInTransaction):
            bus.publish(OrderPlaced(order_id=1))

    def test_what_the_bus_opens_itself_is_the_test_database(self) -> None:
        """Never the project's real one."""
        present = project.at_present(bus.settings).database_url
        assert present != bus.settings.database_url
        assert bus.engine.url.database in present
