"""The rules. Each yields its violations as `place: what is wrong`."""

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Final, TypeAlias

from .source import (
    Function,
    Tree,
    concept_of,
    dependencies,
    layer_of,
    resolved,
)

Rule: TypeAlias = Callable[[Tree], Iterator[str]]

LAYERS: Final[Sequence[frozenset[str]]] = (
    frozenset({"errors"}),
    frozenset({"config", "logs"}),
    frozenset({"actors"}),
    frozenset({"traces"}),
    frozenset({"brain", "fleet"}),
    frozenset({"http"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)
"""Lowest first. A layer imports only from those below it: brain and fleet never each other."""

BRAIN_LAYERS: Final[Sequence[frozenset[str]]] = (
    frozenset({"channels", "security", "store", "clock", "catalog"}),
    frozenset(
        {
            *{
                "herald",
                "assets",
                "sandbox",
                "memory",
                "learning",
                "hitl",
                "raven",
                "retention",
                "skills",
            },
            *{"web", "files", "media", "retention"},
        }
    ),
    frozenset({"agent"}),
    frozenset({"coordinator", "conversations", "metrics"}),
    frozenset({"tree"}),
    frozenset({"replay"}),
)
"""Inside the brain, lowest first. Neighbours may import each other, but not in a circle."""

LAZY: Final[Mapping[str, frozenset[str]]] = {
    "brain.assets.dial": frozenset({"mcp"}),
    "brain.assets.pipes": frozenset({"anyio", "mcp", "mcp_types", "trio_websocket"}),
    "brain.assets.requests": frozenset({"mcp_types"}),
    "brain.assets.session": frozenset({"mcp", "mcp_types"}),
    "brain.assets.vault": frozenset({"cryptography"}),
    "brain.herald.anthropic": frozenset({"anthropic"}),
    "brain.herald.openai": frozenset({"openai"}),
    "brain.media.images": frozenset({"PIL"}),
    "brain.media.pdf_reader": frozenset({"pypdf"}),
    "brain.herald.gemini": frozenset({"google"}),
    "brain.herald.embedder_local": frozenset({"numpy", "safetensors", "tokenizers"}),
    "fleet.backends.docker_sdk": frozenset({"docker", "requests"}),
    "http.app": frozenset({"http.routed"}),
    "brain.memory.codes": frozenset({"numpy"}),
    "brain.web.page": frozenset({"trafilatura"}),
    "brain.memory.episode_ranking": frozenset({"numpy"}),
    "brain.memory.episode_words": frozenset({"numpy"}),
    "brain.memory.rotation": frozenset({"numpy"}),
    "brain.memory.vectors": frozenset({"numpy"}),
    "traces.otlp": frozenset({"opentelemetry"}),
    "traces.otlp_spans": frozenset({"opentelemetry"}),
}
"""What may be imported inside a function: provider SDKs and heavy libraries, where used.

A module of our own stands for the library that it is there to use (http.routed: Quart).
"""

ANY: Final[Mapping[str, str]] = {
    "actors.child": "specs of children with different messages stand in one list",
    "actors.incarnation": "specs of children with different messages stand in one list",
    "actors.task": "specs of children with different messages stand in one list",
    "actors.tree": "specs of children with different messages stand in one list",
    "brain.assets.connection": "the SDK's streams, and work of whatever answer",
    "brain.assets.content": "the SDK's own types",
    "brain.assets.dial": "the SDK's own types",
    "brain.assets.line": "the SDK's streams",
    "brain.assets.pipes": "the SDK's own types",
    "brain.assets.requests": "the SDK's own types",
    "brain.assets.session": "the SDK's own types",
    "brain.assets.tree": "the SDK's streams",
    "brain.assets.vault": "cryptography is loaded late",
    "brain.herald.anthropic": "the SDK's own types",
    "http.memory_methods": "methods with different inputs stand in one table",
    "http.routes.rpc": "methods with different inputs stand in one table",
    "brain.herald.anthropic_wire": "the SDK's own types",
    "brain.herald.embedder_local": "numpy is loaded late",
    "brain.herald.gemini": "the SDK's own types",
    "brain.herald.gemini_wire": "the SDK's own types",
    "brain.herald.openai": "the SDK's own types",
    "brain.herald.openai_wire": "the SDK's own types",
    "brain.herald.sdk_provider": "the SDK's own types",
    "brain.herald.stream": "the SDK's own types",
    "brain.media.images": "Pillow is loaded late",
    "brain.media.pdf_reader": "pypdf is loaded late",
    "brain.memory.rotation": "numpy is loaded late",
    "brain.store.connection": "the schema knows the types of columns, the checker cannot",
    "brain.store.store": "each call has its own type of answer",
    "config.setting": "each value has the type of its own field",
    "fleet.backends.docker": "the SDK's own types",
    "fleet.backends.docker_sdk": "the SDK's own types",
    "fleet.backends.volumes": "the SDK's own types",
    "fleet.registry": "the schema knows the types of columns, the checker cannot",
    "http.endpoint": "each endpoint has its own body",
    "http.orchestrator.endpoint": "each endpoint has its own body",
    "http.orchestrator.routes.docs": "a JSON Schema",
    "http.openapi": "a JSON Schema",
    "http.wire": "what comes off the wire",
    "logs": "structlog's own types",
    "traces.otlp_metrics": "the SDK's own types",
    "actors.alone": "actors of whatever messages",
    "traces.rebuild": "values of whatever types",
    "traces.render": "the ways to show values of different types stand in one table",
    "traces.replay": "actors of whatever messages",
    "traces.otlp_spans": "the SDK's own types",
}
"""Modules that may say `Any`, and why."""

ALONE: Final = frozenset({"brain.agent.platform.searcher"})
"""Modules that also run as a script of their own, with the standard library alone."""

NAMES: Final = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "base"})

