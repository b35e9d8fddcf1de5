"""A simulation as one page of HTML, readable without network or scripts."""
