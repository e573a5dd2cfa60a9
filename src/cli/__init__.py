"""The command line: `september <command>`, one file for each command."""

from .app import main as main
