"""Making a decision about a miner true, and undoing it whatever happens."""
