"""JSON Schema (draft 2020-12, draft-07): contracts derived from events, read, and compared."""
