"""Streams that outlive their replicas."""
