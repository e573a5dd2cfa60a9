"""Whole Engines, as their users have them: real processes, sockets and brain files."""
