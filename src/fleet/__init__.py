"""The orchestrator: provisions, admits, sleeps, wakes, heals and audits a fleet of Engines."""
