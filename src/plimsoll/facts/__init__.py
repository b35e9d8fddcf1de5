"""What is known: engines, weight formats, architectures, measured constants; with source and date.

May live here: data files, their types, and pure readers of model headers. May not: opinions
(plan/), opening files other than its own data, and numbers written into code.
"""

from __future__ import annotations

from plimsoll.facts.engines import EngineFacts, engine, engines

__all__ = ["EngineFacts", "engine", "engines"]
