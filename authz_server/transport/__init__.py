"""Doors: how checks arrive and answers leave. A door knows bytes, never what is in them."""
