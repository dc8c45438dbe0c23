"""The bill of materials of a wheel, in CycloneDX: what the server runs with, each with its version, licence and hashes."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import Message
from hashlib import sha256
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from supply_chain.licences import Policy
from supply_chain.locks import Pin, read


def bill(wheel: Path, lock: Path, metadata: Mapping[Pin, Message], when: int, extras: tuple[str, ...] = ("fast", "redis")) -> str:
    """Write the bill of materials.

    Args:
        wheel: of this package.
        lock: what it runs with.
        metadata: of what is installed, this package included; a part for another Python is not.
        when: Unix time that the bill bears.
        extras: of this package, whose dependencies the lock has.

    Returns:
        JSON, the same for the same wheel, lock and time.

    Source: CycloneDX 1.6.
    """
    (own,) = [pin for pin in metadata if pin.name == "authz-server"]
    hashes = read(lock)
    policy = Policy.load()
    parts = {pin.name: _component(pin, policy.licence(pin, metadata.get(pin)), hashes[pin]) for pin in hashes}
    digest = sha256(wheel.read_bytes()).hexdigest()
    product = _component(own, policy.licence(own, metadata[own]), [])
    product.type = ComponentType.APPLICATION
    product.hashes = [HashType(alg=HashAlgorithm.SHA_256, content=digest)]
    bom = Bom(components=parts.values(), serial_number=uuid5(NAMESPACE_URL, f"sha256:{digest}:{lock.read_text()}"))
    bom.metadata.component = product
    bom.metadata.timestamp = datetime.fromtimestamp(when, UTC)
    for pin, component, chosen in [(own, product, extras), *((pin, parts[pin.name], ()) for pin in hashes)]:
        needed = [parts[name] for name in _needs(metadata.get(pin, Message()), chosen) if name in parts]
        bom.dependencies.add(Dependency(component.bom_ref, [Dependency(part.bom_ref) for part in needed]))
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _component(pin: Pin, licence: str | None, hashes: list[str]) -> Component:
    url = PackageURL("pypi", name=pin.name, version=pin.version)
    files = [HashType(alg=HashAlgorithm.SHA_256, content=each) for each in hashes]
    where = ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(str(url)), hashes=files)
    return Component(
        type=ComponentType.LIBRARY,
        name=pin.name,
        version=pin.version,
        bom_ref=str(url),
        purl=url,
        licenses=[LicenseFactory().make_from_string(licence)] if licence else (),
        external_references=[where] if hashes else (),
    )


def _needs(metadata: Message, extras: tuple[str, ...]) -> list[str]:
    """Name what a package needs on some Python, with some of its extras."""
    wanted = map(Requirement, metadata.get_all("Requires-Dist", []))
    return [
        canonicalize_name(each.name)
        for each in wanted
        if "extra" not in str(each.marker) or any(each.marker.evaluate({"extra": extra}) for extra in ("", *extras))
    ]
