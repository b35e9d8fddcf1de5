"""Where model weights come from: one line of text, read into its parts."""

from __future__ import annotations

import re
from typing import Literal, get_args

import msgspec

from plimsoll.errors import InputError

Scheme = Literal["builtin", "file", "hf", "https", "http", "s3", "gs", "pvc", "oci"]
SCHEMES: tuple[str, ...] = get_args(Scheme)

_LONGEST = 1024
# Patterns stay text: compiling them here would cost every command its milliseconds.
_BUILTIN = r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?"
_REPOSITORY_PART = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9_])?"
_REVISION = r"[A-Za-z0-9._-]+(%2[Ff][A-Za-z0-9._-]+)*"
_BUCKET = r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]"
_HOST = r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
_CLAIM = r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?"
_IMAGE = (
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?(/[a-z0-9]([a-z0-9._-]*[a-z0-9])?)+)"
    r"(:(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A source of model weights.

    text        as written in the fleet file
    scheme      builtin, file, hf, https, http, s3, gs, pvc or oci
    repository  `owner/name` for hf, `registry/name` for oci; else empty
    bucket      for s3 and gs; else empty
    host        `name[:port]` for https and http; else empty
    claim       name of the PersistentVolumeClaim for pvc; else empty
    path        builtin: the model's name; file: the path as written; hf: the file inside the
                repository, empty for the whole repository; https: everything after the host, with
                its first slash; s3, gs: the key or prefix; pvc: the path inside the volume
    revision    hf: branch, tag or commit; oci: tag or `sha256:` digest; empty where not written
    """

    text: str
    scheme: Scheme
    repository: str = ""
    bucket: str = ""
    host: str = ""
    claim: str = ""
    path: str = ""
    revision: str = ""

    def __str__(self) -> str:
        return self.text

    @property
    def loopback(self) -> bool:
        """Whether an http or https source is served by this machine itself."""
        name = self.host if self.host.endswith("]") else re.sub(r":[0-9]+$", "", self.host)
        return name in _LOOPBACK


def parse_source(text: str) -> Source:
    """Read a source such as `hf://owner/name@main/model.gguf`.

    Raises InputError, whose hint shows the right shape, when it is not one.
    """
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in SCHEMES or len(text) > _LONGEST:
        raise _unknown(text, scheme)
    if re.match(r"//[^/\s]*@", rest) and scheme not in ("hf", "file", "oci"):
        hint = "put the token in a Secret and name it in `credentials`"
        raise _wrong(text, "carries a user or password", hint)
    if any(ord(letter) <= 32 or ord(letter) == 127 for letter in text) and scheme != "file":
        raise _wrong(text, "has a space or a control character", "write it without")
    if scheme == "builtin":
        return _builtin(text, rest)
    if scheme == "file":
        return _file(text, rest)
    if not rest.startswith("//"):
        raise _wrong(
            text, f"lacks `//` after `{scheme}:`", f"write `{scheme}://{rest.lstrip('/')}`"
        )
    return _REMOTE[scheme](text, rest[2:])


def _wrong(text: str, problem: str, hint: str) -> InputError:
    shown = re.sub(r"//[^/\s]*@", "//***@", text)  # a password may stand there
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    return InputError(f"source `{shown}` {problem}", hint=hint, code="fleet.source")


def _unknown(text: str, scheme: str) -> InputError:
    if len(text) > _LONGEST:
        return _wrong(text, f"is longer than {_LONGEST} characters", "use a shorter path")
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", text):
        return _wrong(text, "does not say where from", f"for Hugging Face write `hf://{text}`")
    if text.startswith(("/", "./", "../", "~")):
        return _wrong(text, "does not say where from", f"for a local file write `file:{text}`")
    if scheme in ("huggingface", "huggingface.co"):
        return _wrong(text, "is of no kind that is known here", "write `hf://owner/name`")
    kinds = "`hf://owner/name`, `file:path`, `https://`, `s3://`, `gs://`, `pvc://`, `oci://`"
    return _wrong(text, "is of no kind that is known here", f"use {kinds} or `builtin:demo`")


def _builtin(text: str, rest: str) -> Source:
    if not re.fullmatch(_BUILTIN, rest):
        raise _wrong(text, "names no built-in model", "write `builtin:demo`")
    return Source(text=text, scheme="builtin", path=rest)


def _file(text: str, rest: str) -> Source:
    path = rest
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host not in ("", "localhost"):
            raise _wrong(
                text, f"names a host, `{host}`", "write `file:relative/path` or `file:/path`"
            )
        path = slash + path
    if not path or any(ord(letter) < 32 or ord(letter) == 127 for letter in path):
        raise _wrong(text, "names no file", "write `file:models/name.gguf`")
    return Source(text=text, scheme="file", path=path)


def _hugging_face(text: str, rest: str) -> Source:
    owner, _, tail = rest.partition("/")
    named, _, path = tail.partition("/")
    name, at, revision = named.partition("@")
    shape = "write `hf://owner/name`, `hf://owner/name@revision` or `hf://owner/name@revision/file`"
    if not re.fullmatch(_REPOSITORY_PART, owner) or not re.fullmatch(_REPOSITORY_PART, name):
        raise _wrong(text, "is not `owner/name`", shape)
    if at and not re.fullmatch(_REVISION, revision):
        raise _wrong(text, "has an empty or odd revision", shape)
    if ".." in path.split("/"):
        raise _wrong(text, "climbs out of its repository", shape)
    return Source(
        text=text,
        scheme="hf",
        repository=f"{owner}/{name}",
        path=path,
        revision=re.sub("%2[Ff]", "/", revision),
    )


def _web(text: str, rest: str) -> Source:
    scheme: Scheme = "https" if text.startswith("https:") else "http"
    host, slash, path = rest.partition("/")
    if not re.fullmatch(_HOST, host):
        raise _wrong(text, "names no host", f"write `{scheme}://host/path/model.gguf`")
    if not path:
        raise _wrong(text, "names no file", f"write `{scheme}://{host}/path/model.gguf`")
    return Source(text=text, scheme=scheme, host=host, path=slash + path)


def _bucket(text: str, rest: str) -> Source:
    scheme: Scheme = "s3" if text.startswith("s3:") else "gs"
    bucket, _, key = rest.partition("/")
    if not re.fullmatch(_BUCKET, bucket):
        raise _wrong(text, "names no bucket", f"write `{scheme}://bucket/path`")
    if not key:
        raise _wrong(text, "names no object", f"write `{scheme}://{bucket}/path`")
    return Source(text=text, scheme=scheme, bucket=bucket, path=key)


def _volume(text: str, rest: str) -> Source:
    claim, _, path = rest.partition("/")
    if not re.fullmatch(_CLAIM, claim):
        raise _wrong(text, "names no volume claim", "write `pvc://claim/path`")
    if ".." in path.split("/"):
        raise _wrong(text, "climbs out of its volume", "write `pvc://claim/path`")
    return Source(text=text, scheme="pvc", claim=claim, path=path)


def _image(text: str, rest: str) -> Source:
    match = re.fullmatch(_IMAGE, rest)
    if match is None:
        raise _wrong(text, "is not an image", "write `oci://registry/name:tag`")
    revision = match["digest"] or match["tag"] or ""
    return Source(text=text, scheme="oci", repository=match["name"], revision=revision)


_REMOTE = {
    "hf": _hugging_face,
    "https": _web,
    "http": _web,
    "s3": _bucket,
    "gs": _bucket,
    "pvc": _volume,
    "oci": _image,
}
