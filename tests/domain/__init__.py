"""The rules of the ledger, one by one: no database, no clock, nothing mocked."""
