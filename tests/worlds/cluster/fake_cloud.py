"""A stand-in for `aws`, `gcloud` and `az`: keeps node pools in a file, refuses what they refuse.

Run under one of those names, in a folder of its own: it writes every call to `calls.jsonl`, keeps
what was made in `<name>.json`, and refuses flags that the real program does not take. A file
`broken` makes every listing fail. It imports nothing of this project.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

# `gcloud container node-pools ... --help` of 528.0.0 and azure-cli 2.91.0 acs/_params.py; aws's
# parameters are checked against its service model by the test.
EVERYWHERE = {"gcloud": "cluster location project quiet format", "az": "output query"}
FLAGS = {
    "gcloud create": "machine-type accelerator enable-gvnic ephemeral-storage-local-ssd image-type "
    "node-locations num-nodes enable-autoscaling total-min-nodes total-max-nodes location-policy "
    "disk-size node-labels node-taints max-surge-upgrade max-unavailable-upgrade spot "
    "reservation-affinity reservation",
    "gcloud update": "enable-autoscaling total-min-nodes total-max-nodes node-labels node-taints",
    "gcloud list": "",
    "az add": "resource-group cluster-name name mode node-vm-size node-count "
    "enable-cluster-autoscaler min-count max-count node-osdisk-size zones labels node-taints "
    "priority eviction-policy spot-max-price gpu-driver gpu-instance-profile crg-id",
    "az update": "resource-group cluster-name name update-cluster-autoscaler min-count max-count "
    "labels node-taints",
    "az list": "resource-group cluster-name",
}
SWITCHES = {
    "quiet", "enable-gvnic", "enable-autoscaling", "spot", "enable-cluster-autoscaler",
    "update-cluster-autoscaler",
}  # fmt: skip


def read(words: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Positional words, and the values of each flag."""
    positional: list[str] = []
    flags: dict[str, list[str]] = {}
    current = ""
    for word in words:
        if word.startswith("--"):
            current, equals, value = word[2:].partition("=")
            flags[current] = [value] if equals else []
            if equals or current in SWITCHES:
                current = ""
        elif current:
            flags[current].append(word)
        else:
            positional.append(word)
    return positional, flags


def refuse(message: str) -> None:
    print(message, file=sys.stderr)
    raise SystemExit(2)


def main() -> None:
    here = Path(sys.argv[0]).parent
    program = Path(sys.argv[0]).name
    positional, flags = read(sys.argv[1:])
    verb = positional[2] if program in ("gcloud", "az") else positional[1]
    with (here / "calls.jsonl").open("a") as log:
        call = {"argv": [program, *sys.argv[1:]], "verb": verb, "flags": flags}
        log.write(json.dumps(call) + "\n")
    if program != "aws":
        known = {*FLAGS[f"{program} {verb}"].split(), *EVERYWHERE[program].split()}
        unknown = sorted(set(flags) - known)
        if unknown:
            refuse(f"unrecognized arguments: {unknown}")
    file = here / f"{program}.json"
    state = json.loads(file.read_text()) if file.exists() else {"groups": [], "templates": []}
    if (
        verb in ("list", "list-nodegroups", "describe-launch-templates")
        and (here / "broken").exists()
    ):
        refuse("no route to the cloud")
    answer(state, verb, positional, flags, here)
    file.write_text(json.dumps(state))


def answer(
    state: dict[str, list[str]],
    verb: str,
    positional: list[str],
    flags: dict[str, list[str]],
    here: Path,
) -> None:
    """What the cloud says, and what it remembers."""
    if verb in ("list", "list-nodegroups"):
        print(
            "\t".join(state["groups"]) if verb == "list-nodegroups" else "\n".join(state["groups"])
        )
    elif verb == "describe-launch-templates":
        print("\t".join(state["templates"]))
    elif verb == "describe-capacity-reservations":
        block = here / "capacity-block"
        print("capacity-block" if block.exists() else "default")
    elif verb == "create-launch-template":
        new(state["templates"], flags["launch-template-name"][0])
    elif verb in ("create-nodegroup", "add", "create"):
        named = flags.get("nodegroup-name") or flags.get("name") or positional[3:4]
        new(state["groups"], named[0])
    elif verb in ("update-nodegroup-config", "update"):
        named = flags.get("nodegroup-name") or flags.get("name") or positional[3:4]
        if named[0] not in state["groups"]:
            refuse(f"{named[0]} is not there")
    elif verb != "wait":
        refuse(f"no such command: {verb}")


def new(made: list[str], name: str) -> None:
    """Refuses what is there already, as every cloud does."""
    if name in made:
        refuse(f"{name} exists already")
    made.append(name)


main()
