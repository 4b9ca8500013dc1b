"""Parts of the Policy page."""
