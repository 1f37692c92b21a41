"""No models: the tables are those of `eventbus.tables`.

Django sends ``post_migrate``, with which they are made, to applications with such a module only.
"""
