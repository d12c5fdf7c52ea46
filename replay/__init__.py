"""The auditor's own program: it reads the journal, rebuilds everything from it, and compares.

It imports `ledger.domain` and psycopg, and nothing else of ours.
"""
