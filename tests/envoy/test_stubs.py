"""Our stubs mean what the published protos mean, and stay out of everybody's way."""

import gc
import json
import os
import subprocess
import sys
import weakref
from importlib.resources import files
from pathlib import Path

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from authz_server.envoy import stubs

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
DESCRIPTOR_SET = files("authz_server.envoy").joinpath("ext_authz.binpb").read_bytes()


def test_the_classes_of_parts_outlive_garbage():
    """Else each collection would have them made anew, in the middle of whatever another thread reads."""
    parts = [stubs.CheckRequest().attributes.request.http, stubs.CheckResponse().denied_response, stubs.CheckResponse().dynamic_metadata]
    classes = [weakref.ref(type(part)) for part in parts]
    del parts
    gc.collect()

    assert None not in [each() for each in classes]


def published() -> str:
    """The interpreter that has the published protos: AUTHZ_PROTOS_PYTHON, or that of .venv-protos."""
    python = Path(os.environ.get("AUTHZ_PROTOS_PYTHON", REPOSITORY / ".venv-protos/bin/python"))
    if not python.is_file():
        pytest.fail(f"{python} is missing; run `make .venv-protos`")
    return str(python)


def agreement(descriptor_set: bytes, directory: Path) -> tuple[list[str], list[str]]:
    """Compare a descriptor set with the published protos; what agrees, and what does not."""
    file = directory / "ours.binpb"
    file.write_bytes(descriptor_set)
    command = [published(), HERE / "descriptor_agreement.py", file]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return answer["agreed"], answer["disagreed"]


def in_a_fresh_process(python: str, program: str) -> str:
    """Run a program, and return what it printed."""
    return subprocess.run([python, "-c", program], check=True, capture_output=True, text=True, cwd=REPOSITORY).stdout


# Each is an edit of the descriptor set's text form, and the fact that is then found to disagree.
MUTATIONS = {
    "number": ('"error_response" number: 5', '"error_response" number: 7', "envoy.service.auth.v3.CheckResponse.error_response number=7"),
    "name": ('"raw_value"', '"raw"', "envoy.config.core.v3.HeaderValue.raw number=3"),
    "type": ("TYPE_BYTES", "TYPE_STRING", "envoy.config.core.v3.HeaderValue.raw_value type=TYPE_STRING"),
    "message": (
        '".envoy.config.core.v3.HeaderMap"',
        '".google.rpc.Status"',
        "envoy.service.auth.v3.AttributeContext.HttpRequest.header_map type_name=.google.rpc.Status",
    ),
    "label": (
        '"headers_to_remove" number: 5 label: LABEL_REPEATED',
        '"headers_to_remove" number: 5 label: LABEL_OPTIONAL',
        "envoy.service.auth.v3.OkHttpResponse.headers_to_remove label=LABEL_OPTIONAL",
    ),
    "oneof": ('"http_response"', '"answer"', "envoy.service.auth.v3.CheckResponse.denied_response oneof=answer"),
    "map": ("map_entry: true", "map_entry: false", "envoy.service.auth.v3.AttributeContext.ContextExtensionsEntry map_entry=False"),
    "enum value": (
        '"OVERWRITE_IF_EXISTS_OR_ADD" number: 2',
        '"OVERWRITE_IF_EXISTS_OR_ADD" number: 4',
        "envoy.config.core.v3.HeaderValueOption.HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD number=4",
    ),
    "stream": (
        "server_streaming: true",
        "server_streaming: false",
        "grpc.health.v1.Health.Watch gives=.grpc.health.v1.HealthCheckResponse stream=False",
    ),
}


def test_every_declaration_agrees_with_the_published_protos(tmp_path: Path) -> None:
    """Each name, number, type, label, oneof, map, enum value and method of ours is that of the published protos."""
    agreed, disagreed = agreement(DESCRIPTOR_SET, tmp_path)

    assert disagreed == []
    assert "envoy.service.auth.v3.CheckResponse.error_response number=5" in agreed
    assert "grpc.health.v1.HealthCheckResponse.ServingStatus.NOT_SERVING number=2" in agreed


@pytest.mark.parametrize(("declared", "mutated", "fact"), MUTATIONS.values(), ids=MUTATIONS.keys())
def test_a_declaration_that_differs_is_found(declared: str, mutated: str, fact: str, tmp_path: Path) -> None:
    """The comparison sees a difference in any kind of declaration."""
    ours = text_format.MessageToString(FileDescriptorSet.FromString(DESCRIPTOR_SET), as_one_line=True)
    theirs = text_format.Parse(ours.replace(declared, mutated), FileDescriptorSet())

    _, disagreed = agreement(theirs.SerializeToString(), tmp_path)

    assert fact in disagreed


