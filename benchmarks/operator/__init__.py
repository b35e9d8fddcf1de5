"""Claim: an operator that keeps 500 Fleets takes under 5 % of a core while nothing changes."""
