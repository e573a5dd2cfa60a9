"""Reading bash without running it: what a command line would do to files."""
