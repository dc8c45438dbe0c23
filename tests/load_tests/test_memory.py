"""Memory of known tokens: what is asked, and what is told."""

import memory
from names import Names

from authz_server.observe.metrics import Metrics
from authz_server.observe.samples import VerdictsSample
from authz_server.testing import UserPool


def test_each_name_is_another_and_as_long():
    """So that a cache keeps a verdict for each, and each takes the same."""
    pool = UserPool("eu-west-1_Bench0001")
    pool.add_user("ada")
    pool.add_client("web")
    names = Names(pool, lambda token: f"authorization: Bearer {token}".encode(), 200)
    requests = [names.request(number) for number in range(200)]

    assert len(set(requests)) == 200
    assert len({request.partition(b" ")[2][7:] for request in requests}) == 4
    assert len(set(map(len, requests))) == 1


def test_what_came_on_top_is_told():
    """For each kind of answer."""
    text = memory.markdown([memory.Grown("off", 56.0, 108.5, 100_001)])
    assert text.splitlines()[2:] == ["| off | 100,001 | 56.0 | 108.5 | 52.5 |"]


def test_the_server_tells_how_many_verdicts_it_keeps():
    """By the line of its metrics that the measurement looks for."""
    metrics = Metrics("0")
    metrics.show_verdicts(lambda: [VerdictsSample("allow", 100_001, 1, 0), VerdictsSample("deny", 7, 1, 0)])
    assert memory.kept(metrics.text().decode()) == 100_001
    assert memory.kept("") == 0
