"""The catalog: which events there are, who publishes them, and who consumes them.

`catalog_of` reads it from what one application declares; several of them, each written as JSON by
its own service, are put together by `Catalog.with_others`. It is shown as text, JSON, a Mermaid
diagram, a static page, and as an AsyncAPI document.
"""
