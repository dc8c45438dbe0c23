"""Chaos of processes, as clients of a real Envoy meet it."""

import os
import re
from signal import Signals

from authz_server.demo import envoy
from authz_server.demo.process import Process, accepts, free_port
from authz_server.demo.upstream import Upstream
from tests.chaos.fault import Fault
from tests.chaos.load import through_envoy
from tests.chaos.oracle import NO_ANSWER
from tests.chaos.stage import Stage
from tests.e2e.stack import Edge

RATE = 100.0  # each request is a connection of its own to Envoy, and one of Envoy's to the upstream


class Front:
    """An Envoy as deployed, with an upstream behind it, in front of some servers; it can be killed and started again.

    Args:
        stage: where.
        ports: of the servers.
    """

    def __init__(self, stage: Stage, *ports: int) -> None:
        upstream = Upstream()
        stage.running.callback(upstream.close)
        self._folder = stage.folder
        self.port = free_port()
        self._configuration = envoy.moved(envoy.template(), listener=self.port, upstream=upstream.port)
        (authz,) = [each for each in self._configuration["static_resources"]["clusters"] if each["name"] == "authz"]
        addresses = [{"socket_address": {"address": "127.0.0.1", "port_value": port}} for port in ports]
        authz["load_assignment"]["endpoints"] = [{"lb_endpoints": [{"endpoint": {"address": address}} for address in addresses]}]
        self.process = self._start()
        stage.running.callback(self.stop)

    def stop(self) -> None:
        """End it."""
        self.process.stop()

    def restart(self) -> None:
        """Kill it, and start another one in its place."""
        self.process.stop(Signals.SIGKILL)
        self.process = self._start()

    def _start(self) -> Process:
        return envoy.start(self._configuration, port=self.port, folder=self._folder)


def test_a_killed_worker(stage: Stage):
    """Envoy asks the other worker, a new one takes its place, and nobody is let through in between."""
    while accepts((port := free_port()) + 1):
        pass
    server = stage.start("--workers", "2", port=port)
    server.process.wait_until(lambda: accepts(port + 1))
    front = Front(stage, port, port + 1)

    def workers() -> list[str]:
        return re.findall(r"worker 0 is process (\d+)", server.log())

    fault = Fault(
        name="worker killed (`--workers 2`, through Envoy)",
        begin=lambda: os.kill(int(workers()[-1]), Signals.SIGKILL),
        felt=lambda: len(workers()) == 2 and accepts(port),
        failures={503},
    )
    stage.chaos(server, through_envoy(Edge(port=front.port, variant="as deployed")), rate=RATE).meet(fault)


def test_a_restarted_envoy(stage: Stage):
    """Requests find no Envoy for a moment; from its first answer on every answer is right."""
    server = stage.start()
    front = Front(stage, server.port)
    fault = Fault(name="Envoy killed and started again", begin=front.restart, failures={NO_ANSWER, 503})
    stage.chaos(server, through_envoy(Edge(port=front.port, variant="as deployed")), rate=RATE).meet(fault)
