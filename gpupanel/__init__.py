"""gpupanel: a desktop GPU control panel with a policy that caps mining efficiency."""

__version__ = "0.1.0"
