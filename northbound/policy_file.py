"""`weft serve --policy FILE`: rules in place of those of the table, in the language of oslo.policy.

    create_network: "role:network_admin or rule:admin_only"
    delete_port: "rule:admin_or_owner and not role:intern"
    get_port:binding:host_id: "role:operator"
    mine: "project_id:%(project_id)s"            # a name of the operator's own, for `rule:mine`

A rule is words joined by `not`, `and`, `or` and parentheses, in that order of strength:

    @, !                        everybody, nobody; nothing at all is everybody, too
    role:NAME                   the caller has the role, or one that brings it
    rule:NAME                   as another rule of the file, the table or `BASES` says
    project_id:%(project_id)s   the caller speaks for the project whose the target is; `network:project_id` and
                                `security_group:project_id` are whose its network, or its group, is
    project_id:ID, user_id:ID   who the caller is
    field:KIND:NAME=VALUE       the target's attribute; `~` before the value makes it a regular expression

`tenant_id` is an old word for `project_id`. What a reader sees of an attribute (`get_KIND:ATTRIBUTE`) is the same for
all records, so these rules may speak of the caller alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from controller.errors import Invalid
from northbound import policy
from northbound.auth import Caller
from northbound.policy import RULES, SEEN, Policy, Rule, Target, subject
from northbound.resources import COLLECTIONS

BASES: Mapping[str, Rule] = {
    "context_is_admin": policy.ADMIN,
    "admin_only": policy.ADMIN,
    "owner": policy.owner("reader"),
    "admin_or_owner": policy.OWN,
    "network_owner": policy.network_owner("reader"),
    "admin_or_network_owner": policy.either(policy.ADMIN, policy.network_owner("reader")),
    "admin_owner_or_network_owner": policy.either(policy.OWN, policy.network_owner("reader")),
    "sg_owner": policy.group_owner("reader"),
    "admin_or_sg_owner": policy.either(policy.ADMIN, policy.group_owner("reader")),
    "service_api": policy.SERVICE,
    "ext_parent_owner": policy.owner("reader"),
    "shared": policy.shared_network,
    **{
        f"shared_{name}": policy.shared
        for name in ("address_groups", "address_scopes", "security_group", "subnetpools")
    },
    "external": lambda _, target: target.network is not None and target.network.external,
    "external_network": policy.external_network,
    "network_device": lambda caller, target: not policy.guest(caller, target),
    "context_is_advsvc": policy.role("advsvc"),
    "regular_user": lambda *_: True,
}
"""The names that Neutron's own rules are made of (neutron, `conf/policies/base.py`)."""

_OF_CALLERS = frozenset({"admin_only", "context_is_admin", "context_is_advsvc", "service_api", "regular_user"})

_OWNERS: Mapping[str, Callable[[str], Rule]] = {
    "": policy.owner,
    "network:": policy.network_owner,
    "security_group:": policy.group_owner,
    "ext_parent:": policy.owner,
}

_TOKEN = re.compile(r"\s*([()]|[^\s()]+(?:\([^)]*\)s)?)")
_OWNER = re.compile(r"%\((|network:|security_group:|ext_parent:)(?:project|tenant)_id\)s")
_VERBS = ("create", "update", "get")


@dataclass(frozen=True, slots=True)
class Check:
    """A rule as it was read. `of_target` is whether it asks about more than the caller."""

    rule: Rule
    of_target: bool = False


def read_policy(path: Path) -> Policy:
    """The table as a file changes it. Raises Invalid, which says what is wrong in the file."""
    try:
        found = yaml.safe_load(path.read_text())
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise Invalid("policy", f"{path} cannot be read: {error}") from error
    if found is None:
        found = {}
    if not isinstance(found, dict) or not all(isinstance(each, str) for pair in found.items() for each in pair):
        raise Invalid("policy", f'{path} needs lines of NAME: "RULE"')
    book = _Book(path, found)
    checks = {name: book.check(name) for name in found}
    for name, check in checks.items():
        if not _is_known(name) and name not in book.named:
            raise Invalid("policy", f"{path}: nothing is called '{name}', and no rule of the file names it")
        if name.startswith("get_") and ":" in name and check.of_target:
            raise Invalid("policy", f"{path}: '{name}' can only speak of the caller, not of what it looks at")
    return Policy({name: check.rule for name, check in checks.items()})


def _is_known(name: str) -> bool:
    if name in RULES or name in SEEN:
        return True
    action, colon, attribute = name.partition(":")
    for each in COLLECTIONS if colon else ():
        if action in {f"{verb}_{subject(each)}" for verb in _VERBS}:
            return any(attribute == known or attribute.startswith(f"{known}:") for known in each.table)
    return False


