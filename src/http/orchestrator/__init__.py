"""The orchestrator over HTTP: a facade of the fleet."""
