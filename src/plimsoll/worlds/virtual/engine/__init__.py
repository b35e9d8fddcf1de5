"""An engine in numbers: vLLM's scheduler and its KV cache, advanced from change to change."""
