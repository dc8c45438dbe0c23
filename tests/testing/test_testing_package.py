"""What users import from authz_server.testing."""

import subprocess
import sys

import authz_server.testing


def test_public_names_are_held():
    """A name joins or leaves the public tools only on purpose."""
    assert sorted(authz_server.testing.__all__) == [
        "AppClient",
        "Fault",
        "LocalCognito",
        "ManualClock",
        "SIGN_IN_SCOPE",
        "Session",
        "SigningKey",
        "StaticKeys",
        "User",
        "UserPool",
        "compact",
    ]
    assert all(hasattr(authz_server.testing, name) for name in authz_server.testing.__all__)


def test_import_needs_neither_grpc_nor_protobuf():
    """The tools cost their users cryptography and the standard library, and no protobuf registry."""
    program = (
        "import sys; before = set(sys.modules); import authz_server.testing; "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    modules = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()

    assert set(modules) <= {"authz_server", "cryptography", "_cffi_backend", "_openssl"}
