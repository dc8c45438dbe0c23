"""Tools to test a service behind API Gateway's Cognito authorizer without AWS: user pools that mint tokens, and a local Cognito."""

from authz_server.testing.app_client import AppClient
from authz_server.testing.clock import ManualClock
from authz_server.testing.local_cognito import Fault, LocalCognito
from authz_server.testing.session import SIGN_IN_SCOPE, Session
from authz_server.testing.signing_key import SigningKey, compact
from authz_server.testing.static_keys import StaticKeys
from authz_server.testing.user import User
from authz_server.testing.user_pool import UserPool

__all__ = [
    "SIGN_IN_SCOPE",
    "AppClient",
    "Fault",
    "LocalCognito",
    "ManualClock",
    "Session",
    "SigningKey",
    "StaticKeys",
    "User",
    "UserPool",
    "compact",
]
