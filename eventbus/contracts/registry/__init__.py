"""Where contracts are registered: in the application's database, or at a registry's URL."""
