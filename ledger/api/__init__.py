"""The HTTP API's place. It comes with its own issue; until then nothing is served."""
