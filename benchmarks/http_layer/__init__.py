"""Claim: our HTTP layer costs less CPU than the framework it replaces, and refuses more.

The peers need `pip install uvicorn aiohttp starlette httpx` in the environment that runs it:
`python -m benchmarks.http_layer [--seconds 3] [--json]`. What is not installed is left out.
`python -m benchmarks.http_layer.disconnects [--times 1000]` holds another claim: every caller
that leaves frees its slot of a real engine within 200 ms.
"""
