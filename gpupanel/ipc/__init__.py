"""One protocol for the agent, the service and their clients."""
