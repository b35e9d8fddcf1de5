"""Where the cluster is and who we are there: the one module that imports kr8s.

Of kr8s only its authentication is used (kubeconfig with tokens, certificates and exec plugins,
service accounts). Its own transport retries without end on 401 and 403, keeps no timeouts and
hides headers, so requests go over our own session of the HTTP library that it brings.
`kr8s._auth` is private to kr8s: the extra names the versions that it was read in.
"""

from __future__ import annotations

import binascii
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from plimsoll.errors import InputError
from plimsoll.worlds.cluster.errors import Unauthorized, missing_library

try:
    import httpx
    from kr8s._auth import KubeAuth
except ImportError as error:
    raise missing_library(error) from error

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_KEPT_CONNECTIONS = 32
_PORTS = 65536
_PROXIES = ("https", "http", "socks5", "socks5h")
_UNREADABLE = (
    ValueError, KeyError, TypeError, IndexError, AttributeError, OSError, yaml.YAMLError,
    binascii.Error, ssl.SSLError,
)  # fmt: skip


class Login:
    """Server, namespace and credentials; `renew` reads them again, after a 401.

    server     `https://host:port`
    namespace  that of the context, or of the pod that runs us
    """

    def __init__(self, *, auth: KubeAuth | None, server: str, namespace: str) -> None:
        self._auth = auth
        self.server = server
        self.namespace = namespace

    @classmethod
    async def open(
        cls, *, kubeconfig: str | None = None, context: str | None = None, url: str | None = None
    ) -> Login:
        """Find the cluster: `url` without credentials, else a kubeconfig, else the pod's own.

        Raises InputError when no cluster, no such context or no such file is named, and
        Unauthorized when a plugin of the kubeconfig yields no credentials.
        """
        if url is not None:
            return cls(auth=None, server=_address(url), namespace="default")
        if kubeconfig is not None and not _is_file(kubeconfig):
            raise InputError(
                "there is no such kubeconfig",
                where=kubeconfig,
                hint="name the file that `kubectl config view` shows, or set KUBECONFIG",
                code="cluster.kubeconfig",
            )
        # Naming a namespace keeps kr8s from looking it up in the current context, which may be
        # another one than `context` or none.
        auth = KubeAuth(
            kubeconfig=kubeconfig, context=context, namespace="default",
            serviceaccount=str(_SERVICE_ACCOUNT),
        )  # fmt: skip
        await _authenticate(auth, context)
        try:
            return cls(auth=auth, server=_address(auth.server), namespace=_namespace(auth))
        except InputError:
            _remove_copies(auth)
            raise
        except _UNREADABLE as error:
            _remove_copies(auth)
            raise _unusable(error, context) from error

    @property
    def renewable(self) -> bool:
        """Whether credentials can be read again."""
        return self._auth is not None

    async def renew(self) -> None:
        """Read the credentials again: plugins run, rotated tokens are taken."""
        if self._auth is not None:
            await _authenticate(self._auth, self._auth.active_context or None)

    async def session(self, longest: float) -> httpx.AsyncClient:
        """A session with these credentials; every request takes at most `longest` seconds."""
        headers = {"Accept": "application/json"}
        # Watches hold one connection each, one for every namespace: their number has no bound.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=_KEPT_CONNECTIONS)
        if self._auth is None:
            return httpx.AsyncClient(
                base_url=self.server, headers=headers, timeout=longest, limits=limits,
                trust_env=False,
            )  # fmt: skip
        try:
            token = self._auth.token or _token_of_file(self._auth)
            if token:
                headers["Authorization"] = f"Bearer {token.strip()}"
            return httpx.AsyncClient(
                base_url=self.server,
                headers=headers,
                timeout=longest,
                limits=limits,
                verify=await _verification(self._auth),
                proxy=_address(self._auth.proxy, _PROXIES) if self._auth.proxy else None,
                # A pod reaches its own cluster directly. The HTTP library would send that through
                # HTTPS_PROXY, because it does not read the networks that NO_PROXY names.
                trust_env=bool(self._auth.active_context),
            )
        except _UNREADABLE as error:
            raise _unusable(error, None) from error
        except ImportError as error:
            raise InputError(
                f"the proxy of the kubeconfig cannot be used: {_first_line(error)}",
                hint="pip install 'httpx[socks]', or name an HTTP proxy",
                code="cluster.kubeconfig",
            ) from error
        finally:
            _remove_copies(self._auth)

    @property
    def extensions(self) -> dict[str, Any]:
        """What each request carries: the name that the server's certificate is checked for."""
        name = self._auth.tls_server_name if self._auth is not None else None
        return {"sni_hostname": name} if name else {}


def _is_file(path: str) -> bool:
    return Path(path).expanduser().is_file()


