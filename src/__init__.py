"""The per-user agent Engine and the fleet that runs it, as one tree of supervised trio actors."""
