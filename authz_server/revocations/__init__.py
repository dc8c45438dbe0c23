"""Revocations: how the list of refused tokens is written, in a file and in Redis, and how it is kept up to date."""
