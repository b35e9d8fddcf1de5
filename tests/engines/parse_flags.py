"""Parses command lines as an engine does: `parse_flags.py ENGINE < commands.json`.

Runs in an interpreter that has the engine, and imports nothing of ours. Reads a list of lists of
words, program left out; writes for each what is wrong with it, or an empty text.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from collections.abc import Callable

Parser = tuple[argparse.ArgumentParser, Callable[[argparse.Namespace], object]]


def vllm() -> Parser:
    """The parser of `vllm serve`, and its checks after parsing."""
    from vllm.entrypoints.cli.serve import ServeSubcommand
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    top = FlexibleArgumentParser()
    command = ServeSubcommand()
    parser = command.subparser_init(top.add_subparsers(required=True, dest="subparser"))
    parser.allow_abbrev = False
    top.spoken = parser  # the flags are its, the words are the whole program's
    return top, command.validate


def sglang() -> Parser:
    """The parser of `sglang serve`, with the checks of its arguments' types."""
    from sglang.srt.server_args import ServerArgs

    top = argparse.ArgumentParser(allow_abbrev=False)
    parser = top.add_subparsers(required=True).add_parser("serve", allow_abbrev=False)
    ServerArgs.add_cli_args(parser)
    top.spoken = parser
    return top, lambda _args: None


def wrong(parser: Parser, words: list[str]) -> str:
    """What the parser says of a command line; empty when it accepts every word."""
    top, check = parser
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            check(top.parse_args(words))
    except SystemExit:
        return said.getvalue()[-500:] or "it refused"
    except (TypeError, ValueError) as error:
        return str(error)
    known = top.spoken._option_string_actions
    spelled = [word.partition("=")[0] for word in words if word.startswith("--")]
    return ", ".join(unknown(spelled, known))


def unknown(flags: list[str], known: dict[str, argparse.Action]) -> list[str]:
    """Flags that are only nearly right, or that the engine is about to drop."""
    bad = [flag for flag in flags if flag not in known]
    gone = [flag for flag in known if "deprecated" in (known[flag].help or "").lower()[:40]]
    return bad + [f"{flag} is deprecated" for flag in flags if flag in gone]


if __name__ == "__main__":
    chosen = {"vllm": vllm, "sglang": sglang}[sys.argv[1]]()
    json.dump([wrong(chosen, words) for words in json.load(sys.stdin)], sys.stdout)
