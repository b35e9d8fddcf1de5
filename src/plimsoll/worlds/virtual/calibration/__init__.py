"""Fits the step times of a simulated engine to what a real one was measured to do."""