@dataclass(slots=True)
class _Book:
    """The lines of a file. A rule that leads back to itself is refused."""

    path: Path
    lines: Mapping[str, str]
    named: set[str] = field(default_factory=set)
    _open: list[str] = field(default_factory=list)
    _tokens: Iterator[str] = field(default_factory=lambda: iter(()))
    _next: str = ""

    def check(self, name: str) -> Check:
        """The rule of a line. Raises Invalid."""
        if name in self._open:
            raise self._refused(f"leads back to itself by {' and '.join(self._open)}")
        before = self._tokens, self._next
        self._open.append(name)
        tokens = _TOKEN.findall(self.lines[name])
        self._tokens = iter([*tokens, ""])
        self._step()
        found = self._any() if tokens else Check(lambda *_: True)
        if self._next:
            raise self._refused(f"has '{self._next}' where and, or, or the end must be")
        self._open.pop()
        self._tokens, self._next = before
        return found

    def _refused(self, what: str) -> Invalid:
        name = self._open[-1]
        return Invalid("policy", f"{self.path}: the rule of '{name}', \"{self.lines[name]}\", {what}")

    def _step(self) -> str:
        token, self._next = self._next, next(self._tokens, "")
        return token

    def _word(self, word: str) -> bool:
        """Go past a word, if it is the next one."""
        if self._next.lower() != word:
            return False
        self._step()
        return True

    def _any(self) -> Check:
        found = [self._all()]
        while self._word("or"):
            found.append(self._all())
        return found[0] if len(found) == 1 else _joined(any, found)

    def _all(self) -> Check:
        found = [self._one()]
        while self._word("and"):
            found.append(self._one())
        return found[0] if len(found) == 1 else _joined(all, found)

    def _one(self) -> Check:
        if self._word("not"):
            inner = self._one()
            return Check(lambda caller, target: not inner.rule(caller, target), inner.of_target)
        if self._word("("):
            inner = self._any()
            if not self._word(")"):
                raise self._refused("lacks a ')'")
            return inner
        token = self._step()
        if token in ("@", "!"):
            return Check(lambda *_: token == "@")
        kind, colon, value = token.partition(":")
        if not colon or not value or token in ("and", "or", ")"):
            raise self._refused(f"has '{token}' where a check like role:admin must be" if token else "ends too early")
        return self._simple(kind.lower(), value, token)

    def _simple(self, kind: str, value: str, token: str) -> Check:
        match kind:
            case "role":
                return Check(policy.role(value.lower()))
            case "is_admin":
                return Check(lambda caller, _: caller.is_admin == (value.lower() in ("true", "1")))
            case "rule":
                return self._named(value)
            case "field":
                return Check(self._field(value), of_target=True)
            case "project_id" | "tenant_id":
                if (owner := _OWNER.fullmatch(value)) is not None:
                    return Check(_OWNERS[owner[1]]("reader"), of_target=True)
                if "%" not in value:
                    return Check(lambda caller, _: caller.project_id == value)
            case "user_id":
                if "%" not in value:
                    return Check(lambda caller, _: caller.user == value)
        raise self._refused(f"has '{token}', which is none of the checks that there are (docs/authentication.md)")

    def _named(self, name: str) -> Check:
        self.named.add(name)
        if name in self.lines:
            return self.check(name)
        if name in BASES:
            return Check(BASES[name], of_target=name not in _OF_CALLERS)
        if name in RULES:
            rule = RULES[name]
            return Check(lambda caller, target: caller.is_admin or rule(caller, target), of_target=True)
        raise self._refused(f"names '{name}', and no rule is called so")

    def _field(self, given: str) -> Rule:
        kind, _, test = given.partition(":")
        name, equals, value = test.partition("=")
        if not equals:
            raise self._refused(f"has 'field:{given}', which is not field:KIND:NAME=VALUE")
        if name == "shared":
            wanted, shared = value.lower() == "true", policy.shared_network if kind == "networks" else policy.shared
            return lambda caller, target: bool(target.given.get("shared", shared(caller, target))) == wanted
        try:
            pattern = re.compile(value[1:]) if value.startswith("~") else None
        except re.error as error:
            raise self._refused(f"has a regular expression that is none: {error}") from error
        if pattern is not None:
            return lambda _, target: pattern.search(_told(target, name)) is not None
        return lambda _, target: _told(target, name).lower() == value.lower()


def _joined(how: Callable[[Iterator[bool]], bool], checks: list[Check]) -> Check:
    def rule(caller: Caller, target: Target) -> bool:
        return how(each.rule(caller, target) for each in checks)

    return Check(rule, any(each.of_target for each in checks))


def _told(target: Target, name: str) -> str:
    """An attribute of the target as text; "" if it has none."""
    found = target.given[name] if name in target.given else getattr(target.record, _FIELDS.get(name, name), None)
    return "" if found is None else str(found)


_FIELDS: Mapping[str, str] = {
    attribute.name: attribute.field for each in COLLECTIONS for attribute in each.attributes if attribute.field
}
"""What records call the attributes of the API."""
