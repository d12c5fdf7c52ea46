"""Readings: what the facts add up to, composed for people and systems that ask."""
