"""Ask the xDS server of an Envoy bootstrap (JSON) for its node's listeners; count where they check, clean headers and drop trailers.

    .venv-protos/bin/python tests/kube/listeners.py BOOTSTRAP

Exit status 1 when they check nowhere, or do not clean wherever they check.
"""

import json
import queue
import sys
from pathlib import Path

import grpc
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
from google.protobuf import json_format

KIND = "type.googleapis.com/envoy.config.listener.v3.Listener"
CHECK, CLEANINGS = b"extensions.filters.http.ext_authz.v3.ExtAuthz", (b"strip-identity-headers", b"strip-trailers")

bootstrap = json.loads(Path(sys.argv[1]).read_text())
(cluster,) = bootstrap["static_resources"]["clusters"]
address = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
request = discovery_pb2.DiscoveryRequest(type_url=KIND)
json_format.ParseDict(bootstrap["node"], request.node)
asked: queue.SimpleQueue = queue.SimpleQueue()
asked.put(request)
with grpc.insecure_channel(f"{address['address']}:{address['port_value']}") as channel:
    calls = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel)
    answer = next(iter(calls.StreamAggregatedResources(iter(asked.get, None), timeout=10)))
texts = [each.value for each in answer.resources]  # type names and names stand in the wire form as they are
checks, *cleanings = (sum(text.count(name) for text in texts) for name in (CHECK, *CLEANINGS))
print(f"{len(texts)} listeners check in {checks} places, clean headers in {cleanings[0]} and drop trailers in {cleanings[1]}")
sys.exit(0 if checks and min(cleanings) >= checks else 1)
