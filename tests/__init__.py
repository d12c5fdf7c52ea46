"""Tests: a name or a docstring is the rule that is checked."""
