"""The tools that come with the Engine, a file for each group."""
