"""What the documents say is true."""

import importlib.util
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import authz_server
from authz_server.cli import main
from authz_server.config import json_schema, load
from authz_server.core.decisions import Allow, Deny
from authz_server.core.reasons import Reason
from authz_server.observe.entry import Entry, as_text, fields
from authz_server.revocations.file import read
from authz_server.revocations.shared import KEY, MAX_STREAM, STREAM
from authz_server.revocations.text import parse

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/**/*.md"), *ROOT.glob("load_tests/*.md")])


def blocks(page, language):
    """Find the code blocks of a page."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def block(text, name):
    """Find what a program has written into a page."""
    return re.search(rf"<!-- {name} -->\n(.*)<!-- end of {name} -->", text, re.DOTALL)[1]


def generator():
    """Import docs/generate.py."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["reasons.md", "metrics.md", "flags.md"])
def test_a_generated_page_is_fresh(page):
    """`make docs` has been run since the code changed."""
    assert (ROOT / "docs" / page).read_text() == generator().PAGES[page]()


def test_every_label_of_a_metric_is_explained():
    """docs/metrics.md says which labels a metric has and what they can be, and explains none that is gone."""
    page = (ROOT / "docs/metrics.md").read_text()
    checks = next(line for line in page.splitlines() if line.startswith("| `authz_checks_total`"))
    decisions = {Deny(reason=reason).decision for reason in Reason} | {Allow(api="", route="").decision}
    (explained,) = re.findall(r"^\| `decision` \| (.*); of verdicts", page, re.MULTILINE)

    assert "| `api`, `route`, `decision`, `reason` |" in checks
    assert set(re.findall("`(.*?)`", explained)) == decisions
    assert set(re.findall(r"^\| `(\w+)` \| [^|]* \|$", page, re.MULTILINE)) == set(generator().LABELS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    """Every relative link of a page leads to a file of the project."""
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []


def anchors(page):
    """List what a link can point to: headings, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_headings(page):
    """Every link to a part of a page leads to a heading of that page."""
    links = re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text())
    aims = [((page.parent / path if path else page), anchor) for path, anchor in links]

    assert [anchor for aim, anchor in aims if aim.suffix == ".md" and anchor not in anchors(aim)] == []


@pytest.mark.parametrize(
    ("page", "number"), [(page, number) for page in ("README.md", "docs/configuration.md") for number in range(len(blocks(page, "yaml")))]
)
def test_a_configuration_in_the_documents_loads(page, number, tmp_path):
    """Every YAML block that is a whole configuration passes `validate`."""
    text = blocks(page, "yaml")[number]
    file = tmp_path / "authz.yaml"
    file.write_text(text)

    assert load(file, {}).configuration.version == 1


def test_the_configuration_in_the_readme_is_warned_of_nothing(tmp_path):
    """The example is what a reader begins with, so nothing in it can hardly be meant."""
    (tmp_path / "authz.yaml").write_text(blocks("README.md", "yaml")[0])

    assert load(tmp_path / "authz.yaml", {}).warnings == ()


def test_the_list_in_the_page_on_revocation_is_one(tmp_path):
    """The example of a file can be read, and what Redis is told is what it would be told by the command."""
    (listed,) = blocks("docs/revocation.md", "revocations")
    (tmp_path / "revoked").write_text(listed)
    first = read(tmp_path / "revoked")[0]
    (commands,) = blocks("docs/revocation.md", "redis")
    member, event = re.findall('"(.*)"', commands)

    assert (parse(event), parse(member)) == (first, first._replace(until=math.inf))
    assert f" {KEY} GT {first.until:.0f} " in commands
    assert f" {STREAM} MAXLEN {MAX_STREAM} " in commands


def test_the_python_of_the_testing_page_runs(capsys):
    """The example of the test tools works as printed."""
    (example,) = blocks("docs/testing.md", "python")
    exec(example, {})  # noqa: S102 - it is ours

    assert capsys.readouterr().out.startswith("http://127.0.0.1:")


def test_the_python_of_the_readme_runs(monkeypatch, tmp_path):
    """The example of the embedded gateway works as printed, next to the README's configuration."""
    (example,) = blocks("README.md", "python")
    (tmp_path / "authz.yaml").write_text(blocks("README.md", "yaml")[0])
    monkeypatch.chdir(tmp_path)
    names = {"token": "no token"}
    exec(example, names)  # noqa: S102 - it is ours

    assert names["decision"].reason is authz_server.Reason.TOKEN_MALFORMED


def test_more_is_said_only_about_flags_that_there_are():
    """A link of docs/flags.md leads to a heading, and stands at a flag of `serve`."""
    flags = {name for option in main.commands["serve"].params for name in option.opts}
    see = generator().SEE

    assert see.keys() <= flags
    for page, _, anchor in (link.partition("#") for link in see.values()):
        assert anchor in {"", *anchors(ROOT / "docs" / page)}


def test_every_command_has_a_summary_that_is_not_cut():
    """`authz-server --help` shows 80 columns."""
    summaries = CliRunner().invoke(main, ["--help"], terminal_width=80).output.partition("Commands:")[2]

    assert [line.split()[0] for line in summaries.splitlines() if line] == sorted(main.commands)
    assert "..." not in summaries


@pytest.mark.parametrize(("word", "completed"), [("authz-server re", "revoke"), ("authz-server serve --transp", "--transport")])
def test_a_shell_completes(word, completed):
    """The line for bash in docs/operations.md works as printed."""
    (lines,) = blocks("docs/operations.md", "sh")
    complete = (
        f"COMP_WORDS=({word}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _authz_server_completion authz-server; echo ${{COMPREPLY[@]}}"
    )
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    script = f"{lines.splitlines()[0]}\n{complete}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120, check=True, env=environment)

    assert (done.stdout.strip(), done.stderr) == (completed, "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script(shell):
    """As docs/operations.md has it."""
    assert f"_AUTHZ_SERVER_COMPLETE={shell}_source authz-server" in blocks("docs/operations.md", "sh")[0]
    environment = {"_AUTHZ_SERVER_COMPLETE": f"{shell}_source"}
    done = CliRunner().invoke(main, [], env=environment, prog_name="authz-server")

    assert (done.exit_code, f"_AUTHZ_SERVER_COMPLETE={shell}_complete" in done.output) == (0, True)


def test_every_member_of_the_decision_log_is_documented():
    """docs/decision-log.md has a row for each member of a line, in its order, and for each detail of a denial."""
    _, members, details, *_ = (ROOT / "docs/decision-log.md").read_text().split("\n## ")
    entry = Entry(0.0, 0.0, "GET", "h", "u", Deny(reason=Reason.NO_API, details=(("a", "b"),)), "i", "t")
    allowed = entry._replace(decision=Allow(api="a", route="r", logged={"a": "b"}, dropped=("h",)))
    source = "".join(file.read_text() for file in (ROOT / "authz_server/core").glob("*.py"))
    raised = set(re.findall(r'(?:\(|\b_known)\("(\w+)", ', source))
    documented = [name for names in re.findall(r"^\| (`.*?) \|", members, re.MULTILINE) for name in re.findall(r"`(\w+)`", names)]

    for one in (entry, allowed):
        assert [name for name in documented if name in fields(one)] == list(fields(one))
    assert {"identity_source", "token_use_found", "base_paths_known"} <= raised
    assert {name for name in raised if f"`{name}`" not in details} == set()


def test_the_text_of_the_decision_log_looks_as_shown():
    """docs/decision-log.md shows lines in the columns in which they are written."""
    (shown,) = blocks("docs/decision-log.md", "text")
    allowed = Entry(0.0, 0.000184, "GET", "api.example.com", "…", Allow(api="shop", route="GET /pets"))
    details = (("token_use_wanted", "access"), ("token_use_found", "id"))
    denied = Deny(reason=Reason.WRONG_TOKEN_USE, api="shop", route="POST /pets", details=details)
    unavailable = Deny(reason=Reason.KEYS_UNAVAILABLE, api="shop", route="GET /pets")
    entries = [
        allowed,
        allowed._replace(seconds=0.000201, method="POST", decision=denied),
        allowed._replace(seconds=0.00009, decision=unavailable),
    ]

    assert [line[12:] for line in shown.splitlines()] == [as_text(entry)[12:].replace(r'"\u2026"', "…") for entry in entries]


def test_every_key_of_the_configuration_is_documented():
    """docs/configuration.md names each key of the JSON Schema."""
    page = (ROOT / "docs/configuration.md").read_text()
    schema = json_schema()
    keys = {key for part in [schema, *schema["$defs"].values()] for key in part.get("properties", {})}

    assert {key for key in keys if f"`{key}`" not in page} == set()


def test_the_faults_in_the_readme_are_rows_of_the_page():
    """README.md shows a few rows of the table in docs/chaos.md, as they stand there, and says how many there are."""
    readme = (ROOT / "README.md").read_text()
    rows, shown = (re.findall(r"^\| .* \|$", text, re.MULTILINE) for text in ((ROOT / "docs/chaos.md").read_text(), block(readme, "chaos")))

    assert len(shown) == 4
    assert set(shown) <= set(rows)
    assert f"`make chaos` lets {len(rows) - 1} faults loose" in readme


def test_make_help_stands_in_columns():
    """Each target has room in the first column, and its line fits a window."""
    targets = re.findall(r"^([a-z-]+):.*## (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert [name for name, _ in targets if len(name) > 16] == []
    assert [what for _, what in targets if len(what) > 98 - 19] == []


def test_every_page_is_found_from_the_readme():
    """README.md links each page of docs/, so that a reader who looks for one sees that it is there."""
    readme = (ROOT / "README.md").read_text()

    assert [page.name for page in ROOT.glob("docs/*.md") if f"](docs/{page.name})" not in readme] == []


def test_code_of_the_readme_fits_its_page():
    """Code is not cut off where README.md is read: GitHub shows some 98 columns beside its contents."""
    code = [
        *re.findall(r"```\w+\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL),
        *re.findall(r"^    .*$", (ROOT / "README.md").read_text(), re.MULTILINE),
    ]

    assert [line for part in code for line in part.splitlines() if len(line) > 98] == []


def test_the_changelog_names_this_version():
    """CHANGELOG.md has an entry for the version of the package."""
    assert f"## {authz_server.__version__}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_sample_configurations_are_yaml():
    """Every YAML file of the project can be read."""
    for file in [*ROOT.glob("deploy/**/*.yaml"), *ROOT.glob("examples/**/*.yaml")]:
        assert list(yaml.safe_load_all(file.read_text()))
