"""What surrounds a door: the check, the running configuration, readiness, the admin port, signals."""
