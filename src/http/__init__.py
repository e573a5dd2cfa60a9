"""The facade: actor refs in, Quart-Trio apps out."""
