"""The pension account ledger: account changes become immutable facts, and every number is rebuilt from them."""
