"""What `validate` found, for people, for programs and for GitHub."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple

from authz_server.config.loaded import Loaded
from authz_server.config.problems import MAX_LISTED, ConfigurationWarning, Problem, listed
from authz_server.config.schema import Api, Method

Format = Literal["text", "json", "github"]

LEAK: Final = "less_guarded_method"
MAX_ROUTES: Final = 1_000  # that a person is shown of each api


class Asked(NamedTuple):
    """What came of asking for the keys of a user pool.

    Args:
        pool: its id.
        jwks: where its keys are.
        keys: how many can be used.
        failure: why there are none, or "".
    """

    pool: str
    jwks: str
    keys: int
    failure: str


class Report(NamedTuple):
    """What was found.

    Args:
        file: as it is named.
        problems: what is wrong; without any, the configuration is good.
        loaded: the configuration, or None where it is bad.
        asked: about each user pool, where that was wanted.
    """

    file: str
    problems: Sequence[Problem] = ()
    loaded: Loaded | None = None
    asked: Sequence[Asked] = ()

    @property
    def warnings(self) -> Sequence[ConfigurationWarning]:
        """What is probably a mistake."""
        return () if self.loaded is None else self.loaded.warnings


def as_json(report: Report) -> str:
    """Write everything as one JSON object."""
    places = ("file", "line", "column", "message")
    written: dict[str, Any] = {
        "file": report.file,
        "good": report.loaded is not None,
        "problems": [{key: getattr(problem, key) for key in places} for problem in report.problems],
        "warnings": [{key: getattr(warning, key) for key in (*places, "name", "remedy")} for warning in report.warnings],
        "user_pools": [asked._asdict() for asked in report.asked],
        "authorizers": [],
        "apis": [],
    }
    if report.loaded is not None:
        configuration = report.loaded.configuration
        written["authorizers"] = [
            {"name": name, "takes": f"{each.identity_source}, {each.summary()}"} for name, each in configuration.authorizers.items()
        ]
        written["apis"] = [
            {
                "name": name,
                "hosts": list(api.hosts or ()),
                "base_path": _base_path(api),
                "routes": [{"method": method, "resource": template, "takes": takes(asks)} for method, template, asks in _routes(api)],
            }
            for name, api in configuration.apis.items()
        ]
    return json.dumps(written, indent=2, ensure_ascii=False)


def as_github(report: Report) -> str:
    """Write workflow commands, which GitHub shows beside the lines that they are about.

    Source: GitHub Actions, "Workflow commands".
    """
    lines = [_command("error", problem, "authz-server", problem.message) for problem in report.problems]
    lines += [_command("warning", each, each.name, f"{each.message} ({each.remedy})") for each in report.warnings]
    lines += [f"::error title=keys::{_data(_answer(asked))}" for asked in report.asked if asked.failure]
    return "\n".join(lines)


def as_text(report: Report) -> str:
    """Write what was understood, then what is probably a mistake."""
    if report.loaded is None:
        return "\n".join(listed(report.problems))
    lines = [f"{report.file}: good", *_summary(report.loaded)]
    if report.asked:
        lines += ["", "Keys", *(f"  {_answer(asked)}" for asked in report.asked)]
    warnings = [warning for warning in report.warnings if warning.name != LEAK]
    leaks = [warning for warning in report.warnings if warning.name == LEAK]
    for title, found in (("Warnings", warnings), ("Methods that lead to less guarded routes", leaks)):
        if found:
            lines += ["", f"{title} ({len(found)})"]
            for warning in found[:MAX_LISTED]:
                lines += [f"  {warning.file}:{warning.line}:{warning.column}: {warning.message}", f"      {warning.remedy}"]
            lines += [f"  … and {len(found) - MAX_LISTED} more"] if len(found) > MAX_LISTED else []
    return "\n".join(lines)


def takes(asks: Method) -> str:
    """Say in a few words which token a method takes."""
    if asks.authorizer is None:
        return "public"
    if asks.authorization_scopes:
        return f"{asks.authorizer}: access token with {' or '.join(asks.authorization_scopes)}"
    return f"{asks.authorizer}: ID token"


def _summary(loaded: Loaded) -> Iterator[str]:
    configuration = loaded.configuration
    if configuration.authorizers:
        yield from ["", "Authorizers"]
        width = max(map(len, configuration.authorizers))
        yield from (f"  {name:{width}}  {each.identity_source}, {each.summary()}" for name, each in configuration.authorizers.items())
    for name, api in configuration.apis.items():
        routes = list(_routes(api))
        yield from ["", f"Api {name}: {', '.join(api.hosts or ['every other host'])}, below {_base_path(api)}"]
        shown = routes[:MAX_ROUTES]
        width = max((len(template) for _, template, _ in shown), default=0)
        yield from (f"  {method:7} {template:{width}}  {takes(asks)}" for method, template, asks in shown)
        if len(routes) > len(shown):
            yield f"  … and {len(routes) - len(shown)} more; --format json has all"


def _base_path(api: Api) -> str:
    return api.base_path or "/"


def _routes(api: Api) -> Iterator[tuple[str, str, Method]]:
    return ((method, template, asks) for template, methods in api.routes.items() for method, asks in methods.items())


def _answer(asked: Asked) -> str:
    return f"{asked.pool} from {asked.jwks}: {asked.failure or ('1 key' if asked.keys == 1 else f'{asked.keys} keys')}"


def _command(kind: str, problem: Problem, title: str, message: str) -> str:
    file = _data(problem.file).replace(":", "%3A").replace(",", "%2C")
    return f"::{kind} file={file},line={problem.line},col={problem.column},title={title}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
