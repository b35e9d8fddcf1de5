"""How fast a fleet is rendered."""
