"""A stand-in for curl on a machine without it: the options that the demo prints, and no others."""

import argparse
import base64
import sys
import urllib.error
import urllib.request


class KeepErrors(urllib.request.HTTPErrorProcessor):
    """Hand 4xx and 5xx answers over like any other."""

    def http_response(self, request, response):  # noqa: ARG002 - the base class names it
        """Return the answer as it is."""
        return response


def main() -> None:
    """Send one request and print what came back."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("-s", action="store_true")
    parser.add_argument("-i", dest="head", action="store_true")
    parser.add_argument("-X", dest="method")
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("-d", dest="data", action="append", default=[])
    parser.add_argument("-u", dest="user")
    options = parser.parse_args()
    request = urllib.request.Request(options.url, "&".join(options.data).encode() or None, method=options.method)  # noqa: S310 - the demo prints http
    if options.user:
        request.add_header("Authorization", f"Basic {base64.b64encode(options.user.encode()).decode()}")
    for header in options.headers:
        name, _, value = header.partition(": ")
        request.add_header(name, value)
    with urllib.request.build_opener(KeepErrors).open(request, timeout=60) as answer:
        if options.head:
            sys.stdout.write(f"HTTP/1.1 {answer.status} {answer.reason}\n{answer.headers}")
        sys.stdout.write(answer.read().decode())


main()
