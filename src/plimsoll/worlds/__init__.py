"""Where it runs: each world observes and applies; worlds do not know each other."""
