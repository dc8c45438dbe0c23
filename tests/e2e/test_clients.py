"""gRPC and HTTP/2 clients of Envoy get answers in their own terms."""

import grpc
import httpx2
import pytest

from tests.waiting import PATIENCE


@pytest.fixture
def call(edge):
    """A gRPC call through Envoy to a method that the configuration protects."""
    with grpc.insecure_channel(f"127.0.0.1:{edge.port}") as channel:
        method = channel.unary_unary("/pets.v1.Pets/List")
        yield lambda **headers: method(b"", timeout=PATIENCE, metadata=tuple(headers.items()))


def test_a_grpc_client_without_a_token_gets_unauthenticated(call):
    """Envoy turns our 401 into UNAUTHENTICATED, and our body into the status message."""
    with pytest.raises(grpc.RpcError) as refused:
        call()

    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert refused.value.details() == '{"message":"Unauthorized"}'


def test_a_grpc_client_with_the_scope_reaches_the_upstream(call, pool):
    """With the scope, the call goes on (to an upstream that speaks no gRPC)."""
    with pytest.raises(grpc.RpcError) as answered:
        call(authorization=f"Bearer {pool.access_token(scope='pets/read')}")

    assert answered.value.code() not in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}


def test_a_grpc_method_that_no_api_declares_is_permission_denied(edge):
    """Our 403 becomes PERMISSION_DENIED."""
    with grpc.insecure_channel(f"127.0.0.1:{edge.port}") as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary("/pets.v1.Pets/Drop")(b"", timeout=PATIENCE)

    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_an_http2_client_gets_the_same_answers(edge, pool):
    """HTTP/2 requests are decided like HTTP/1.1 requests."""
    with httpx2.Client(http1=False, http2=True, base_url=f"http://127.0.0.1:{edge.port}/prod") as client:
        refused = client.get("/pets")
        allowed = client.get("/pets", headers={"authorization": pool.id_token(), "x-auth-sub": "root"})

    assert (refused.status_code, refused.http_version, refused.json()) == (401, "HTTP/2", {"message": "Unauthorized"})
    assert refused.headers["x-amzn-errortype"] == "UnauthorizedException"
    assert allowed.json()["headers"]["x-auth-sub"] == pool.users["ada"].sub


@pytest.mark.parametrize("method", ["get", "FOO"])
def test_http2_passes_any_method_and_none_opens_a_route(edge, method):
    """HTTP/2 takes any method; ours are compared exactly."""
    with httpx2.Client(http1=False, http2=True) as client:
        request = httpx2.Request("GET", f"http://127.0.0.1:{edge.port}/prod/status")
        request.method = method

        assert client.send(request).status_code == 403
