"""Calculators of the pension rules: pure, exact in fen, each told by `Rules` which rows hold."""
