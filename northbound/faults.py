"""What a refusal looks like over HTTP: the one place that knows statuses.

The body is Neutron's, `{"NeutronError": {"type", "message", "detail"}}`; types are the names of its exceptions
(neutron-lib, `exceptions` and `api/faults.py`), since clients choose what to do by them. Whatever Neutron leaves to
its web framework is called by the framework's name, as there: `HTTPBadRequest`.
"""

from __future__ import annotations

import html
import json
from http import HTTPStatus

from controller.errors import (
    AccessExists,
    AccessInUse,
    AddressesPresent,
    AddressInUse,
    AlreadyActive,
    AlreadyAssociated,
    AssociatedByOthers,
    BadAction,
    BadArchive,
    BadIcmp,
    BadPool,
    BadPort,
    BadPortRange,
    BadPrefix,
    BadPrefixes,
    BadRange,
    BadRequest,
    BindingExists,
    BindingFailed,
    CannotAutoAllocate,
    Conflict,
    DefaultExists,
    DefaultExternalExists,
    DefaultKeepsName,
    DefaultRangeStays,
    DefaultRuleExists,
    DefaultStays,
    Exhausted,
    Forbidden,
    ForeignAddress,
    ForeignDevice,
    ForeignPrefix,
    ForeignProtocol,
    ForeignScope,
    FormedAddress,
    ForwardingsRemain,
    GatewayInPool,
    GatewayInUse,
    GroupsRemain,
    HasFloatingIp,
    IdentityUnavailable,
    Inconsistent,
    InterfaceInUseByFloatingIp,
    InterfaceInUseByRoute,
    InUse,
    InvalidRoutes,
    MacInUse,
    ManyGroups,
    ManyPools,
    ManyProjects,
    ManyRemotes,
    ManyScopes,
    MixedStates,
    MtuTooSmall,
    NoAddress,
    NoExternalAddress,
    NoGateway,
    NoGroupsUnguarded,
    NoIcmpType,
    NoInterface,
    NoMac,
    NoPorts,
    NoPrefix,
    NoProject,
    NoProtocol,
    NoSegment,
    NoService,
    NoServiceType,
    NotFound,
    NoTransparency,
    OtherProject,
    OverQuota,
    PairsUnguarded,
    PairWithoutAddress,
    PhysicalInUse,
    PoolHolds,
    PoolOutOfBounds,
    PoolQuotaExceeded,
    PoolsOverlap,
    PoolStays,
    PortForwards,
    PrefixesStay,
    PrefixRefused,
    RangeInUse,
    RangesOverlap,
    RepeatedPair,
    RepeatedRule,
    RouterAddressStays,
    RouterGatewayInUse,
    RuleExists,
    ScopeOverlaps,
    ScopeStaysShared,
    SegmentInUse,
    SegmentsBesides,
    Senseless,
    SharedByOthers,
    SouthboundError,
    StaleRevision,
    SubnetMismatch,
    Throttled,
    TooManyOptions,
    TooManyPairs,
    Unauthorized,
    Unavailable,
    UnknownEthertype,
    UnknownProtocol,
    Unproven,
    UnsupportedOwner,
    VlanInUse,
    WeftError,
)

