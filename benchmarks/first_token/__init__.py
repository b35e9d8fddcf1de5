"""The claim: from `plimsoll up` to the first token of a chat in under 5 seconds."""
