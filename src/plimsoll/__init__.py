"""Plimsoll: self-hosted LLM inference on Kubernetes from one file."""

__version__ = "0.1.0"
