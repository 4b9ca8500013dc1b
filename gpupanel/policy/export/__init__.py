"""What is made from POLICY_KEYS for other programs and people; written by packaging/generate.py."""