FILE_LINES: Final = 400
FUNCTION_LINES: Final = 60
SHORT_LINES: Final = 25
SHORT_SHARE: Final = 0.9

_MARKER: Final = re.compile(r"\b(?:TODO|FIXME|XXX)\b")


def layers(tree: Tree) -> Iterator[str]:
    """http/cli -> (brain, fleet) -> actors -> (config, errors)."""
    heights = _heights(LAYERS)
    for module in tree.values():
        layer = layer_of(module.name)
        if layer and layer not in heights:
            yield f"{module.at(1)}: {layer} has no place in LAYERS"
            continue
        for target, item in dependencies(tree, module):
            other = layer_of(target)
            if layer and other != layer and heights.get(other, 0) >= heights[layer]:
                yield f"{module.at(item.line)}: {layer} must not import {other}"


def brain_layers(tree: Tree) -> Iterator[str]:
    """tree -> coordinator -> agent -> (herald, …) -> (channels, security, store, …)."""
    heights = _heights(BRAIN_LAYERS)
    for module in tree.values():
        concept = concept_of(module.name)
        if concept is None:
            continue
        if concept not in heights:
            yield f"{module.at(1)}: {concept} has no place in BRAIN_LAYERS"
            continue
        for target, item in dependencies(tree, module):
            other = concept_of(target)
            if other is not None and heights.get(other, 0) > heights[concept]:
                yield f"{module.at(item.line)}: {concept} must not import {other}"


def module_cycles(tree: Tree) -> Iterator[str]:
    """No module imports itself, over however many others."""
    edges = {
        module.name: {target for target, _ in dependencies(tree, module)} - {module.name}
        for module in tree.values()
    }
    yield from _cycle(edges)


def concept_cycles(tree: Tree) -> Iterator[str]:
    """No part of the brain needs another that needs it."""
    edges: dict[str, set[str]] = {}
    for module in tree.values():
        concept = concept_of(module.name)
        if concept is not None:
            targets = {concept_of(target) for target, _ in dependencies(tree, module)}
            own = edges.setdefault(concept, set())
            own.update(target for target in targets if target not in (None, concept))
    yield from _cycle(edges)


def relative_imports(tree: Tree) -> Iterator[str]:
    """The tree does not know under which name it is installed."""
    for module in tree.values():
        for item in module.imports:
            if not item.own and layer_of(item.target) in ("september", "src"):
                yield f"{module.at(item.line)}: import {item.target} relatively"


def imports_in_functions(tree: Tree) -> Iterator[str]:
    """Only what LAZY names is imported inside a function."""
    for module in tree.values():
        allowed = LAZY.get(module.name, frozenset())
        for item in module.imports:
            target = resolved(tree, item.target) if item.own else layer_of(item.target)
            if item.function and target not in allowed:
                yield f"{module.at(item.line)}: {item.function} imports {item.target}"


def type_checking_imports(tree: Tree) -> Iterator[str]:
    """A cycle is not hidden from the interpreter: it means a missing leaf."""
    for module in tree.values():
        for item in module.imports:
            if item.target == "typing.TYPE_CHECKING":
                yield f"{module.at(item.line)}: TYPE_CHECKING hides an import"


def names(tree: Tree) -> Iterator[str]:
    """A module is called after what it is."""
    for module in tree.values():
        if module.name.rpartition(".")[2] in NAMES:
            yield f"{module.at(1)}: this name says nothing"


