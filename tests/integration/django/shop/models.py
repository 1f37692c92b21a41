"""An order, and what the handlers make of it."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """Published when it is saved."""

    name = models.CharField(max_length=50)

    class Meta:
        app_label = "shop"


class Receipt(models.Model):
    """Written by a handler, without any unique constraint."""

    order_id = models.IntegerField()
    handler = models.CharField(max_length=20)

    class Meta:
        app_label = "shop"
