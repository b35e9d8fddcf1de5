"""Claim: the plan's memory ledger is within 10 % of what a replica really takes."""