def _address(written: Any, schemes: tuple[str, ...] = ("https", "http")) -> str:
    """The address of a server or a proxy. Raises InputError for what is none."""
    try:
        found = httpx.URL(written)
        if found.scheme in schemes and found.host and (found.port is None or found.port < _PORTS):
            return str(written).rstrip("/")
    except (httpx.InvalidURL, TypeError):
        pass  # told below
    raise InputError(
        f"`{written}` is not the address of a server",
        hint=f"it begins with {' or '.join(f'`{one}://`' for one in schemes)} and names a host",
        code="cluster.address",
    )


async def _authenticate(auth: KubeAuth, context: str | None) -> None:
    try:
        await auth.reauthenticate()
    except _UNREADABLE as error:
        _remove_copies(auth)
        raise _unusable(error, context) from error
    except RuntimeError as error:  # kr8s: the exec plugin exited with an error
        _remove_copies(auth)
        raise Unauthorized(
            f"the credential plugin of the kubeconfig failed: {_first_line(error)}",
            hint="run the login command of your cloud, then try again",
        ) from error
    chosen = getattr(auth, "kubeconfig", None)
    if (
        chosen is not None
        and context is None
        and auth.active_context
        and not chosen.current_context
    ):
        # kr8s would take the first context of the file; to act there unasked is dangerous.
        _remove_copies(auth)
        raise InputError(
            "the kubeconfig names no current context",
            hint="choose one: `--context NAME`, or `kubectl config use-context NAME`",
            code="cluster.context",
        )


def _unusable(error: Exception, context: str | None) -> InputError:
    """What a failure of kr8s' reading means."""
    text = str(error)
    if "No such context" in text or "No context with name" in text:
        return InputError(
            f"the kubeconfig has no context `{context}`" if context else text,
            hint="`kubectl config get-contexts` lists them",
            code="cluster.context",
        )
    if "Unable to find valid credentials" in text or "KUBERNETES_SERVICE" in text:
        return InputError(
            "no cluster is named: there is no kubeconfig, and this is not a pod",
            hint="set KUBECONFIG, or name one with `--kubeconfig`",
            code="cluster.none",
        )
    # A broken file surfaces as whatever kr8s stumbled over; only some of it says anything.
    told = isinstance(error, ValueError | OSError | yaml.YAMLError)
    why = _first_line(error) if told else "a cluster, a user or a context is missing in it"
    return InputError(
        f"the kubeconfig cannot be used: {why}",
        hint="`kubectl config view --minify` shows what it says",
        code="cluster.kubeconfig",
    )


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3])[:300]


def _namespace(auth: KubeAuth) -> str:
    """The chosen context's namespace. kr8s gives the current context's, or `default` in a pod."""
    if auth.active_context:
        chosen: Mapping[str, Any] = auth.kubeconfig.get_context(auth.active_context)
        return str(chosen.get("namespace") or "default")
    own = _SERVICE_ACCOUNT / "namespace"
    return own.read_text().strip() if own.is_file() else "default"


def _token_of_file(auth: KubeAuth) -> str:
    """The token of a `tokenFile` user, which kr8s does not read."""
    if not auth.active_context:
        return ""
    context = auth.kubeconfig.get_context(auth.active_context)
    user = auth.kubeconfig.get_user(context["user"]) if context.get("user") else {}
    path = user.get("tokenFile")
    return Path(path).read_text() if path and Path(path).is_file() else ""


async def _verification(auth: KubeAuth) -> ssl.SSLContext | bool:
    """How the server is verified, with our certificate."""
    try:
        found: ssl.SSLContext | bool = await auth.ssl_context()  # type: ignore[no-untyped-call]  # kr8s leaves it bare

    except (ssl.SSLError, OSError) as error:
        raise InputError(
            f"the certificates of the kubeconfig cannot be used: {error}",
            code="cluster.kubeconfig",
        ) from error
    return found


def _remove_copies(auth: KubeAuth) -> None:
    """Delete the files into which kr8s wrote keys and certificates that were given inline."""
    if not auth.active_context:
        return
    # As kr8s read them; also where it then stumbled over something else.
    user: Any = auth._user  # noqa: SLF001 -- kr8s has no other name for it
    cluster: Any = auth._cluster  # noqa: SLF001
    for entry, name, path in (
        (user, "client-key-data", auth.client_key_file),
        (user, "client-certificate-data", auth.client_cert_file),
        (cluster, "certificate-authority-data", auth.server_ca_file),
    ):
        if isinstance(entry, dict) and entry.get(name) and path and _is_copy(path):
            Path(path).unlink(missing_ok=True)


def _is_copy(path: Any) -> bool:
    """Whether a file is in the folder in which kr8s writes copies: no other is ours to delete."""
    return Path(path).parent == Path(tempfile.gettempdir())
