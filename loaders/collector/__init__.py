"""The collector: events over HTTP, answered when they are durable, kept as landing files."""
