"""The simulated world: the gateway's own state machine, engines in numbers, nodes, and costs."""
