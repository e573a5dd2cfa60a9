"""Fetching from the web on a model's behalf: public addresses only, within limits.

The name is resolved here, every address it has is checked, and the connection goes to a checked
address: between the check and the use no second answer of the name server counts (DNS rebinding).
Redirects are followed by hand, and each is checked like the first.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx2
import trio
from msgspec import Struct

from ..herald.unwind import unwind
from ..security.addresses import is_public

REDIRECTS: Final = 5
_PORTS: Final = {"http": 80, "https": 443}
_AGENT: Final = "september-engine (+web_fetch)"


class FetchRefused(Exception):
    """A page that is not fetched, or not to be had. `code` is short; the text says what to do."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Fetched(Struct, frozen=True):
    """What a URL led to. `url` is where the redirects ended; `media_type` is without parameters.

    `truncated` says that only the first `limit` bytes of the body were read.
    """

    url: str
    status: int
    media_type: str
    charset: str | None
    body: bytes
    truncated: bool = False


class FetchLimits(Struct, frozen=True):
    """`seconds` bounds the whole fetch, redirects included; `size` the body, in bytes."""

    seconds: float = 20.0
    size: int = 5 * 2**20


class Fetcher:
    """Fetches URLs. `allows` says which addresses may be reached; only tests pass their own.

    `permits` says which hosts a redirect may lead to (a network policy); None is all of them. The
    host that is asked for first is the caller's to decide on.
    """

    def __init__(
        self,
        allows: Callable[[str], bool] = is_public,
        permits: Callable[[str], bool] | None = None,
    ) -> None:
        self._allows = allows
        self._permits = permits

    async def fetch(self, url: str, limits: FetchLimits, *, cut: bool = False) -> Fetched:
        """GET `url`. A body over the limit is refused, or with `cut` truncated.

        Raises FetchRefused for every reason there is; nothing else but cancellation.
        """
        with trio.move_on_after(limits.seconds):
            async with self._client(limits) as client:
                return await self._follow(client, url, limits, cut)
        raise FetchRefused("timeout", f"{url} did not arrive within {limits.seconds:g} s")

    def _client(self, limits: FetchLimits) -> httpx2.AsyncClient:
        """A client that takes no proxy, no netrc and no cookies from its surroundings."""
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        return httpx2.AsyncClient(
            timeout=httpx2.Timeout(limits.seconds),
            headers={"User-Agent": _AGENT, "Accept-Language": "en, *;q=0.5"},
            cookies=no_cookies,
            trust_env=False,
        )

    async def _follow(
        self, client: httpx2.AsyncClient, url: str, limits: FetchLimits, cut: bool
    ) -> Fetched:
        target = parsed(url)
        for _ in range(REDIRECTS + 1):
            async with self._opened(client, target) as response:
                location = response.headers.get("location")
                if not response.is_redirect or location is None:
                    return await _received(response, target, limits.size, cut)
            target = self._redirected(target, location)
        raise FetchRefused("redirects", f"{url} is behind more than {REDIRECTS} redirects")

    def _redirected(self, target: httpx2.URL, location: str) -> httpx2.URL:
        following = parsed(str(target.join(location)))
        host = ascii_host(following)
        if host != ascii_host(target) and self._permits is not None and not self._permits(host):
            raise FetchRefused(
                "blocked_host",
                f"{target} leads to {following}, a host that the network policy does not list;"
                " ask for that address itself, and the person is asked",
            )
        return following

    @asynccontextmanager
    async def _opened(
        self, client: httpx2.AsyncClient, target: httpx2.URL
    ) -> AsyncGenerator[httpx2.Response]:
        """The answer of a checked address, asked under the name of its host."""
        address = await self._address_of(target)
        request = client.build_request(
            "GET",
            target.copy_with(host=address, fragment=None),
            headers={"Host": target.netloc.decode("ascii")},
            extensions={"sni_hostname": ascii_host(target)},
        )
        try:
            response = await client.send(request, stream=True, follow_redirects=False)
            try:
                yield response
            finally:
                await response.aclose()
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            raise FetchRefused("unreachable", f"{target}: {_cause(error)}") from error

    async def _address_of(self, target: httpx2.URL) -> str:
        """The address to connect to: the first, once all that the name has are allowed."""
        port = target.port or _PORTS[target.scheme]
        try:
            found = await trio.socket.getaddrinfo(
                ascii_host(target), port, type=trio.socket.SOCK_STREAM
            )
        except (OSError, UnicodeError) as error:
            raise FetchRefused("unreachable", f"{target.host} has no address: {error}") from error
        addresses = [str(entry[4][0]) for entry in found]
        for address in addresses:
            if not self._allows(address):
                raise FetchRefused(
                    "blocked_address",
                    f"{target.host} leads to {address}, which is not a public address; only what"
                    " is on the public internet can be fetched",
                )
        return addresses[0]


def parsed(url: str) -> httpx2.URL:
    """Read a URL of the web. Raises FetchRefused for anything else."""
    try:
        target = httpx2.URL(url)
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise FetchRefused("invalid_url", f"{url[:200]!r} is not a URL: {error}") from error
    if target.scheme not in _PORTS or not target.host:
        raise FetchRefused(
            "invalid_url", f"{url[:200]!r} is not a web address; use https:// or http://"
        )
    if target.userinfo:
        raise FetchRefused("invalid_url", "a URL with a user name or password is not fetched")
    return target


def ascii_host(url: httpx2.URL) -> str:
    """The host as name servers and policies know it: no letter of it can look like another."""
    return url.raw_host.decode("ascii")


async def _received(
    response: httpx2.Response, target: httpx2.URL, limit: int, cut: bool
) -> Fetched:
    """The body, within the limit; what is compressed is counted as it unpacks."""
    parts: list[bytes] = []
    size = 0
    chunks = aiter(response.aiter_bytes())
    while size <= limit and (chunk := await anext(chunks, None)) is not None:
        parts.append(chunk)
        size += len(chunk)
    if size > limit:
        await unwind(chunks)
        if not cut:
            raise FetchRefused("too_large", f"{target} is larger than {limit} bytes")
    media_type, _, _ = response.headers.get("content-type", "").partition(";")
    return Fetched(
        str(target),
        response.status_code,
        media_type.strip().lower(),
        response.charset_encoding,
        b"".join(parts)[:limit],
        truncated=size > limit,
    )


def _cause(error: Exception) -> str:
    match error:
        case httpx2.TimeoutException():
            return "no answer in time"
        case httpx2.ConnectError():
            return f"no connection ({error})"
        case _:
            return f"{type(error).__name__}: {error}"