def test_a_published_request_is_read() -> None:
    """A CheckRequest written with the published protos parses into the same values, undeclared fields included."""
    written = in_a_fresh_process(
        published(),
        "from envoy.service.auth.v3.external_auth_pb2 import CheckRequest\n"
        "request = CheckRequest()\n"
        "http = request.attributes.request.http\n"
        "http.method, http.path, http.host, http.body = 'GET', '/pets?a=1', 'api.example.com', 'ignored'\n"
        "http.headers['authorization'] = 'Bearer x'\n"
        "http.header_map.headers.add(key='cookie', raw_value=bytes([255]))\n"
        "request.attributes.context_extensions['api'] = 'pets'\n"
        "request.attributes.metadata_context.filter_metadata['a'].update({'b': 1})\n"
        "request.attributes.source.address.socket_address.port_value = 7\n"
        "print(request.SerializeToString().hex())",
    )

    attributes = stubs.CheckRequest.FromString(bytes.fromhex(written)).attributes

    http = attributes.request.http
    assert (http.method, http.path, http.host, dict(http.headers)) == ("GET", "/pets?a=1", "api.example.com", {"authorization": "Bearer x"})
    assert [(line.key, line.raw_value) for line in http.header_map.headers] == [("cookie", b"\xff")]
    assert dict(attributes.context_extensions) == {"api": "pets"}
    assert attributes.source.address.socket_address.port_value == 7


def test_a_response_is_read_by_the_published_protos() -> None:
    """A CheckResponse of ours means the same to the published protos: wrapped booleans, enums, metadata and open status codes."""
    response = stubs.CheckResponse()
    response.status.code = 16
    response.denied_response.status.code = 418
    overwrite = response.denied_response.headers.add(append_action="OVERWRITE_IF_EXISTS_OR_ADD", append={"value": False})
    overwrite.header.key, overwrite.header.value = "x-a", "b"
    response.dynamic_metadata.update({"authorizer": {"claims": {"sub": "s", "list": [1, None, True]}}})

    read = in_a_fresh_process(
        published(),
        "import json\n"
        "from envoy.service.auth.v3.external_auth_pb2 import CheckResponse\n"
        "from google.protobuf.json_format import MessageToDict\n"
        f"response = CheckResponse.FromString(bytes.fromhex('{response.SerializeToString().hex()}'))\n"
        "print(json.dumps(MessageToDict(response)))",
    )

    assert json.loads(read) == {
        "status": {"code": 16},
        "deniedResponse": {
            "status": {"code": 418},
            "headers": [
                {"header": {"key": "x-a", "value": "b"}, "append": False, "appendAction": "OVERWRITE_IF_EXISTS_OR_ADD"},
            ],
        },
        "dynamicMetadata": {"authorizer": {"claims": {"sub": "s", "list": [1.0, None, True]}}},
    }


def test_health_messages_speak_the_health_protocol() -> None:
    """SERVING of ours is SERVING of grpc.health.v1."""
    response = stubs.HealthCheckResponse(status="SERVING")

    assert response.SerializeToString() == b"\x08\x01"
    assert stubs.HealthCheckRequest(service=stubs.SERVICE).service == stubs.SERVICE


def test_services_are_described_for_reflection() -> None:
    """The pool that reflection serves holds both services under the names that clients call."""
    methods = {
        name: [method.name for method in stubs.pool.FindServiceByName(name).methods] for name in (stubs.SERVICE, stubs.HEALTH_SERVICE)
    }

    assert methods == {"envoy.service.auth.v3.Authorization": ["Check"], "grpc.health.v1.Health": ["Check", "Watch"]}


def test_a_loaded_pool_belongs_to_its_caller() -> None:
    """Adding to a loaded pool leaves the pool of the stubs alone."""
    loaded = stubs.load()
    loaded.AddSerializedFile(FileDescriptorProto(name="more.proto").SerializeToString())

    with pytest.raises(KeyError):
        stubs.pool.FindFileByName("more.proto")


def test_the_default_pool_is_left_alone() -> None:
    """An application may hold other definitions of the very same files and names in the default pool."""
    seen = in_a_fresh_process(
        sys.executable,
        "from google.protobuf import descriptor_pb2, descriptor_pool\n"
        "theirs = descriptor_pb2.FileDescriptorProto(name='envoy/service/auth/v3/external_auth.proto', package='envoy.service.auth.v3')\n"
        "theirs.message_type.add(name='CheckRequest')\n"
        "descriptor_pool.Default().AddSerializedFile(theirs.SerializeToString())\n"
        "import envoy, grpc_health.v1.health_pb2\n"
        "from authz_server.envoy import stubs\n"
        "print(len(descriptor_pool.Default().FindMessageTypeByName('envoy.service.auth.v3.CheckRequest').fields))\n"
        "print(len(stubs.CheckRequest.DESCRIPTOR.fields))",
    )

    assert seen.split() == ["0", "1"]
