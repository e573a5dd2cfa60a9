"""Killing a process that tells what it was answered."""

import subprocess
import sys
from pathlib import Path


def killed_after(program: str, answers: int, brain: Path, life: int) -> list[str]:
    """Run writers of `brain`, kill them after so many lines, return every whole line they said."""
    command = [sys.executable, "-c", program, str(brain), str(life)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(answers)]
        process.kill()
        told += process.stdout.readlines()
    return [line.strip() for line in told if line.endswith("\n")]
