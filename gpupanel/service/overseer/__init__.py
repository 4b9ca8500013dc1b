"""Whoever runs the service and wants to know that it lives: systemd, or Windows."""