# The first class that fits decides. A type with braces takes the error's fields; one is misspelt as in Neutron.
# What Neutron overlooked and answers 500 (SubnetAllocationError, PortBindingError) is 409 here.
_FAULTS: tuple[tuple[type[WeftError], HTTPStatus, str], ...] = (
    (Inconsistent, HTTPStatus.BAD_REQUEST, "InvalidInput"),
    (NoTransparency, HTTPStatus.BAD_REQUEST, "VlanTransparencyDriverError"),
    (BadPool, HTTPStatus.BAD_REQUEST, "InvalidAllocationPool"),
    (PoolOutOfBounds, HTTPStatus.BAD_REQUEST, "OutOfBoundsAllocationPool"),
    (UnknownProtocol, HTTPStatus.BAD_REQUEST, "SecurityGroupRuleInvalidProtocol"),
    (UnknownEthertype, HTTPStatus.BAD_REQUEST, "SecurityGroupRuleInvalidEtherType"),
    (BadPort, HTTPStatus.BAD_REQUEST, "SecurityGroupInvalidPortValue"),
    (BadPortRange, HTTPStatus.BAD_REQUEST, "SecurityGroupInvalidPortRange"),
    (NoProtocol, HTTPStatus.BAD_REQUEST, "SecurityGroupProtocolRequiredWithPorts"),
    (NoPorts, HTTPStatus.BAD_REQUEST, "SecurityGroupInvalidProtocolForPort"),
    (BadIcmp, HTTPStatus.BAD_REQUEST, "SecurityGroupInvalidIcmpValue"),
    (NoIcmpType, HTTPStatus.BAD_REQUEST, "SecurityGroupMissingIcmpType"),
    (ForeignProtocol, HTTPStatus.BAD_REQUEST, "SecurityGroupEthertypeConflictWithProtocol"),
    (BadPrefix, HTTPStatus.BAD_REQUEST, "InvalidCIDR"),
    (ForeignPrefix, HTTPStatus.BAD_REQUEST, "SecurityGroupRuleParameterConflict"),
    (ManyRemotes, HTTPStatus.BAD_REQUEST, "SecurityGroupMultipleRemoteEntites"),
    (ManyGroups, HTTPStatus.BAD_REQUEST, "SecurityGroupNotSingleGroupRules"),
    (ManyProjects, HTTPStatus.BAD_REQUEST, "SecurityGroupRulesNotSingleProject"),
    (NoGroupsUnguarded, HTTPStatus.BAD_REQUEST, "PortSecurityAndIPRequiredForSecurityGroups"),
    (PairWithoutAddress, HTTPStatus.BAD_REQUEST, "AllowedAddressPairsMissingIP"),
    (RepeatedPair, HTTPStatus.BAD_REQUEST, "DuplicateAddressPairInRequest"),
    (TooManyPairs, HTTPStatus.BAD_REQUEST, "AllowedAddressPairExhausted"),
    (AddressesPresent, HTTPStatus.BAD_REQUEST, "AddressesAlreadyExist"),
    (Senseless, HTTPStatus.BAD_REQUEST, "BadRequest"),
    (InvalidRoutes, HTTPStatus.BAD_REQUEST, "InvalidRoutes"),
    (SubnetMismatch, HTTPStatus.BAD_REQUEST, "SubnetMismatchForPort"),
    (RouterAddressStays, HTTPStatus.BAD_REQUEST, "IPAddressChangeNotAllowed"),
    (BadPrefixes, HTTPStatus.BAD_REQUEST, "{fault}"),
    (PrefixesStay, HTTPStatus.BAD_REQUEST, "IllegalSubnetPoolPrefixUpdate"),
    (PoolStays, HTTPStatus.BAD_REQUEST, "IllegalSubnetPoolUpdate"),
    (PoolHolds, HTTPStatus.BAD_REQUEST, "SubnetPoolDeleteError"),
    (ForeignScope, HTTPStatus.BAD_REQUEST, "IllegalSubnetPoolAssociationToAddressScope"),
    (ScopeStaysShared, HTTPStatus.BAD_REQUEST, "AddressScopeUpdateError"),
    (PrefixRefused, HTTPStatus.BAD_REQUEST, "PrefixSubnetAllocationError"),
    (ManyPools, HTTPStatus.BAD_REQUEST, "NetworkSubnetPoolAffinityError"),
    (ManyScopes, HTTPStatus.BAD_REQUEST, "NetworkAddressScopeAffinityError"),
    (BadRange, HTTPStatus.BAD_REQUEST, "{fault}"),
    (DefaultRangeStays, HTTPStatus.BAD_REQUEST, "NetworkSegmentRangeDefaultReadOnly"),
    (NoServiceType, HTTPStatus.BAD_REQUEST, "InvalidSubnetServiceType"),
    (NoProject, HTTPStatus.BAD_REQUEST, "QuotaMissingTenant"),
    (BadAction, HTTPStatus.BAD_REQUEST, "InvalidActionForType"),
    (NoExternalAddress, HTTPStatus.BAD_REQUEST, "ExternalIpAddressExhausted"),
    (PortForwards, HTTPStatus.BAD_REQUEST, "PortHasPortForwarding"),
    (SegmentsBesides, HTTPStatus.BAD_REQUEST, "SegmentsSetInConjunctionWithProviders"),
    (FormedAddress, HTTPStatus.BAD_REQUEST, "AllocationOnAutoAddressSubnet"),
    (TooManyOptions, HTTPStatus.BAD_REQUEST, "Exhausted"),
    (BadRequest, HTTPStatus.BAD_REQUEST, "HTTPBadRequest"),
    (NoInterface, HTTPStatus.NOT_FOUND, "RouterInterfaceNotFound"),
    (NotFound, HTTPStatus.NOT_FOUND, "{kind}NotFound"),
    (AddressInUse, HTTPStatus.CONFLICT, "IpAddressAlreadyAllocated"),
    (MacInUse, HTTPStatus.CONFLICT, "MacAddressInUse"),
    (SegmentInUse, HTTPStatus.CONFLICT, "TunnelIdInUse"),
    (VlanInUse, HTTPStatus.CONFLICT, "VlanIdInUse"),
    (PhysicalInUse, HTTPStatus.CONFLICT, "FlatNetworkInUse"),
    (GatewayInPool, HTTPStatus.CONFLICT, "GatewayConflictWithAllocationPools"),
    (RangeInUse, HTTPStatus.CONFLICT, "NetworkSegmentRangeReferencedByProject"),
    (DefaultStays, HTTPStatus.CONFLICT, "SecurityGroupCannotRemoveDefault"),
    (DefaultKeepsName, HTTPStatus.CONFLICT, "SecurityGroupCannotUpdateDefault"),
    (DefaultExists, HTTPStatus.CONFLICT, "SecurityGroupDefaultAlreadyExists"),
    (DefaultRuleExists, HTTPStatus.CONFLICT, "DefaultSecurityGroupRuleExists"),
    (RuleExists, HTTPStatus.CONFLICT, "SecurityGroupRuleExists"),
    (RepeatedRule, HTTPStatus.CONFLICT, "DuplicateSecurityGroupRuleInPost"),
    (GroupsRemain, HTTPStatus.CONFLICT, "PortSecurityPortHasSecurityGroup"),
    (InterfaceInUseByRoute, HTTPStatus.CONFLICT, "RouterInterfaceInUseByRoute"),
    (GatewayInUse, HTTPStatus.CONFLICT, "GatewayIpInUse"),
    (InterfaceInUseByFloatingIp, HTTPStatus.CONFLICT, "RouterInterfaceInUseByFloatingIP"),
    (RouterGatewayInUse, HTTPStatus.CONFLICT, "RouterExternalGatewayInUseByFloatingIp"),
    (AlreadyAssociated, HTTPStatus.CONFLICT, "FloatingIPPortAlreadyAssociated"),
    (AssociatedByOthers, HTTPStatus.CONFLICT, "FipAssociated"),
    (ForwardingsRemain, HTTPStatus.CONFLICT, "FipInUseByPortForwarding"),
    (HasFloatingIp, HTTPStatus.CONFLICT, "PortHasBindingFloatingIP"),
    (InUse, HTTPStatus.CONFLICT, "{kind}InUse"),
    (StaleRevision, HTTPStatus.PRECONDITION_FAILED, "RevisionNumberConstraintFailed"),
    (PoolsOverlap, HTTPStatus.CONFLICT, "OverlappingAllocationPools"),
    (MtuTooSmall, HTTPStatus.CONFLICT, "NetworkMTUSubnetConflict"),
    (SharedByOthers, HTTPStatus.CONFLICT, "InvalidSharedSetting"),
    (MixedStates, HTTPStatus.CONFLICT, "SecurityGroupConflict"),
    (PairsUnguarded, HTTPStatus.CONFLICT, "AddressPairAndPortSecurityRequired"),
    (ForeignDevice, HTTPStatus.CONFLICT, "DeviceIDNotOwnedByTenant"),
    (UnsupportedOwner, HTTPStatus.CONFLICT, "UnsupportedPortDeviceOwner"),
    (CannotAutoAllocate, HTTPStatus.CONFLICT, "AutoAllocationFailure"),
    (BindingExists, HTTPStatus.CONFLICT, "PortBindingAlreadyExists"),
    (AlreadyActive, HTTPStatus.CONFLICT, "PortBindingAlreadyActive"),
    (BindingFailed, HTTPStatus.CONFLICT, "PortBindingError"),
    (AccessExists, HTTPStatus.CONFLICT, "DuplicateRbacPolicy"),
    (AccessInUse, HTTPStatus.CONFLICT, "RbacPolicyInUse"),
    (NoGateway, HTTPStatus.CONFLICT, "FloatingIPRouterConflict"),
    (RangesOverlap, HTTPStatus.CONFLICT, "NetworkSegmentRangeOverlaps"),
    (ScopeOverlaps, HTTPStatus.CONFLICT, "AddressScopePrefixConflict"),
    (PoolQuotaExceeded, HTTPStatus.CONFLICT, "SubnetPoolQuotaExceeded"),
    (OverQuota, HTTPStatus.CONFLICT, "OverQuota"),
    (NoPrefix, HTTPStatus.CONFLICT, "SubnetAllocationError"),
    (DefaultExternalExists, HTTPStatus.CONFLICT, "DefaultExternalNetworkExists"),
    (NoService, HTTPStatus.CONFLICT, "IpAddressGenerationFailureNoMatchingSubnet"),
    (NoAddress, HTTPStatus.CONFLICT, "IpAddressGenerationFailure"),
    (NoSegment, HTTPStatus.SERVICE_UNAVAILABLE, "NoNetworkAvailable"),
    (NoMac, HTTPStatus.SERVICE_UNAVAILABLE, "NetworkMacAddressGenerationFailure"),
    (Exhausted, HTTPStatus.SERVICE_UNAVAILABLE, "ResourceExhausted"),
    (Conflict, HTTPStatus.CONFLICT, "Conflict"),
    (Unavailable, HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable"),
    (Unproven, HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable"),
    (IdentityUnavailable, HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable"),
    (BadArchive, HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable"),
    (SouthboundError, HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable"),
    (Unauthorized, HTTPStatus.UNAUTHORIZED, "Unauthorized"),
    (Forbidden, HTTPStatus.FORBIDDEN, "PolicyNotAuthorized"),
    (Throttled, HTTPStatus.TOO_MANY_REQUESTS, "HTTPTooManyRequests"),
    (OtherProject, HTTPStatus.BAD_REQUEST, "HTTPBadRequest"),
)

_FRAMEWORK = {
    HTTPStatus.BAD_REQUEST: ("HTTPBadRequest", "The request cannot be understood."),
    HTTPStatus.NOT_FOUND: ("HTTPNotFound", "The resource could not be found."),
    HTTPStatus.METHOD_NOT_ALLOWED: ("HTTPMethodNotAllowed", "The method is not allowed for this resource."),
    HTTPStatus.REQUEST_TIMEOUT: ("HTTPRequestTimeout", "The request took too long to arrive."),
    HTTPStatus.SERVICE_UNAVAILABLE: ("ServiceUnavailable", "Too many clients are connected: try again."),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("HTTPRequestEntityTooLarge", "The request body is too large."),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: (
        "HTTPUnsupportedMediaType",
        "Only JSON is understood: send Content-Type: application/json.",
    ),
}

INTERNAL = "Request Failed: internal server error while processing your request."


def fault(error: WeftError) -> tuple[HTTPStatus, bytes]:
    """The status and body that tell `error`."""
    for kind, status, name in _FAULTS:
        if isinstance(error, kind):
            return status, _body(_name(error, name), _message(error))
    return HTTPStatus.INTERNAL_SERVER_ERROR, _body("HTTPInternalServerError", INTERNAL)


def _name(error: WeftError, name: str) -> str:
    if isinstance(error, NoInterface):
        return "RouterInterfaceNotFound" if error.port else "RouterInterfaceNotFoundForSubnet"
    if isinstance(error, ForeignAddress):
        return "InvalidIpForNetwork" if error.subnet is None else "InvalidIpForSubnet"
    if isinstance(error, ForeignScope) and error.version is not None:
        return "IllegalSubnetPoolIpVersionAssociationToAddressScope"
    if isinstance(error, NoServiceType) and not error.text:
        return "InvalidInputSubnetServiceType"
    if isinstance(error, TooManyOptions):
        return "HostRoutesExhausted" if "routes" in error.what else "DNSNameServersExhausted"
    if isinstance(error, PrefixRefused):
        return f"{error.bound[:3].capitalize()}{name}"
    kind = getattr(error, "kind", "").replace("FloatingIp", "FloatingIP")
    return name.format_map({"kind": kind, "fault": getattr(error, "fault", "")})


def _message(error: WeftError) -> str:
    if isinstance(error, StaleRevision):
        return f"Constrained to {error.expected}, but current revision is {error.found}"
    return str(error)


def unauthorized() -> bytes:
    """The body of 401, which is keystonemiddleware's and not Neutron's."""
    said = {"code": 401, "title": "Unauthorized", "message": str(Unauthorized())}
    return json.dumps({"error": said}).encode()


def plain(status: int) -> bytes:
    """The body of a refusal that comes from HTTP itself: an unknown path, a method, a size."""
    name, message = _FRAMEWORK.get(HTTPStatus(status), ("HTTPError", HTTPStatus(status).phrase))
    return _body(name, message)


def phrase(status: int) -> str:
    """What HTTP calls a status."""
    return HTTPStatus(status).phrase


def no_extension(alias: str, accept: str) -> tuple[str, bytes]:
    """The content type and body for an extension that is not here, which Neutron leaves to WebOb: HTML, unless JSON
    alone is accepted."""
    if "application/json" in accept and "text/html" not in accept:
        said = {"message": _NO_EXTENSION.format(alias), "code": _NOT_FOUND, "title": "Not Found"}
        return "application/json", json.dumps(said).encode()
    page = _PAGE.format(title=_NOT_FOUND, told=_NO_EXTENSION.format(html.escape(alias)))
    return "text/html; charset=UTF-8", page.encode()


_NOT_FOUND = "404 Not Found"
_NO_EXTENSION = "The resource could not be found.<br /><br />\nExtension with alias {} does not exist\n\n"
_PAGE = """<html>
 <head>
  <title>{title}</title>
 </head>
 <body>
  <h1>{title}</h1>
  {told}
 </body>
</html>"""


def internal() -> bytes:
    """The body of an error that nobody foresaw: its details stay in the log."""
    return _body("HTTPInternalServerError", INTERNAL)


def _body(name: str, message: str) -> bytes:
    return json.dumps({"NeutronError": {"type": name, "message": message, "detail": ""}}).encode()
