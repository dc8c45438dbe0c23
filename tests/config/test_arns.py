"""ARNs: a wrong one is told by the part that is wrong."""

import pytest

from authz_server.config import arns

ARN = "arn:aws:cognito-idp:eu-west-1:111122223333:userpool/eu-west-1_Home00001"
FORM = ", expected arn:{partition}:cognito-idp:{region}:{account}:userpool/{poolId}"
END = "expected userpool/{poolId} with a pool id such as eu-west-1_Ab1Cd2Ef3"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("x", FORM),
        ("eu-west-1_Home00001", " but a pool id; its ARN is arn:aws:cognito-idp:eu-west-1:{account}:userpool/eu-west-1_Home00001"),
        ("arn:aws:cognito-idp:eu-west-1:userpool/eu-west-1_Home00001", FORM),
        ("aws:cognito-idp:eu-west-1:111122223333:userpool/eu-west-1_Home00001:x", FORM),
        (f"{ARN}:x", f": its end is 'userpool/eu-west-1_Home00001:x', {END}"),
        (
            "arn:aws-gov:cognito-idp:eu-west-1:111122223333:userpool/eu-west-1_Home00001",
            ": partition 'aws-gov' has no user pools, expected one of aws, aws-us-gov, aws-cn, aws-eusc; did you mean 'aws-us-gov'?",
        ),
        (
            "arn:aws:cognito-identity:eu-west-1:111122223333:identitypool/eu-west-1:0f6b",
            ": the service is 'cognito-identity', expected 'cognito-idp'",
        ),
        (
            "arn:aws:cognito-identity:eu-west-1:111122223333:userpool/eu-west-1_Home00001",
            ": the service is 'cognito-identity', expected 'cognito-idp'",
        ),
        ("arn:aws:cognito-idp::111122223333:userpool/eu-west-1_Home00001", ": the region is '', expected one such as 'eu-west-1'"),
        (
            "arn:aws:cognito-idp:local:local:userpool/local_4NLSbbMY",
            ": the account is 'local', expected twelve digits; for a pool of an emulator they can be made up, such as 000000000000",
        ),
        (
            "arn:aws:cognito-idp:eu-west-1:111122223333:userpools/eu-west-1_Home00001",
            f": its end is 'userpools/eu-west-1_Home00001', {END}",
        ),
        ("arn:aws:cognito-idp:eu-west-1:111122223333:userpool/eu-west-1", f": its end is 'userpool/eu-west-1', {END}"),
    ],
)
def test_the_part_that_is_wrong(text, fault):
    """The message names one part, what stands there and what was expected."""
    with pytest.raises(ValueError, match="is no user pool ARN") as error:
        arns.parse(text)

    assert str(error.value) == f"{text!r} is no user pool ARN{fault}"


def test_a_very_long_text_is_shortened():
    """A message does not repeat whatever length of text somebody pasted."""
    with pytest.raises(ValueError, match="is no user pool ARN") as error:
        arns.parse("x" * 5_000)

    assert len(str(error.value)) < 300


def test_an_account_may_be_made_up():
    """With it the ARN of an emulator's pool is right."""
    assert arns.parse("arn:aws:cognito-idp:local:000000000000:userpool/local_4NLSbbMY").pool_id == "local_4NLSbbMY"
