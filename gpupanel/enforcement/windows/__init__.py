"""How Windows holds processes: the calls, and nothing that thinks."""
