"""Several models on few accelerators: optimal, fast, and how much it saves."""
