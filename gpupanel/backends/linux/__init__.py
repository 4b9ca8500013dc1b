"""What the Linux backends stand on: sysfs, hwmon, fdinfo, power states."""
