"""How fast a deployment answers: steps, latency at a steady load, under arrivals, at full load."""
