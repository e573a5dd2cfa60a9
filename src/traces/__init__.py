"""What was observed, made durable and readable: for the Engine and the orchestrator alike."""
