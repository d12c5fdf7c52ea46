"""The HTTP API: who is let in, what they are told, and what is never told."""
