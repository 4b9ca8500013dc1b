"""Who mines, and what is done about it: detection, policy and enforcement as one part."""
