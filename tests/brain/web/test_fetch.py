"""Fetching: public addresses only, after the name is resolved and at each redirect."""

import socket
from typing import Any

import pytest
import trio
from trio.abc import HostnameResolver
from trio.testing import MockClock

from september.brain.security.addresses import is_public
from september.brain.web.fetch import Fetcher, FetchLimits, FetchRefused

from .site import Answer, site

LIMITS = FetchLimits(seconds=10.0, size=1000)
LOOPBACK_IS_FINE = Fetcher(allows=lambda address: address.startswith("127."))

NOT_PUBLIC = """
127.0.0.1 127.255.255.254 0.0.0.0 0.1.2.3 10.0.0.1 10.255.0.9 100.64.0.1 100.100.100.200
169.254.169.254 169.254.0.1 172.16.0.1 172.31.255.255 192.168.1.1 192.0.0.192 192.0.2.1
198.18.0.1 198.51.100.7 203.0.113.5 224.0.0.1 239.1.2.3 240.0.0.1 255.255.255.255 168.63.129.16
:: ::1 ::127.0.0.1 ::10.1.2.3 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:7f00:1 ::ffff:0:0
fe80::1 fe80::1%eth0 fec0::1 fc00::1 fd00:ec2::254 ff02::1 2001:db8::1 2002:7f00:1:: 2002:a00:1::
64:ff9b::127.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b:1::10.0.0.1 2001:0:0:0:0:0:80ff:fffe 100::1
localhost 127.1 0x7f.1 2130706433
""".split()
PUBLIC = """
8.8.8.8 1.1.1.1 93.184.216.34 2606:4700:4700::1111 2a00:1450:4001::200e 2002:808:808::
""".split()


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_not_reached(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_reached(address: str) -> None:
    assert is_public(address)


async def refused(url: str, fetcher: Fetcher | None = None) -> FetchRefused:
    """The refusal of a URL."""
    with pytest.raises(FetchRefused) as refusal:
        await (fetcher or Fetcher()).fetch(url, LIMITS)
    return refusal.value


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.0.0.1", "127.1", "[::ffff:127.0.0.1]"],
)
async def test_no_way_of_writing_loopback_gets_through(host: str) -> None:
    async with site({"/": Answer(b"secret")}) as here:
        assert (await refused(here.url(host=host))).code == "blocked_address"
    assert here.asked == []


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://example.org/", "//example.org", "gopher://x", "http://", "http:///x",
     "https://user:pw@example.org/", "javascript:alert(1)", "https://", "\x00"],
)  # fmt: skip
async def test_what_is_no_web_address_is_refused(url: str) -> None:
    assert (await refused(url)).code == "invalid_url"


async def test_a_redirect_is_checked_like_the_first_address() -> None:
    def away(target: str) -> Answer:
        return Answer(status=302, headers={"location": target})

    async with site({"/": away("http://169.254.169.254/latest/meta-data/")}) as here:
        refusal = await refused(here.url(), LOOPBACK_IS_FINE)
    assert refusal.code == "blocked_address" and "169.254.169.254" in str(refusal)
    async with site({"/": away("file:///etc/passwd")}) as here:
        assert (await refused(here.url(), LOOPBACK_IS_FINE)).code == "invalid_url"
    async with site({"/": away("/")}) as here:
        assert (await refused(here.url(), LOOPBACK_IS_FINE)).code == "redirects"
    assert len(here.asked) == 6


class Rebinding(HostnameResolver):
    """A name server whose first answer is harmless and whose others are not."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
        self.asked += 1
        address = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError


async def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    """127.0.0.2 stands for a public address, 127.0.0.1 for the one behind it."""
    harmless = Fetcher(allows=lambda address: address == "127.0.0.2")
    resolver = Rebinding("127.0.0.2", "127.0.0.1")
    trio.socket.set_custom_hostname_resolver(resolver)
    async with site({"/": Answer(b"secret")}) as here:
        refusal = await refused(here.url(host="rebind.example"), harmless)
    assert refusal.code == "unreachable"
    assert here.asked == [] and resolver.asked == 1


async def test_one_private_address_among_several_is_enough_to_refuse() -> None:
    class Both(Rebinding):
        async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80))
                for address in ("93.184.216.34", "10.0.0.1")
            ]

    trio.socket.set_custom_hostname_resolver(Both("-"))
    refusal = await refused("http://two.example/")
    assert refusal.code == "blocked_address" and "10.0.0.1" in str(refusal)


async def test_the_host_that_was_asked_for_is_named_to_the_server() -> None:
    trio.socket.set_custom_hostname_resolver(Rebinding("127.0.0.1"))
    async with site({"/a": Answer(b"hello")}) as here:
        found = await LOOPBACK_IS_FINE.fetch(here.url("/a?b=c#d", host="site.example"), LIMITS)
    assert found.body == b"hello"
    assert here.asked[0].headers["host"] == f"site.example:{here.port}"
    assert here.asked[0].target == "/a?b=c"


async def test_a_redirect_to_a_host_off_the_policy_is_refused() -> None:
    trio.socket.set_custom_hostname_resolver(Rebinding("127.0.0.1"))
    listed = Fetcher(allows=lambda _: True, permits=lambda host: host == "b.example")
    async with site({"/end": Answer(b"here")}) as here:
        pages = {
            host: Answer(status=302, headers={"location": here.url("/end", host=f"{host}.example")})
            for host in ("b", "c")
        }
        async with site({f"/{host}": page for host, page in pages.items()}) as first:
            found = await listed.fetch(first.url("/b", host="a.example"), LIMITS)
            refusal = await refused(first.url("/c", host="a.example"), listed)
    assert found.body == b"here" and refusal.code == "blocked_host"
    assert len(here.asked) == 1


async def test_redirects_are_followed_and_end_somewhere() -> None:
    pages = {
        "/": Answer(status=301, headers={"location": "/next"}),
        "/next": Answer(b"<p>here", headers={"set-cookie": "a=b"}),
    }
    async with site(pages) as here:
        found = await LOOPBACK_IS_FINE.fetch(here.url(), LIMITS)
    assert (found.url, found.status, found.media_type) == (here.url("/next"), 200, "text/html")
    assert found.charset == "utf-8"


async def test_a_body_over_the_limit_is_refused_or_cut() -> None:
    async with site({"/": Answer((b"x" * 600, b"y" * 600))}) as here:
        assert (await refused(here.url(), LOOPBACK_IS_FINE)).code == "too_large"
        found = await LOOPBACK_IS_FINE.fetch(here.url(), LIMITS, cut=True)
    assert len(found.body) == 1000 and found.truncated


async def test_a_page_that_never_ends_is_given_up(autojump_clock: MockClock) -> None:
    async def tomorrow() -> None:
        await trio.sleep(5)

    async with site({"/": Answer((b"x",) * 100, pace=tomorrow)}) as here:
        assert (await refused(here.url(), LOOPBACK_IS_FINE)).code == "timeout"


async def test_nobody_at_home_is_said_so() -> None:
    async with site({}) as here:
        pass
    assert (await refused(here.url(), LOOPBACK_IS_FINE)).code == "unreachable"
