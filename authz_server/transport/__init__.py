"""Doors: how checks arrive and answers leave. A door knows bytes, never what is in them.

Both keep what `door` promises, let in whom `guard` and `tls` do, and listen through `sockets`.

asyncio: `event_loop` owns sockets and time and hands octets to a `connection` for each peer, which knows no I/O: RFC 9113 beyond what zttp
does, and all bounds, are there; the rules of gRPC are in `grpc`, the state of a `call` and of a `goodbye` in modules of their names, the
health service in `health`. `pulse` tells when the loop is behind, `tls_server` shakes hands.

grpcio: `grpcio` sets up the library's server; `grpcio_arrival` takes calls from threads whose message does not come, where `grpcio_releases` knows
the library's release, `grpcio_held` ends calls that are held open, `grpcio_queue` bounds what waits for a thread, `grpcio_guard` looks at each
client's certificate.
"""
