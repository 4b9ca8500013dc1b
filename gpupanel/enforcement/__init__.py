"""Making a decision true, and undoing it."""
