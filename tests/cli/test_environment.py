"""Variables of the environment that no option reads: slips are told, and those that may stand for a protection end the start."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from authz_server.cli import main
from authz_server.cli.environment import Unread, unread
from authz_server.cli.options import Option

REPOSITORY = Path(__file__).parents[2]
OPTIONS = [option for command in main.commands.values() for option in command.params if isinstance(option, Option)]
VARIABLES = {option.variable for option in main.commands["serve"].params if isinstance(option, Option)}
NONE = Path("absent.yaml")


def services(name: str, port: str = "GRPC") -> dict[str, str]:
    """The variables of a Service, as kubelet writes them."""
    prefix = name.upper().replace("-", "_")
    return {
        f"{prefix}_SERVICE_HOST": "10.96.0.7",
        f"{prefix}_SERVICE_PORT": "9000",
        f"{prefix}_SERVICE_PORT_{port}": "9000",
        f"{prefix}_PORT": "tcp://10.96.0.7:9000",
        f"{prefix}_PORT_9000_TCP": "tcp://10.96.0.7:9000",
        f"{prefix}_PORT_9000_TCP_PROTO": "tcp",
        f"{prefix}_PORT_9000_TCP_PORT": "9000",
        f"{prefix}_PORT_9000_TCP_ADDR": "10.96.0.7",
        f"{prefix}_PORT_5353_UDP": "udp://[fd00::7]:5353",
    }


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("AUTHZ_REVOCATION", "AUTHZ_REVOCATIONS"),
        ("AUTHZ_REVOKED_TOKENS", None),
        ("AUTHZ_TLS_CLIENT_CAS", "AUTHZ_TLS_CLIENT_CA"),
        ("AUTHZ_CLIENTCA", "AUTHZ_TLS_CLIENT_CA"),
        ("AUTHZ_CA", None),
        ("AUTHZ_TSL_CERT", "AUTHZ_TLS_CERT"),
        ("AUTHZ_TLS_CRT", "AUTHZ_TLS_CERT"),
        ("authz_tls_key", "AUTHZ_TLS_KEY"),
        ("AUTHZ_SERVER_TLS_CERTIFICATE", None),
        ("AUTHZ_MTLS", None),
        ("AUTHZ_TLS_ALOW_SANS", "AUTHZ_TLS_ALLOW_SAN"),
        ("AUTHZ_STATEDIR", "AUTHZ_STATE_DIR"),
        ("AUTHZ_SOCKT_MODE", "AUTHZ_SOCKET_MODE"),
        ("AUTHZ_REVOCATIONS_MAXAGE", "AUTHZ_REVOCATIONS_MAX_AGE"),
    ],
)
def test_a_name_that_resembles_a_protection_is_known(name, meant):
    """What it should protect would be open: by its words, or by what it was meant to be."""
    (slip,) = unread({name: "x"}, VARIABLES, NONE)

    assert (slip.name, slip.protects) == (name, True)
    assert meant in {None, slip.meant}


@pytest.mark.parametrize(
    ("name", "meant"),
    [("AUTHZ_WORKER", "AUTHZ_WORKERS"), ("AUTHZ_CONFIG_FILE", "AUTHZ_CONFIG"), ("AUTHZ_COLOUR", None), ("AUTHZ_CASE", None)],
)
def test_another_slip_is_told_with_what_was_meant(name, meant):
    """It protects nothing, so that a warning is enough; without the prefix, which all names share."""
    (slip,) = unread({name: "x"}, VARIABLES, NONE)

    assert (slip, slip.protects) == (Unread(name, meant), False)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.variable)
def test_what_may_not_be_empty_may_not_be_misspelt(option):
    """Each variable that must have a value is one whose slips end the start."""
    assert Unread(option.variable, None).protects or not option.required_value


@pytest.mark.parametrize("name", ["authz", "authz-server", "authz-server-tls", "authz-tls", "authz-revocations", "authz-admin"])
def test_variables_of_a_service_are_no_options(name):
    """Kubernetes gives them to every container of the namespace: nobody wrote them."""
    assert unread(services(name), VARIABLES, NONE) == []


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.variable)
def test_no_option_reads_a_variable_of_a_service(option):
    """However a Service is called that begins with `authz`: none of its variables is one of ours."""
    assert unread({option.variable: "tcp://10.96.0.7:9000"}, (), NONE) != []


def test_a_port_that_somebody_wrote_is_a_slip():
    """AUTHZ_PORT=9000 was meant for --listen; only a URL in it is Kubernetes' own."""
    assert [slip.name for slip in unread({"AUTHZ_PORT": "9000"}, VARIABLES, NONE)] == ["AUTHZ_PORT"]


def test_a_variable_that_the_configuration_reads_is_no_slip(tmp_path):
    """It may be called as one likes; `$${` is a literal text."""
    config = tmp_path / "authz.yaml"
    config.write_text("user_pools: {a: {arn: '${AUTHZ_TLS_POOL}'}, b: {arn: '$${AUTHZ_TLS_OTHER}'}}")
    environment = {"AUTHZ_TLS_POOL": "x", "AUTHZ_TLS_OTHER": "x"}

    assert [slip.name for slip in unread(environment, VARIABLES, config)] == ["AUTHZ_TLS_OTHER"]


def test_variables_of_others_are_not_looked_at():
    """Completion of the shell and the rest of the environment."""
    assert unread({"_AUTHZ_SERVER_COMPLETE": "x", "AUTHZED_TLS": "x", "TLS_CERT": "x", "": "x"}, VARIABLES, NONE) == []


def test_deploy_sets_what_options_read():
    """Manifests, overlays and the image: each AUTHZ_ variable that they give a container."""
    texts = [path.read_text() for path in (REPOSITORY / "deploy").rglob("*") if path.is_file() and path.suffix != ".md"]
    names = {name for text in texts for name in re.findall(r"\bAUTHZ_[A-Z0-9_]+(?==|, value)", text)}

    assert {"AUTHZ_CONFIG", "AUTHZ_LISTEN", "AUTHZ_TLS_CLIENT_CA"} <= names
    assert unread(dict.fromkeys(names, "x"), VARIABLES, NONE) == []


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_slip_in_a_protection_ends_the_start(workers, monkeypatch):
    """All of them are told at once, as a wrong command, with what was meant and without their values."""
    monkeypatch.setenv("AUTHZ_REVOCATION", "s3cret")
    monkeypatch.setenv("AUTHZ_TLS_CLIENT_CAS", "s3cret")
    done = CliRunner().invoke(main, ["serve", "--config", "absent.yaml", "--workers", workers])

    assert done.exit_code == 2
    assert (
        "'AUTHZ_REVOCATION' (did you mean 'AUTHZ_REVOCATIONS'?), 'AUTHZ_TLS_CLIENT_CAS' (did you mean 'AUTHZ_TLS_CLIENT_CA'?)"
        in done.output
    )
    assert "s3cret" not in done.output
