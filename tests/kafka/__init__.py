"""Tests with a real broker, and what fetches Apache Kafka for them."""
