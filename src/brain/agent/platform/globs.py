"""File name patterns as regular expressions that never run away."""

import re
from typing import Final

_ANY: Final = "[^/]"
_PART: Final = re.compile(r"\*+|\?|\[!?\]?[^\]/]*\]|.", re.DOTALL)


def pattern(glob: str) -> str:
    """The regular expression of a glob: `*`, `?`, `[a-z]`, and `**` for any folders.

    A glob without a slash is meant for a name, one with a slash for a path. Each star is matched
    once and for all (an atomic group, as in fnmatch), so hostile globs take no longer.
    """
    parts = [part for part in glob.removeprefix("./").split("/") if part]
    pieces: list[str] = []
    for place, part in enumerate(parts):
        if part == "**":
            if pieces[-1:] != [_FOLDERS]:
                pieces.append(_FOLDERS)
        else:
            pieces.append(_name(part) + ("/" if place < len(parts) - 1 else ""))
    if pieces[-1:] == [_FOLDERS]:
        pieces.append(f"{_ANY}+")
    return "".join(pieces)


_FOLDERS: Final = "(?:[^/]+/)*"


def is_path(glob: str) -> bool:
    """Whether the glob is meant for a whole path rather than for a name."""
    return "/" in glob.removeprefix("./")


def _name(part: str) -> str:
    fixed = [""]
    for token in _PART.findall(part):
        if token[0] == "*":
            fixed.append("")
        else:
            fixed[-1] += _one(token)
    if len(fixed) == 1:
        return fixed[0]
    first, *middle, last = fixed
    atoms = "".join(f"(?>{_ANY}*?{piece})" for piece in middle if piece)
    return f"{first}{atoms}{_ANY}*{last}"


def _one(part: str) -> str:
    if part == "?":
        return _ANY
    if part[0] == "[" and len(part) > 2:
        inside = part[1:-1].replace("\\", r"\\")
        negated = inside.startswith("!")
        return f"[{'^' if negated else ''}{_class(inside[negated:])}]"
    return re.escape(part)


def _class(inside: str) -> str:
    """The inside of a bracket, without what means more to `re` than to a shell."""
    return re.sub(r"[\[\]^&~|]", r"\\\g<0>", inside).replace("--", r"-\-")
