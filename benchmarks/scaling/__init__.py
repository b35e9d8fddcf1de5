"""Scaling policies on days of traffic, beside the fewest GPU hours that would have done."""
