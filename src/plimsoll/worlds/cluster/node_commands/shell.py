"""Shell text: quoted words, long commands over several lines, variables that must be said."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

# The program and its subcommand, an entry each; then its flags, each a tuple of quoted words.
Words = Sequence[str | tuple[str, ...]]

HEAD = """\
#!/usr/bin/env bash
# Written by `plimsoll nodepools`. Makes what is missing and sets what can be changed in place;
# what is there already is not made twice, so that it can be run again at any time.
set -euo pipefail

# Whether the first word is one of the words of the second, which may be over several lines.
has() {
  local word
  for word in $2; do
    if [ "$word" = "$1" ]; then return 0; fi
  done
  return 1
}
"""


def quoted(word: str, *, always: bool = False) -> str:
    """A word for a POSIX shell; in quotes only where it needs them, unless `always`."""
    text = shlex.quote(word)
    return f"'{text}'" if always and text == word else text


def command(words: Words, *, indent: str = "") -> list[str]:
    """The lines of one command.

    words  the program and its subcommand as one entry each; then its flags, each a tuple of words
           that are already quoted
    """
    entries = [word if isinstance(word, str) else " ".join(word) for word in words]
    head: list[str] = []
    while entries and not entries[0].startswith("-"):
        head.append(entries.pop(0))
    lines = [indent + " ".join(head), *(f"{indent}  {entry}" for entry in entries)]
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]


def captured(name: str, words: Words) -> list[str]:
    """The lines of a command whose output becomes a variable; its failure ends the script."""
    lines = command(words)
    lines[0] = f'{name}="$({lines[0]}'
    lines[-1] += ')"'
    return lines


def assigned(name: str, value: str | None, variable: str, what: str) -> list[str]:
    """A shell variable: its value where the fleet says it, else one that whoever runs it must say.

    name      of the script's own variable
    value     from the fleet file
    variable  of the environment
    what      it is, in words
    """
    if value is not None:
        return [f"{name}={quoted(value, always=True)}"]
    return [required(variable, what), f'{name}="${variable}"']


def required(variable: str, what: str) -> str:
    """Ends the script with a message where the variable is not set."""
    return f': "${{{variable}:?say {what}}}"'


def asks(text: str) -> list[str]:
    """The lines of a script that ask for variables, each once."""
    return list(dict.fromkeys(line for line in text.splitlines() if line.startswith(': "${')))


def variable_name(*parts: str) -> str:
    """A name such as `ZONES_H100_SPOT`."""
    return re.sub(r"[^A-Z0-9]+", "_", "_".join(parts).upper()).strip("_")


def comma(pairs: Mapping[str, str]) -> str:
    """`a=1,b=2`, in order of the names."""
    return ",".join(f"{key}={value}" for key, value in sorted(pairs.items()))


def taint_words(taints: Iterable[Mapping[str, str]]) -> list[str]:
    """`key=value:Effect` of each."""
    return [f"{one['key']}={one.get('value', '')}:{one['effect']}" for one in taints]


def comments(lines: Iterable[str]) -> list[str]:
    """As comments."""
    return [f"# {line}" for line in lines]
