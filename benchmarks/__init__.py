"""One folder per claim, each with the command that reproduces it and its last table."""
