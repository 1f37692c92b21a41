"""The gates in CI and at deploy: what stops a contract that would break its readers."""
