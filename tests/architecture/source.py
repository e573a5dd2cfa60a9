"""The source tree as the rules see it: modules, their imports, their functions."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

BRAIN = "brain"


@dataclass(frozen=True)
class Import:
    """One imported name. `target` is dotted from the root of the tree if `own`, else absolute."""

    target: str
    line: int
    own: bool
    function: str | None
    """The function it stands in, if any."""


@dataclass(frozen=True)
class Module:
    """One file. `path` is relative to the root of the tree."""

    path: Path
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text)

    @property
    def name(self) -> str:
        """The dotted name; a package has its folder's."""
        parts = self.path.with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def package(self) -> tuple[str, ...]:
        """What a relative import with one dot starts from."""
        return self.path.parent.parts

    def at(self, line: int) -> str:
        """A place in this file, as an editor understands it."""
        return f"src/{self.path}:{line}"

    @cached_property
    def functions(self) -> Sequence[Function]:
        """All functions and methods, nested ones too."""
        return [node for node in ast.walk(self.tree) if isinstance(node, Function)]

    @cached_property
    def imports(self) -> Sequence[Import]:
        """All imports, wherever they stand."""
        return list(self._imports_below(self.tree, None))

    def _imports_below(self, node: ast.AST, function: str | None) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            match child:
                case ast.Import(names=names):
                    for name in names:
                        yield Import(name.name, child.lineno, False, function)
                case ast.ImportFrom():
                    yield from self._imported_from(child, function)
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    yield from self._imports_below(child, child.name)
                case _:
                    yield from self._imports_below(child, function)

    def _imported_from(self, node: ast.ImportFrom, function: str | None) -> Iterator[Import]:
        start = self.package[: len(self.package) - node.level + 1] if node.level else ()
        base = [*start, *((node.module or "").split(".") if node.module else [])]
        for name in node.names:
            yield Import(".".join([*base, name.name]), node.lineno, bool(node.level), function)


Tree: TypeAlias = Mapping[str, Module]
"""Modules by name."""


def read_tree(folder: Path) -> Tree:
    """All modules below `folder`."""
    files = sorted(folder.rglob("*.py"))
    return tree_of({str(file.relative_to(folder)): file.read_text() for file in files})


def tree_of(sources: Mapping[str, str]) -> Tree:
    """A tree from texts, by path."""
    modules = [Module(Path(path), text) for path, text in sources.items()]
    return {module.name: module for module in modules}


def dependencies(tree: Tree, module: Module) -> Iterator[tuple[str, Import]]:
    """The modules of the tree that `module` imports."""
    for item in module.imports:
        if item.own:
            yield resolved(tree, item.target), item


def resolved(tree: Tree, target: str) -> str:
    """The module that `target` is, or that it is a name of."""
    while target and target not in tree:
        target = target.rpartition(".")[0]
    return target


def layer_of(name: str) -> str:
    """The top-level package or module."""
    return name.partition(".")[0]


def concept_of(name: str) -> str | None:
    """The part of the brain, `agent` in `brain.agent.turn`; None outside it."""
    parts = name.split(".")
    return parts[1] if parts[0] == BRAIN and len(parts) > 1 else None
