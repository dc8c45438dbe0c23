"""wrk: its output is read strictly."""

import pytest
import wrk
from traffic import Traffic, TrafficError

OUTPUT = """Running 3s test @ http://127.0.0.1:8080/prod/orders/7f3a
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.51ms  382.28us  12.04ms   91.11%
    Req/Sec    10.69k   638.05    11.52k    73.33%
  Latency Distribution
     50%    1.42ms
     75%    1.55ms
     90%    1.81ms
     99%    2.95ms
  31921 requests in 3.00s, 4.75MB read
Requests/sec:  10635.39
Transfer/sec:      1.58MB
"""


def test_wrk_tells_rate_and_latencies():
    """Wrk tells rate and latencies."""
    assert wrk.read(OUTPUT) == Traffic(
        requests=31_921, rate=10_635.39, p50=1_420.0, p90=1_810.0, p99=2_950.0, longest=pytest.approx(12_040.0)
    )


@pytest.mark.parametrize("bad", ["Non-2xx or 3xx responses: 12", "Socket errors: connect 0, read 3, write 0, timeout 0"])
def test_a_failed_request_makes_figures_worthless(bad: str):
    """A failed request makes figures worthless."""
    with pytest.raises(TrafficError, match=bad):
        wrk.read(OUTPUT + f"  {bad}\n")


def test_an_output_without_figures_is_an_error():
    """An output without figures is an error."""
    with pytest.raises(TrafficError, match="unable to connect"):
        wrk.read("unable to connect")
