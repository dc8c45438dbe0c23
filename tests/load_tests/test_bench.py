"""The benchmark's own servers and those that are added to it."""

import os
import sys
from pathlib import Path

import bench
import pytest
import targets
from correctness import WrongAnswerError
from machine import Cores
from workload import Workload

from authz_server.demo.process import free_port

ROOT = Path(__file__).parents[2]
NOOP = f"floor=env PYTHONPATH={ROOT} {sys.executable} {ROOT / 'load_tests' / 'noop_server.py'} asyncio {{port}}"


@pytest.fixture
def stage(tmp_path):
    """One core for everything: nothing is measured."""
    core = min(os.sched_getaffinity(0))
    with Workload(tmp_path) as work:
        yield targets.Stage(work=work, cores=Cores(server=core, load=core), folder=tmp_path)


def chosen(*arguments):
    """Read arguments, and name what would be measured."""
    return [target.name for target in bench.chosen(bench.arguments(arguments))]


def test_an_added_server_is_measured_directly_and_behind_envoy():
    """One that judges, and one that allows all."""
    added = chosen("--target", "mine=/bin/mine --port {port}", "--noop", NOOP)

    assert added[-4:] == ["mine", "floor", "Envoy, mine", "Envoy, floor"]
    assert "asyncio, hit" in added


def test_words_choose_targets():
    """In any case of letters; one of them suffices."""
    assert chosen("--only", "MINE", "--target", "mine=mine {port}") == ["mine", "Envoy, mine"]
    assert set(chosen("--only", "asyncio, hit", "--only", "jwt_authn")) > {"asyncio, hit", "Envoy, jwt_authn"}


def test_a_server_without_a_name_is_told_how_to_have_one():
    """With what was given."""
    with pytest.raises(SystemExit, match=r"'mine': expected NAME='COMMAND \{port\}'"):
        chosen("--target", "mine")


def test_what_is_measured_unless_told_otherwise_has_its_floors():
    """A floor that nobody measures would be none."""
    everything = targets.built_in()

    assert {target.floor for target in everything if target.floor} <= {target.name for target in everything}


def test_an_added_noop_is_started_and_asked(stage):
    """By its command, with a port of its own."""
    (direct, _) = bench.chosen(bench.arguments(["--only", "floor", "--noop", NOOP]))
    with direct.start(stage) as running:
        assert running.processes["server"].usage().memory > 0


def test_an_added_server_that_allows_all_is_not_measured_as_one_that_judges(stage):
    """Its figures would be about less work."""
    (direct, _) = bench.chosen(bench.arguments(["--only", "floor", "--target", NOOP]))
    with pytest.raises(WrongAnswerError), direct.start(stage):
        pass


def test_a_server_learns_where_everything_is(stage):
    """Port, configuration, keys and rules."""
    what = "import sys, socket; open(sys.argv[2] + '.told', 'w').write(' '.join(sys.argv[3:])); socket.create_server(('127.0.0.1', int(sys.argv[1]))).accept()"
    command = (sys.executable, "-c", what, "{port}", "{config}", "{jwks}", "{rules}")
    port = free_port()
    with targets.Server(name="mine", command=command).process(port, stage):
        told = Path(f"{stage.work.config}.told").read_text()

    assert told == f"{stage.work.jwks} {stage.work.rules}"
