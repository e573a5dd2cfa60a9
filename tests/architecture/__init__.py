"""The rules of the source tree, and the reader they work on."""
