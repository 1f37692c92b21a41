"""What processes tell of themselves, and who hears it: the database, probes, metrics, operators."""
