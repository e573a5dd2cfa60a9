"""One command as the rules see it, and what they may ask of the judge."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeAlias

from msgspec import Struct

from .places import Here, Places
from .syntax import Objection
from .words import Word


class Judge(Protocol):
    """What a rule can have judged further. Everything objects by raising Objection."""

    @property
    def places(self) -> Places: ...

    def run(
        self, words: Sequence[Word], here: Here, *, fed: bool, texts: tuple[str | None, ...] = ()
    ) -> None:
        """These words as a command."""
        ...

    def read(self, source: str, here: Here, *, fed: bool) -> None:
        """This text as a script."""
        ...

    def read_file(self, script: Word, here: Here, *, fed: bool) -> None:
        """The content of this file as a script."""
        ...

    def removes(self, target: Word, here: Here) -> None:
        """A path that would be removed."""
        ...

    def writes(self, target: Word, here: Here, *, truncates: bool) -> None:
        """A path that would be written."""
        ...

    def links(self) -> None:
        """A symbolic link would be made, so paths may soon lead elsewhere."""
        ...


class Call(Struct, frozen=True):
    """A command: `name` without its folder and version, and what stands behind it."""

    name: str
    args: tuple[Word, ...]
    here: Here
    fed: bool
    texts: tuple[str | None, ...]
    judge: Judge

    def known(self) -> tuple[str, ...]:
        """The arguments as texts. Raises Objection if one is only known when it runs."""
        for word in self.args:
            if word.text is None:
                raise Objection(f"{self.name} gets {word.shown}, only known when it runs")
        return tuple(word.text or "" for word in self.args)

    def literals(self) -> Iterator[str]:
        """Those arguments that are known."""
        return (word.text for word in self.args if word.text is not None)

    def operands(self) -> tuple[Word, ...]:
        """The arguments that are no options."""
        found: list[Word] = []
        options = True
        for word in self.args:
            if options and word.text == "--":
                options = False
            elif not (options and word.prefix.startswith("-") and len(word.prefix) > 1):
                found.append(word)
        return tuple(found)

    def has(self, short: str, *long: str) -> bool:
        """Whether an option is set: one of the letters, or a (shortened) long name."""
        return any(
            is_short(text, short) or any(is_long(text, name) for name in long)
            for text in self.literals()
        )

    def run(self, words: Sequence[Word]) -> None:
        """Judge these words as a command in the same place and with the same input."""
        if words:
            self.judge.run(words, self.here, fed=self.fed, texts=self.texts)


Rule: TypeAlias = Callable[[Call], None]


def is_short(text: str, letters: str) -> bool:
    """Whether a cluster of short options holds one of the letters."""
    return len(text) > 1 and text[0] == "-" and text[1] != "-" and any(c in text for c in letters)


def is_long(text: str, name: str) -> bool:
    """Whether this is the long option, perhaps shortened as GNU allows."""
    head = text.split("=", 1)[0]
    return len(head) > 2 and head.startswith("--") and f"--{name}".startswith(head)
