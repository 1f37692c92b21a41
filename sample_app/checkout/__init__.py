"""The checkout service: takes orders over HTTP and publishes what happened."""
