"""The only room that knows protobuf: ext_authz messages to requests, decisions to messages."""
