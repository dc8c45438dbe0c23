"""ARNs of user pools, and which part of a wrong one is wrong."""

import re
from typing import Final

from authz_server.config.problems import did_you_mean, show
from authz_server.core.user_pools import SUFFIXES, Arn, parse_arn

_FORM: Final = "arn:{partition}:cognito-idp:{region}:{account}:userpool/{poolId}"
_POOL_ID: Final = re.compile(r"(([a-z]+-)+[0-9]+)_[0-9A-Za-z]+")
_ACCOUNT: Final = "expected twelve digits; for a pool of an emulator they can be made up, such as 000000000000"
_PARTS: Final = 6
_LONGEST: Final = 160


def parse(text: str) -> Arn:
    """Read the ARN of a user pool.

    Args:
        text: without variables.

    Returns:
        Its parts.

    Raises:
        ValueError: with the part that is wrong, and what was expected there.
    """
    try:
        return parse_arn(text)
    except ValueError:
        raise ValueError(f"{show(text, _LONGEST)} is no user pool ARN{_fault(text)}") from None


def _fault(text: str) -> str:
    pool_id = _POOL_ID.fullmatch(text)
    if pool_id is not None:
        return f" but a pool id; its ARN is arn:aws:cognito-idp:{pool_id[1]}:{{account}}:userpool/{text}"
    parts = text.split(":", _PARTS - 1)
    if parts[0] != "arn" or len(parts) != _PARTS:
        return f", expected {_FORM}"
    _, partition, service, region, account, resource = parts
    partitions = ", ".join(SUFFIXES) + did_you_mean(partition, SUFFIXES)
    faults = {
        f"partition {partition!r} has no user pools, expected one of {partitions}": partition not in SUFFIXES,
        f"the service is {service!r}, expected 'cognito-idp'": service != "cognito-idp",
        f"the region is {region!r}, expected one such as 'eu-west-1'": not re.fullmatch("[a-z0-9-]+", region),
        f"the account is {account!r}, {_ACCOUNT}": not re.fullmatch("[0-9]{12}", account),
        f"its end is {show(resource)}, expected userpool/{{poolId}} with a pool id such as eu-west-1_Ab1Cd2Ef3": True,
    }
    return ": " + next(fault for fault, is_so in faults.items() if is_so)
