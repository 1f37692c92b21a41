"""What a worker takes in and begins next: scheduling, rate limits, breakers, pauses, overflow."""
