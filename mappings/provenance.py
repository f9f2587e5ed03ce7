"""What a source tells of its own place: of what it was made, where it stands there, what bills it. Nobody misses it.

A fact that a guest may see, or that an owner has asked for (encryption, a tenancy, a rate), is none of these.
"""

from __future__ import annotations

import re

from kubeferry.model import SourceFact

_EC2 = "VirtualizationType|RootDeviceType|Platform|PlatformDetails|UsageOperation|ImageId|Hypervisor|VpcId"
_OF_THE_PLACE = re.compile(
    rf"ec2/(?:{_EC2})|disk\[[^\]]*\]/changeTracking|EulaSection/.*"
    r"|ProductSection(?:/(?:Product|Vendor|Version|FullVersion|ProductUrl|VendorUrl))?"
    r"|DeploymentOptionSection/Configuration\[[^\]]*\]/(?:Label|Description)"
)


def is_of_the_place(fact: SourceFact) -> bool:
    """Whether a fact without a word of ours tells of the source alone."""
    return _OF_THE_PLACE.fullmatch(fact.path) is not None
