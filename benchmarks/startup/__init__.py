"""The claim: `plimsoll --help` starts within 8x of `python3 -c pass`."""
