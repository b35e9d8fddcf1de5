"""How well the planner predicts what others measured, and how fast it plans."""
