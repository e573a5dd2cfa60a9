"""What a call is asked about: the rules of contract section 8.1, by name."""

from enum import StrEnum


class Concern(StrEnum):
    """The rule that a call falls under; kept with every decision."""

    REMOVES_OUTSIDE = "removes_outside"
    """Removing what is not below an allowed folder."""

    WRITES_OUTSIDE = "writes_outside"
    """Writing a file outside the allowed folders."""

    OVERWRITES = "overwrites"
    """A truncating write onto a file that has content."""

    DESTROYS = "destroys"
    """shred and its like: beyond recovery."""

    OPENS_UP = "opens_up"
    """A recursive chmod, chown or the like."""

    NETWORK = "network"
    """Reaching a host that the network policy does not allow."""

    EVERY_CALL = "every_call"
    """The tool requires permission."""

    HIGH_COST = "high_cost"
    """The catalog marks the tool as high-cost."""

    HOOK = "hook"
    """A hook of the settings wants a person to look."""

    UNCLEAR = "unclear"
    """What it would do cannot be told; so a person looks."""
