"""Hooks: commands that are asked before a tool runs, after it, and when a turn would end."""

from importlib.resources.abc import Traversable
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from . import files

HookEvent: TypeAlias = Literal["pre_tool", "post_tool", "stop"]


class Hook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One hook of `hooks.json`. `tools` are patterns of the tools that a tool hook is for.

    `on_failure` says what a hook that cannot be asked counts as; None is "deny" before a tool,
    "allow" otherwise. `timeout_s` is in seconds.
    """

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    event: HookEvent
    command: Annotated[str, Meta(min_length=1, max_length=10_000)]
    tools: tuple[str, ...] = ("*",)
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 10.0
    on_failure: Literal["allow", "deny"] | None = None

    @property
    def fails_open(self) -> bool:
        """Whether a failure of the hook lets the Engine go on as if it were not there."""
        return (self.on_failure or ("deny" if self.event == "pre_tool" else "allow")) == "allow"


class _HooksFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`hooks.json`."""

    hooks: tuple[Hook, ...]


def load_hooks(root: Traversable) -> tuple[Hook, ...]:
    """The hooks of a catalog, in their order; none where it has no `hooks.json`."""
    file = root / "hooks.json"
    if not file.is_file():
        return ()
    hooks = files.decode(file, _HooksFile).hooks
    names = [hook.name for hook in hooks]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise files.CatalogError(file, f"{name!r} is there twice", f"hooks[{place}].name")
    return hooks
