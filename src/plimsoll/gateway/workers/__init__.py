"""Several processes as one gateway: what they tell each other, by way of their parent."""
