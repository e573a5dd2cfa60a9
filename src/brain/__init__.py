"""Everything one Engine is: one user, one process, one brain file."""
