"""Regular expressions: read, kept from taking exponential time, and compared as automata."""
