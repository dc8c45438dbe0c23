"""Variables: `${NAME}` of the environment, and stage variables."""

import pytest

from authz_server.config.variables import fill, has_stage_variables, named, substitute

ENVIRONMENT = {"HOST": "example.com", "EMPTY": "", "NESTED": "${HOST}", "BROKEN": "\udcff", "LINES": "a\nb"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${HOST}", "example.com"),
        ("https://${HOST}/${HOST}", "https://example.com/example.com"),
        ("a${EMPTY}b", "ab"),
        ("${NESTED}", "${HOST}"),
        ("${LINES}", "a\nb"),
        ("$${HOST}", "${HOST}"),
        ("$$${HOST}", "$${HOST}"),
        ("$HOST $ {HOST} }", "$HOST $ {HOST} }"),
        ("$${a$${b}", "${a${b}"),
    ],
)
def test_variables_are_replaced_once(text, value):
    """`${NAME}` becomes what the environment holds, whatever that looks like; `$${` is a literal `${`."""
    assert substitute(text, ENVIRONMENT, staged=False) == (value, [])


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("${HOTS}", ["environment variable 'HOTS' is not set; did you mean 'HOST'?"]),
        ("${ZZZZ}${QQQQ}", ["environment variable 'ZZZZ' is not set", "environment variable 'QQQQ' is not set"]),
        ("${BROKEN}", ["environment variable 'BROKEN' does not hold UTF-8"]),
        *(
            (text, [f"{text!r} is no variable, expected ${{NAME}} of A-Z, 0-9 and _; a literal ${{ is written $${{"])
            for text in ("${host}", "${}", "${9A}", "${A-B}", "${stageVariables.}", "${stageVariables.a-b}", "${HOST", "${stageVariables.a")
        ),
        ("${stageVariables.Pool}", ["'${stageVariables.Pool}' is out of place, stage variables are for provider_arns only"]),
    ],
)
def test_what_is_no_variable_is_told(text, wrong):
    """A variable that is not set or not text, and any other `${`, is a problem; all of a scalar are told."""
    assert substitute(text, ENVIRONMENT, staged=False)[1] == wrong


def test_the_variables_that_a_text_refers_to_are_known():
    """Each once; stage variables and literal texts are none."""
    assert named("${HOST}/${PORT}/${HOST}/${stageVariables.Pool}/$${OTHER}/${lower}") == {"HOST", "PORT"}


def test_stage_variables_are_kept_where_they_may_stand():
    """The environment is filled in at once, stage variables stay for each api."""
    assert substitute("${HOST}/${stageVariables.Pool}", ENVIRONMENT, staged=True) == ("example.com/${stageVariables.Pool}", [])


def test_stage_variables_are_filled_in_once():
    """A stage variable becomes what the api says, whatever that looks like."""
    assert has_stage_variables("a/${stageVariables.A}")
    assert fill("${stageVariables.A}/${stageVariables.B}", {"A": "${stageVariables.B}", "B": "b"}) == "${stageVariables.B}/b"


def test_text_without_stage_variables_is_left_alone():
    """Other text is not waiting for a stage."""
    assert not has_stage_variables("${HOST}")
    assert fill("${HOST}", {}) == "${HOST}"


@pytest.mark.parametrize(
    ("stage_variables", "message"),
    [
        ({"Pools": "x"}, "stage variable 'Pool' is not defined, expected Pools; did you mean 'Pools'?"),
        ({}, "stage variable 'Pool' is not defined, there are none"),
    ],
)
def test_an_unknown_stage_variable_is_told(stage_variables, message):
    """A stage variable that the api lacks is refused with a guess."""
    with pytest.raises(ValueError, match="stage variable") as error:
        fill("${stageVariables.Pool}", stage_variables)

    assert str(error.value) == message
