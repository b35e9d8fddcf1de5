"""What is seen: the names of our metrics, their text, and the access log."""
