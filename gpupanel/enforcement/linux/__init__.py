"""How Linux holds processes: control groups, systemd's scopes, and signals where there is neither.

``release`` undoes what the others did; it imports the least, so that it can run when all else died.
"""
