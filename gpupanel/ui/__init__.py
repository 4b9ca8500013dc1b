"""The desktop face, the only place with Qt."""
