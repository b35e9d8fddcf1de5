"""The claim: a gateway in front costs at most 3 % of the engines' own tokens per second."""
