"""Compare a descriptor set with the published protos, in an environment of its own (`make .venv-protos`).

Usage: `.venv-protos/bin/python descriptor_agreement.py <descriptor set>`; prints `{"agreed": [...], "disagreed": [...]}`.
One fact is one line of text, such as `envoy.type.v3.HttpStatus.code number=1`; what we declare must be a subset.
"""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

PUBLISHED_AS = {"grpc/health/v1/health.proto": "grpc_health.v1.health_pb2"}  # the package renames its file


def published(path: str) -> FileDescriptorProto:
    """Load the published file that stands under *path*."""
    module = importlib.import_module(PUBLISHED_AS.get(path, path.removesuffix(".proto").replace("/", ".") + "_pb2"))
    file = FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(file)
    return file


def facts_of_file(file: FileDescriptorProto) -> Iterator[str]:
    """Tell everything that a file declares."""
    yield f"{file.package} syntax={file.syntax or 'proto2'}"
    for message in file.message_type:
        yield from facts_of_message(message, f"{file.package}.{message.name}")
    for enum in file.enum_type:
        yield from facts_of_enum(enum, f"{file.package}.{enum.name}")
    for service in file.service:
        yield from facts_of_service(service, f"{file.package}.{service.name}")


def facts_of_message(message: DescriptorProto, name: str) -> Iterator[str]:
    """Tell a message's shape, then its fields and what is nested in it."""
    yield f"{name} map_entry={message.options.map_entry}"
    for field in message.field:
        yield from facts_of_field(field, message, f"{name}.{field.name}")
    for nested in message.nested_type:
        yield from facts_of_message(nested, f"{name}.{nested.name}")
    for enum in message.enum_type:
        yield from facts_of_enum(enum, f"{name}.{enum.name}")


def facts_of_field(field: FieldDescriptorProto, message: DescriptorProto, name: str) -> Iterator[str]:
    """Tell what a field means on the wire."""
    yield f"{name} number={field.number}"
    yield f"{name} type={FieldDescriptorProto.Type.Name(field.type)}"
    yield f"{name} type_name={field.type_name}"
    yield f"{name} label={FieldDescriptorProto.Label.Name(field.label)}"
    yield f"{name} oneof={message.oneof_decl[field.oneof_index].name if field.HasField('oneof_index') else None}"
    yield f"{name} optional={field.proto3_optional}"
    yield f"{name} packed={field.options.packed if field.options.HasField('packed') else None}"


def facts_of_enum(enum: EnumDescriptorProto, name: str) -> Iterator[str]:
    """Tell the values of an enum."""
    for value in enum.value:
        yield f"{name}.{value.name} number={value.number}"


def facts_of_service(service: ServiceDescriptorProto, name: str) -> Iterator[str]:
    """Tell the methods of a service."""
    for method in service.method:
        yield f"{name}.{method.name} takes={method.input_type} stream={method.client_streaming}"
        yield f"{name}.{method.name} gives={method.output_type} stream={method.server_streaming}"


def main(descriptor_set: Path) -> None:
    """Print which facts of the set the published protos share."""
    ours = FileDescriptorSet.FromString(descriptor_set.read_bytes())
    agreed: list[str] = []
    disagreed: list[str] = []
    for file in ours.file:
        theirs = set(facts_of_file(published(file.name)))
        for fact in facts_of_file(file):
            (agreed if fact in theirs else disagreed).append(fact)
    json.dump({"agreed": agreed, "disagreed": disagreed}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
