"""The pure heart: commands, facts, deciders and folds, with no clock, no database and no randomness."""
