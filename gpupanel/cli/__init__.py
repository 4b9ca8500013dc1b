"""gpupanelctl: one file per noun."""
