"""Secrets never leave, however the text is split; all else leaves unchanged and at once."""

import re
import string
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from september.brain.security.secrets import REDACTED, SecretScrubber, StreamScrubber
from september.brain.security.shapes import SHAPES

OWN = ("correct-horse-battery-staple", "sk-short", "9f86d081884c7d659a2feaa0c55ad015")
SCRUBBER = SecretScrubber(OWN)

ALNUM = string.ascii_letters + string.digits
PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123ABCD\n\n"
    + "\n".join("MIIEpAIBAAKCAQEA" + "x9Zq" * 12 for _ in range(6))
    + "\n-----END RSA PRIVATE KEY-----"
)
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"


def body(size: int, alphabet: str = ALNUM) -> st.SearchStrategy[str]:
    """A random key part that looks random: with a digit and a capital."""
    return st.text(alphabet, min_size=size, max_size=size + 30).map(lambda text: "A7" + text)


secrets = st.one_of(
    body(20, ALNUM + "-_").map("sk-".__add__),
    body(40, ALNUM + "-_").map("sk-ant-api03-".__add__),
    body(30, ALNUM + "-_").map("sk-proj-".__add__),
    body(33, ALNUM + "-_").map("AIza".__add__),
    body(36).map("ghp_".__add__),
    body(60, ALNUM + "_").map("github_pat_".__add__),
    body(24).map("xoxb-1234567890-".__add__),
    st.text(string.ascii_uppercase + string.digits, min_size=16, max_size=16).map("AKIA".__add__),
    body(24, ALNUM + "._-").map("Bearer ".__add__),
    st.sampled_from([JWT, PEM, PEM.replace("\n", "\\n"), *OWN]),
)


def kernel(secret: str) -> str:
    """The part that must not be seen: for a PEM block one line of its body."""
    if secret.startswith("-----"):
        return "MIIEpAIBAAKCAQEA"
    return secret


def stream(pieces: list[str]) -> str:
    scrubber = SCRUBBER.stream()
    return "".join([*map(scrubber.feed, pieces), scrubber.flush()])


def cut(text: str, places: list[int]) -> list[str]:
    ends = [0, *sorted({place % (len(text) + 1) for place in places}), len(text)]
    return [text[a:b] for a, b in pairwise(ends)]


splits = st.lists(st.integers(0, 10_000), max_size=40)
prose = st.text(ALNUM + " \n.,'`-_:/", max_size=60)


@settings(max_examples=400)
@given(st.lists(st.tuples(prose, secrets), min_size=1, max_size=4), prose, splits)
def test_no_split_lets_a_planted_secret_through(
    planted: list[tuple[str, str]], tail: str, places: list[int]
) -> None:
    text = "".join(f"{before} {secret} " for before, secret in planted) + tail
    out = stream(cut(text, places))
    assert not [secret for _, secret in planted if kernel(secret) in out]
    assert out == SCRUBBER.scrub(text)


@given(st.text(), splits)
def test_any_text_is_scrubbed_the_same_however_it_is_split(text: str, places: list[int]) -> None:
    assert stream(cut(text, places)) == SCRUBBER.scrub(text)


FRAGMENTS = [
    *("sk-", "sk", "--", "-----BEGIN ", "PRIVATE KEY-----", "eyJ", ".", "AKIA", "Bearer ", "ghp_"),
    *("correct-", "horse", "-battery-staple", "9f86", "A7x9", "abcdef", " ", "\n", "sk-short"),
    *("MIIEpAIBAAKCAQEA", "-----END", "xoxb-1", "risk-averse", "gh"),
]
_tricky = st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join)


@settings(max_examples=1500)
@given(_tricky, splits)
def test_fragments_of_secrets_are_treated_the_same_however_they_are_split(
    text: str, places: list[int]
) -> None:
    assert stream(cut(text, places)) == SCRUBBER.scrub(text)


_clean = st.lists(
    st.sampled_from(
        "the risk-averse task-force asks AI about sk-learn and scikit A bearer of Bearer tokens"
        " authentication internationalization eyJust git-hub xoxo --- ----- AKIN ghost 'sk' sk-"
        " Key key= password: hello, world! 東京 \U0001f600".split(" ")
    ),
    max_size=60,
).map(" ".join)


