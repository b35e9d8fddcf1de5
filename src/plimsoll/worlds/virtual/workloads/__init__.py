"""Traffic for a simulated fleet: traces as they are, changed, or made up; lazily, and seeded."""
