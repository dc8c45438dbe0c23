"""Message classes of ext_authz v3 and gRPC health, built from the descriptor set that `make proto` compiles.

They live in a descriptor pool of their own: the default pool allows one definition per name, and an application that
embeds this package may well have loaded Envoy's own protos there.
"""

from collections.abc import Iterable, Iterator
from importlib.resources import files
from typing import Any, Final

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

SERVICE: Final = "envoy.service.auth.v3.Authorization"
HEALTH_SERVICE: Final = "grpc.health.v1.Health"


def load() -> DescriptorPool:
    """Build a new pool of the descriptor set.

    Returns:
        A pool that the caller may add to, as reflection does with its own protos.

    Source: `proto/`, a subset of Envoy's ext_authz v3 and the gRPC health protocol.
    """
    loaded = DescriptorPool()
    for file in _files():
        loaded.AddSerializedFile(file.SerializeToString())
    return loaded


def _files() -> Iterable[FileDescriptorProto]:
    """Read the descriptor set, in order of dependency."""
    return FileDescriptorSet.FromString(files(__package__).joinpath("ext_authz.binpb").read_bytes()).file


def _message(name: str) -> Any:
    """Return the class of a message; its fields are known at run time only, hence no static type."""
    return GetMessageClass(pool.FindMessageTypeByName(name))


def _nested(messages: Iterable[Descriptor]) -> Iterator[Descriptor]:
    """List messages, and those that are declared in them."""
    for message in messages:
        yield message
        yield from _nested(message.nested_types)


pool: Final = load()

# The class of a part is held by nothing but its own messages. Were it collected as garbage between two of them, it would be made anew for the
# next, and a thread that reads a message at that very moment would end the process: protobuf hands out the class that is just going.
_classes: Final = [
    GetMessageClass(each) for file in _files() for each in _nested(pool.FindFileByName(file.name).message_types_by_name.values())
]

CheckRequest: Final = _message("envoy.service.auth.v3.CheckRequest")
CheckResponse: Final = _message("envoy.service.auth.v3.CheckResponse")
HeaderValueOption: Final = _message("envoy.config.core.v3.HeaderValueOption")
HealthCheckRequest: Final = _message("grpc.health.v1.HealthCheckRequest")
HealthCheckResponse: Final = _message("grpc.health.v1.HealthCheckResponse")
