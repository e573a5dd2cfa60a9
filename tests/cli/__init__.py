"""The command line, as a person or a program at a terminal meets it."""