@given(_clean, splits)
def test_text_without_secrets_passes_unchanged(text: str, places: list[int]) -> None:
    assert stream(cut(text, places)) == text


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("key sk-ant-api03-AbC1230000000000 end", f"key sk-{REDACTED} end"),
        ("Authorization: Bearer abc123abc123abc123", f"Authorization: Bearer {REDACTED}"),
        ('{"token": "ghp_' + "a1" * 18 + '"}', '{"token": "ghp_' + REDACTED + '"}'),
        (JWT, f"eyJ{REDACTED}"),
        (PEM, f"-----BEGIN {REDACTED}-----END RSA PRIVATE KEY-----"),
        ("mine is sk-short.", f"mine is sk-s{REDACTED}."),
        ("use sk-circle-fade-dot-wrapper in CSS", "use sk-circle-fade-dot-wrapper in CSS"),
        ("a file with `-----BEGIN RSA PRIVATE KEY-----` in it", None),
        ("-----BEGIN CERTIFICATE-----\nMIIEpAIBAAKCAQEAMIIEpAIBAAKCAQEA", None),
        ("base64 eyJhIjogMX0= is not a JWT", None),
    ],
)
def test_examples(text: str, safe: str | None) -> None:
    assert SCRUBBER.scrub(text) == (text if safe is None else safe)


def test_a_json_value_is_scrubbed_to_its_leaves() -> None:
    value: dict[str, object] = {"a": ["x", {"b": f"is {OWN[2]}"}], "n": 1, "t": True, "z": None}
    assert SCRUBBER.scrub_json(value) == {
        "a": ["x", {"b": f"is 9f86{REDACTED}"}],
        "n": 1,
        "t": True,
        "z": None,
    }


def test_prose_is_never_held_back() -> None:
    scrubber = SCRUBBER.stream()
    text = (
        "As an AI, I ask: is a risk-averse task-force 'Being' bearish? --- A eulogy goes on. " * 3
    )
    for piece in re.findall(r"\w+|\W", text):
        assert scrubber.feed(piece) == piece
        assert scrubber.held == 0


def held_after(scrubber: StreamScrubber, pieces: list[str]) -> int:
    most = 0
    for piece in pieces:
        scrubber.feed(piece)
        most = max(most, scrubber.held)
    return most


@pytest.mark.parametrize("mark", ["sk-", "Bearer ", "ghp_", "-----BEGIN PRIVATE KEY-----", "eyJ"])
def test_what_is_held_back_is_bounded(mark: str) -> None:
    assert held_after(SCRUBBER.stream(), [mark, *("a" for _ in range(2000))]) <= 560
    assert held_after(SCRUBBER.stream(), [mark, *("a " for _ in range(2000))]) <= 560


def test_every_mark_fits_into_the_memory_of_a_stream() -> None:
    for mark in (mark for shape in SHAPES for mark in shape.marks):
        whole = SCRUBBER.stream()
        split = SCRUBBER.stream()
        secret = f" {mark}{'A7' * 30}"
        assert whole.feed(secret) == "".join(map(split.feed, secret))


def test_a_key_right_after_letters_of_another_script_is_found() -> None:
    assert SCRUBBER.scrub("鍵はsk-" + "A7" * 12) == f"鍵はsk-{REDACTED}"


def test_known_values_too_short_to_be_secrets_are_left_alone() -> None:
    assert SecretScrubber(["test", ""]).scrub("a test") == "a test"


def test_a_text_that_was_clean_is_redacted_once_its_secret_is_known() -> None:
    scrubber = SecretScrubber()
    assert scrubber.scrub("task-7 brass-lantern") == "task-7 brass-lantern"
    scrubber.learn(["brass-lantern"])
    assert scrubber.scrub("task-7 brass-lantern") == f"task-7 bras{REDACTED}"  # a mark is none
    for number in range(1_500):
        assert scrubber.scrub(f"task-{number}") == f"task-{number}"
