"""How others' APIs are spoken: requests and answers from one shape into another. Pure both ways."""
