"""What a person will live on: plans, paths and choices, computed from her balance sheet and a few answers."""
