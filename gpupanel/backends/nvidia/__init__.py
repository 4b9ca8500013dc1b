"""What the NVML backend stands on: the library, its fields, processes and events."""
