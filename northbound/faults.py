"""What a refusal looks like over HTTP: the one place that knows statuses.

The body is Neutron's, `{"NeutronError": {"type", "message", "detail"}}`; types are the names of its exceptions
(neutron-lib, `exceptions` and `api/faults.py`), since clients choose what to do by them. Whatever Neutron leaves to
its web framework is called by the framework's name, as there: `HTTPBadRequest`.
"""

from __future__ import annotations

import json
from http import HTTPStatus

from controller.errors import (
    AddressesPresent,
    AddressInUse,
    AlreadyAssociated,
    AssociatedByOthers,
    BadIcmp,
    BadPool,
    BadPort,
    BadPortRange,
    BadPrefix,
    BadRequest,
    Conflict,
    DefaultExists,
    DefaultExternalExists,
    DefaultKeepsName,
    DefaultStays,
    Exhausted,
    Forbidden,
    ForeignAddress,
    ForeignDevice,
    ForeignPrefix,
    ForeignProtocol,
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
    ManyProjects,
    ManyRemotes,
    MixedStates,
    MtuTooSmall,
    NoAddress,
    NoExternalAddress,
    NoGroupsUnguarded,
    NoIcmpType,
    NoInterface,
    NoMac,
    NoPorts,
    NoProtocol,
    NoSegment,
    NotFound,
    NoTransparency,
    OtherProject,
    PairsUnguarded,
    PairWithoutAddress,
    PhysicalInUse,
    PoolOutOfBounds,
    PoolsOverlap,
    PortForwards,
    RepeatedPair,
    RepeatedRule,
    RouterAddressStays,
    RouterGatewayInUse,
    RuleExists,
    SegmentInUse,
    Senseless,
    SharedByOthers,
    StaleRevision,
    SubnetMismatch,
    Throttled,
    TooManyPairs,
    TooManyRoutes,
    Unauthorized,
    Unavailable,
    UnknownEthertype,
    UnknownProtocol,
    UnsupportedOwner,
    VlanInUse,
    WeftError,
)

# The first class that fits decides. A type with braces takes the error's fields; one is misspelt as in Neutron.
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
    (NoExternalAddress, HTTPStatus.BAD_REQUEST, "ExternalIpAddressExhausted"),
    (PortForwards, HTTPStatus.BAD_REQUEST, "PortHasPortForwarding"),
    (BadRequest, HTTPStatus.BAD_REQUEST, "HTTPBadRequest"),
    (NoInterface, HTTPStatus.NOT_FOUND, "RouterInterfaceNotFound"),
    (NotFound, HTTPStatus.NOT_FOUND, "{kind}NotFound"),
    (AddressInUse, HTTPStatus.CONFLICT, "IpAddressInUse"),
    (MacInUse, HTTPStatus.CONFLICT, "MacAddressInUse"),
    (SegmentInUse, HTTPStatus.CONFLICT, "TunnelIdInUse"),
    (VlanInUse, HTTPStatus.CONFLICT, "VlanIdInUse"),
    (PhysicalInUse, HTTPStatus.CONFLICT, "FlatNetworkInUse"),
    (GatewayInPool, HTTPStatus.CONFLICT, "GatewayConflictWithAllocationPools"),
    (DefaultStays, HTTPStatus.CONFLICT, "SecurityGroupCannotRemoveDefault"),
    (DefaultKeepsName, HTTPStatus.CONFLICT, "SecurityGroupCannotUpdateDefault"),
    (DefaultExists, HTTPStatus.CONFLICT, "SecurityGroupDefaultAlreadyExists"),
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
    (DefaultExternalExists, HTTPStatus.CONFLICT, "DefaultExternalNetworkExists"),
    (TooManyRoutes, HTTPStatus.CONFLICT, "OverQuota"),
    (NoAddress, HTTPStatus.CONFLICT, "IpAddressGenerationFailure"),
    (NoSegment, HTTPStatus.SERVICE_UNAVAILABLE, "NoNetworkAvailable"),
    (NoMac, HTTPStatus.SERVICE_UNAVAILABLE, "NetworkMacAddressGenerationFailure"),
    (Exhausted, HTTPStatus.SERVICE_UNAVAILABLE, "ResourceExhausted"),
    (Conflict, HTTPStatus.CONFLICT, "Conflict"),
    (Unavailable, HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable"),
    (IdentityUnavailable, HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable"),
    (Unauthorized, HTTPStatus.UNAUTHORIZED, "Unauthorized"),
    (Forbidden, HTTPStatus.FORBIDDEN, "PolicyNotAuthorized"),
    (Throttled, HTTPStatus.TOO_MANY_REQUESTS, "HTTPTooManyRequests"),
    (OtherProject, HTTPStatus.BAD_REQUEST, "HTTPBadRequest"),
)

_FRAMEWORK = {
    HTTPStatus.BAD_REQUEST: ("HTTPBadRequest", "The request cannot be understood."),
    HTTPStatus.NOT_FOUND: ("HTTPNotFound", "The resource could not be found."),
    HTTPStatus.METHOD_NOT_ALLOWED: ("HTTPMethodNotAllowed", "The method is not allowed for this resource."),
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
    return name.format_map({"kind": getattr(error, "kind", "").replace("FloatingIp", "FloatingIP")})


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


def internal() -> bytes:
    """The body of an error that nobody foresaw: its details stay in the log."""
    return _body("HTTPInternalServerError", INTERNAL)


def _body(name: str, message: str) -> bytes:
    return json.dumps({"NeutronError": {"type": name, "message": message, "detail": ""}}).encode()
