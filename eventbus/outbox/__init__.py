"""The outbox: events as rows of the application's own database.

`row` makes a row of an event, `writer` puts it into the caller's transaction, `recorder` collects
what aggregates recorded, `store` is the dispatcher's side.
"""
