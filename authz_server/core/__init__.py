"""The decision: pure functions and frozen values, without I/O, clock, logging or protobuf."""
