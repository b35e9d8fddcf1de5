"""Claim: several workers serve more than one, and cost no more per request."""
