"""The whole way on one machine: a local user pool, a real Envoy, a small upstream, and this server."""
