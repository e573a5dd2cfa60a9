"""The source tree keeps its rules, and the checker would notice if it did not."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from .architecture import rules
from .architecture.rules import RULES, Rule
from .architecture.source import Tree, read_tree, tree_of

SRC = Path(__file__).resolve().parents[1] / "src"


@pytest.fixture(scope="module")
def tree() -> Tree:
    return read_tree(SRC)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps_the_rule(rule: Rule, tree: Tree) -> None:
    violations = list(rule(tree))
    if violations:
        pytest.fail("\n".join([rule.__doc__ or "", *violations]), pytrace=False)


def test_the_reader_sees_the_whole_tree(tree: Tree) -> None:
    assert {"errors", "actors.actor", "brain.tree", "http", "cli.app"} <= tree.keys()
    assert len(tree["brain.tree"].imports) > 20


DOC = '"""Says what it is for."""\n'
LONG_FUNCTION = DOC + "def f():\n    " + DOC + "    x = 1\n" * 60
LONGISH_FUNCTIONS = DOC + "def f():\n    " + DOC + "    x = 1\n" * 25
UNFINISHED = "TO" + "DO"

PLANTED: list[tuple[Rule, Mapping[str, str]]] = [
    (rules.layers, {"errors.py": "from .config import x\n", "config.py": ""}),
    (rules.layers, {"actors/a.py": "from ..brain import b\n", "brain/b.py": ""}),
    (rules.layers, {"brain/b.py": "from ..http.app import x\n", "http/app.py": ""}),
    (rules.layers, {"brain/b.py": "from ..fleet import f\n", "fleet/f.py": ""}),
    (rules.layers, {"fleet/f.py": "from .. import brain\n", "brain/__init__.py": ""}),
    (rules.layers, {"http/app.py": "from ..cli.chat import x\n", "cli/chat.py": ""}),
    (rules.layers, {"misc/x.py": ""}),
    (
        rules.brain_layers,
        {"brain/store/s.py": "from ..agent.turn import T\n", "brain/agent/turn.py": ""},
    ),
    (
        rules.brain_layers,
        {"brain/herald/h.py": "from ..coordinator.c import C\n", "brain/coordinator/c.py": ""},
    ),
    (rules.brain_layers, {"brain/agent/turn.py": "from ..tree import E\n", "brain/tree.py": ""}),
    (rules.brain_layers, {"brain/misc.py": ""}),
    (rules.module_cycles, {"a.py": "from .b import x\n", "b.py": "from . import a\n"}),
    (
        rules.concept_cycles,
        {
            "brain/memory/a.py": "from ..herald.x import X\n",
            "brain/memory/b.py": "",
            "brain/herald/x.py": "",
            "brain/herald/y.py": "from ..memory.b import B\n",
        },
    ),
    (rules.relative_imports, {"a.py": "from september.errors import x\n"}),
    (rules.relative_imports, {"a.py": "import src.errors\n"}),
    (rules.imports_in_functions, {"a.py": "def f():\n    import json\n"}),
    (rules.imports_in_functions, {"a.py": "class C:\n    def m(self):\n        from . import b\n"}),
    (
        rules.imports_in_functions,
        {"brain/herald/openai.py": "def f():\n    import anthropic\n"},
    ),
    (
        rules.imports_in_functions,
        {"http/app.py": "def f():\n    from .gate import Gate\n", "http/gate.py": ""},
    ),
    (rules.type_checking_imports, {"a.py": "from typing import TYPE_CHECKING\n"}),
    (rules.names, {"brain/store/helpers.py": ""}),
    (rules.names, {"utils/__init__.py": ""}),
    (rules.file_length, {"a.py": "x = 1\n" * 401}),
    (rules.function_length, {"a.py": LONG_FUNCTION}),
    (rules.short_functions, {"a.py": LONGISH_FUNCTIONS}),
    (rules.docstrings, {"a.py": "x = 1\n"}),
    (rules.docstrings, {"a.py": DOC + "def f(): ...\n"}),
    (rules.docstrings, {"a.py": DOC + "class C: ...\n"}),
    (rules.markers, {"a.py": f"x = 1  # {UNFINISHED}: later\n"}),
    (rules.prints, {"brain/b.py": "print('x')\n"}),
    (rules.any_types, {"brain/b.py": "from typing import Any\n"}),
    (rules.asyncio, {"a.py": "import asyncio\n"}),
    (rules.asyncio, {"a.py": "from asyncio import Lock\n"}),
    (rules.structs, {"brain/b.py": "@dataclass(frozen=True)\nclass C:\n    x: int = field()\n"}),
]


@pytest.mark.parametrize(
    ("rule", "sources"), PLANTED, ids=[f"{rule.__name__}{n}" for n, (rule, _) in enumerate(PLANTED)]
)
def test_a_planted_violation_is_found(rule: Rule, sources: Mapping[str, str]) -> None:
    assert list(rule(tree_of(sources)))


def test_each_rule_has_a_planted_violation() -> None:
    assert {rule for rule, _ in PLANTED} == set(RULES)


CLEAN = {
    "__init__.py": DOC,
    "errors.py": DOC + "class E(Exception):\n    " + DOC,
    "actors/__init__.py": DOC + "from .actor import Actor as Actor\n",
    "actors/actor.py": DOC + "from ..errors import E\nclass Actor:\n    " + DOC,
    "brain/__init__.py": "",
    "brain/tree.py": DOC + "from ..actors import Actor\nfrom .agent import turn\n",
    "brain/agent/__init__.py": "",
    "brain/agent/turn.py": DOC + "from ..herald.openai import Model\n",
    "brain/herald/__init__.py": "",
    "brain/herald/openai.py": DOC
    + "from typing import Any\ndef _f():\n    import openai\nclass Model:\n    "
    + DOC,
    "cli/chat.py": DOC + "from ..brain.tree import E\nprint(E)\n",
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_clean_tree_has_no_violation(rule: Rule) -> None:
    assert not list(rule(tree_of(CLEAN)))
