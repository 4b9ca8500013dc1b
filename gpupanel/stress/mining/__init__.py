"""Mining loads: exact algorithms on synthetic headers; no pool, no wallet, no share."""
