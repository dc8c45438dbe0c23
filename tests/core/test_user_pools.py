"""User pools: what an ARN says."""

import pytest

from authz_server.core.user_pools import Arn, KeySettings, parse_arn


def arn(partition: str = "aws", region: str = "eu-west-1", pool_id: str = "eu-west-1_Ab1Cd2Ef3") -> str:
    """Write the ARN of a user pool."""
    return f"arn:{partition}:cognito-idp:{region}:111122223333:userpool/{pool_id}"


@pytest.mark.parametrize(
    ("partition", "region", "issuer"),
    [
        ("aws", "eu-west-1", "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab1Cd2Ef3"),
        ("aws-us-gov", "us-gov-west-1", "https://cognito-idp.us-gov-west-1.amazonaws.com/us-gov-west-1_Ab1Cd2Ef3"),
        ("aws-cn", "cn-north-1", "https://cognito-idp.cn-north-1.amazonaws.com.cn/cn-north-1_Ab1Cd2Ef3"),
        ("aws-eusc", "eusc-de-east-1", "https://cognito-idp.eusc-de-east-1.amazonaws.eu/eusc-de-east-1_Ab1Cd2Ef3"),
    ],
)
def test_the_issuer_follows_from_the_arn(partition, region, issuer):
    """Partition, region and pool id of the ARN make the issuer."""
    parsed = parse_arn(arn(partition, region, f"{region}_Ab1Cd2Ef3"))

    assert parsed.issuers == (issuer,)
    assert parsed.jwks == f"{issuer}/.well-known/jwks.json"


def test_a_replica_issues_under_the_primary_region_and_formerly_under_its_own():
    """Tokens of a replica name the region of the pool id, older ones that of the ARN; its keys are fetched from the ARN's region."""
    replica = parse_arn(arn(region="us-west-2"))

    assert replica == Arn(partition="aws", region="us-west-2", pool_id="eu-west-1_Ab1Cd2Ef3")
    assert replica.issuers == (
        "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab1Cd2Ef3",
        "https://cognito-idp.us-west-2.amazonaws.com/eu-west-1_Ab1Cd2Ef3",
    )
    assert replica.jwks == "https://cognito-idp.us-west-2.amazonaws.com/eu-west-1_Ab1Cd2Ef3/.well-known/jwks.json"
    assert replica.updated_issuer == "https://issuer-cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab1Cd2Ef3"


@pytest.mark.parametrize("pool_id", ["eu-west-1_" + "a" * 45, "a_b_c", "a_1"])
def test_pool_ids_are_cognitos(pool_id):
    """A pool id has word characters and hyphens, an underscore, letters and digits, and 55 characters at most."""
    assert parse_arn(arn(pool_id=pool_id)).pool_id == pool_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "eu-west-1_Ab1Cd2Ef3",
        arn() + "\n",
        arn() + "/client/x",
        arn(pool_id="eu-west-1_" + "a" * 46),
        arn(pool_id="eu-west-1"),
        arn(pool_id="eu-west-1_"),
        arn(pool_id="eu-west-1_é"),
        arn(pool_id="../eu-west-1_a"),
        arn(region=""),
        arn(region="eu.west"),
        arn(region="evil.example/"),
        arn().replace("111122223333", "11112222333"),
        arn().replace("111122223333", "١١١١٢٢٢٢٣٣٣٣"),
        arn().replace("cognito-idp", "cognito-identity"),
        arn().replace("userpool", "UserPool"),
        arn(pool_id="${stageVariables.Pool}"),
    ],
)
def test_what_is_no_user_pool_arn_is_refused(text):
    """Anything but the ARN of a user pool is refused with the form that was expected."""
    with pytest.raises(ValueError, match="is no user pool ARN") as error:
        parse_arn(text)

    assert (
        str(error.value)
        == f"{text!r} is no user pool ARN, expected arn:{{partition}}:cognito-idp:{{region}}:{{account}}:userpool/{{poolId}}"
    )


def test_a_partition_without_user_pools_is_refused():
    """A partition whose issuers are not known is refused, not guessed."""
    with pytest.raises(ValueError, match="partition 'aws-iso' has no user pools, expected one of aws, aws-us-gov, aws-cn, aws-eusc"):
        parse_arn(arn("aws-iso"))


def test_keys_are_kept_for_a_day_unless_somebody_says_otherwise():
    """The default of the stale ceiling is 24 hours, and no CA of its own."""
    assert KeySettings() == KeySettings(stale_ceiling=24 * 3_600, ca_file=None)
