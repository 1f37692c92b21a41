"""Django integration: publish inside ``transaction.atomic()``, handle with the ORM.

Add ``"eventbus.django"`` to ``INSTALLED_APPS``, settings as ``EVENTBUS = {...}``, and run the
commands as ``manage.py eventbus ...``. See ``docs/django.md``.
"""
