"""A recorded turn of each provider runs again, without the provider, to the same end."""

from pathlib import Path

import pytest

from september.brain.catalog import load_catalog
from september.brain.replay.record import recorded_turn
from september.brain.replay.turn import replay_turn
from september.brain.store.connection import connect
from tests.peers import Call, Cut, Say, Script, script

from .brain import rows
from .stage import each_provider, staged

SCRIPTS: dict[str, Script] = {
    "tools": script(
        [
            Say("Two looks. "),
            Call("bash", {"command": "echo one"}),
            Call("bash", {"command": "ls /nowhere"}),
        ],
        [Say("One is there, the other is not.")],
    ),
    "cut": script([Say("The answer is"), Cut()]),
}


@pytest.mark.parametrize("name", SCRIPTS)
@each_provider
async def test_a_turn_runs_again_to_the_same_end(provider: str, name: str, tmp_path: Path) -> None:
    async with staged(provider, SCRIPTS[name], tmp_path) as stage:
        await stage.client.turn("go")
        brain = stage.brain
    ((turn_id,),) = rows(brain, "SELECT turn_id FROM turns")
    connection = connect(brain, read_only=True)
    turn = recorded_turn(connection, str(turn_id))
    connection.close()
    told = await replay_turn(turn, load_catalog(None))
    assert told.difference is None, told
    assert told.recorded[-1] == ("ends completed" if name == "tools" else "ends errored")
