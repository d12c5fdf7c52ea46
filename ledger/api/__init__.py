"""The HTTP API: commands in, readings out, problems where neither can be."""
