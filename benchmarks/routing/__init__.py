"""Prefix routing: what it finds in caches, how evenly, how fast, beside the rules of others."""
