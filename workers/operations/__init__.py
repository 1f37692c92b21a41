"""What operators do to many messages at once: replays, deletions, changes of topology."""
