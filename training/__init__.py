"""Scripts that make what the wheel ships; not part of the wheel."""