def file_length(tree: Tree) -> Iterator[str]:
    """One concept fits into 400 lines."""
    for module in tree.values():
        lines = len(module.text.splitlines())
        if lines > FILE_LINES:
            yield f"{module.at(1)}: {lines} lines, at most {FILE_LINES}"


def function_length(tree: Tree) -> Iterator[str]:
    """No function is above 60 lines."""
    for module in tree.values():
        for function in module.functions:
            if _length(function) > FUNCTION_LINES:
                place = module.at(function.lineno)
                yield f"{place}: {function.name} has {_length(function)} lines"


def short_functions(tree: Tree) -> Iterator[str]:
    """Nine functions in ten are at most 25 lines long."""
    lengths = [_length(function) for module in tree.values() for function in module.functions]
    short = sum(length <= SHORT_LINES for length in lengths)
    if lengths and short / len(lengths) < SHORT_SHARE:
        yield f"src: only {short} of {len(lengths)} functions are at most {SHORT_LINES} lines"


def docstrings(tree: Tree) -> Iterator[str]:
    """Every module, public class and public function says what it is for."""
    for module in tree.values():
        if module.text.strip() and not ast.get_docstring(module.tree):
            yield f"{module.at(1)}: the module says nothing"
        for node in module.tree.body:
            if (
                isinstance(node, Function | ast.ClassDef)
                and not node.name.startswith("_")
                and not _is_overload(node)
                and not ast.get_docstring(node)
            ):
                yield f"{module.at(node.lineno)}: {node.name} says nothing"


def markers(tree: Tree) -> Iterator[str]:
    """What is not done is not in the tree."""
    for module in tree.values():
        for number, line in enumerate(module.text.splitlines(), start=1):
            if _MARKER.search(line):
                yield f"{module.at(number)}: {line.strip()}"


def prints(tree: Tree) -> Iterator[str]:
    """Only the command line prints."""
    for module in tree.values():
        for node in ast.walk(module.tree):
            match node:
                case ast.Call(func=ast.Name(id="print")) if layer_of(module.name) != "cli":
                    yield f"{module.at(node.lineno)}: print"
                case _:
                    pass


def any_types(tree: Tree) -> Iterator[str]:
    """`Any` stands only where ANY says why."""
    for module in tree.values():
        if module.name not in ANY:
            for item in module.imports:
                if item.target in ("typing.Any", "typing_extensions.Any"):
                    yield f"{module.at(item.line)}: Any"


def asyncio(tree: Tree) -> Iterator[str]:
    """The tree runs on trio."""
    for module in tree.values():
        for item in module.imports:
            if layer_of(item.target) == "asyncio" and not item.own:
                yield f"{module.at(item.line)}: asyncio"


def structs(tree: Tree) -> Iterator[str]:
    """Data of an Engine are structs; a dataclass does what a struct cannot (decision 24)."""
    for module in tree.values():
        if layer_of(module.name) not in ("brain", "http") or module.name in ALONE:
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef) and _is_plain_dataclass(node):
                yield f"{module.at(node.lineno)}: {node.name} can be a msgspec.Struct"


RULES: Final[Sequence[Rule]] = (
    layers,
    brain_layers,
    module_cycles,
    concept_cycles,
    relative_imports,
    imports_in_functions,
    type_checking_imports,
    names,
    file_length,
    function_length,
    short_functions,
    docstrings,
    markers,
    prints,
    any_types,
    asyncio,
    structs,
)


def _heights(order: Sequence[frozenset[str]]) -> dict[str, int]:
    return {name: height for height, names in enumerate(order) for name in names}


def _cycle(edges: Mapping[str, set[str]]) -> Iterator[str]:
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        yield "cycle: " + " <- ".join(error.args[1])


def _length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _is_overload(node: Function | ast.ClassDef) -> bool:
    return any(ast.unparse(decorator) == "overload" for decorator in node.decorator_list)


_OF_DATACLASSES: Final = frozenset({"repr", "init", "compare", "hash", "metadata"})
"""What `field` of a dataclass takes and that of a struct does not."""


def _is_plain_dataclass(node: ast.ClassDef) -> bool:
    if not any(ast.unparse(one).startswith("dataclass") for one in node.decorator_list):
        return False
    inside = list(ast.walk(node))
    given = {one.arg for one in inside if isinstance(one, ast.keyword)}
    made = any(isinstance(one, ast.FunctionDef) and one.name == "__post_init__" for one in inside)
    return not made and not given & _OF_DATACLASSES
