"""Benchmarks: always side by side with a floor or a peer in one run, because machines are shared and noisy."""
