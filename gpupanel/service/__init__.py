"""The daemon that samples, decides and answers: agent in user scope, service in system scope."""
