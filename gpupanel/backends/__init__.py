"""How we reach GPUs: one file per driver stack."""
