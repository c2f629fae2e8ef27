"""Who asks: tokens of a file, and Keystone as the identity API v3 describes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller.errors import Invalid
from northbound import cli
from northbound.auth import Keystone, Service, Tokens
from northbound.gate import BURST
from tests.northbound.identity import Identity, tokens
from tests.northbound.served import Client, serving

# ---- tokens ---------------------------------------------------------------------------------------------------


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Client]:
    file = tokens(tmp_path / "tokens.toml", root=("ops", ["admin"]), red=("p-red", ["member"]))
    with serving(identity=Tokens(file)) as client:
        yield client


def test_a_request_without_a_token_is_told_where_tokens_come_from(api: Client) -> None:
    for answer in (api.ask("GET", "/v2.0/networks"), api.ask("GET", "/v2.0/networks", X_Auth_Token="wrong")):
        assert answer.status == 401
        assert answer.body == {
            "error": {
                "code": 401,
                "title": "Unauthorized",
                "message": "The request you have made requires authentication.",
            }
        }
        assert answer.headers["WWW-Authenticate"] == f'Keystone uri="{api.url}"'


@pytest.mark.parametrize("path", ["/", "/v2.0", "/v2.0/"])
def test_discovery_needs_no_token(api: Client, path: str) -> None:
    assert api.ask("GET", path).status == 200


@pytest.mark.parametrize("path", ["/v2.0/networks", "/v2.0/extensions", "/v1/chassis", "/v2.0/nothing", "/elsewhere"])
def test_everything_else_does(api: Client, path: str) -> None:
    assert api.ask("GET", path).status == 401


def test_a_token_speaks_for_its_project(api: Client) -> None:
    made = api.ask("POST", "/v2.0/networks", {"network": {}}, X_Auth_Token="red")
    assert (made.status, made.body["network"]["project_id"]) == (201, "p-red")
    made = api.ask("POST", "/v2.0/networks", {"network": {}}, Authorization="Bearer red", X_Project_Id="p-blue")
    assert made.body["network"]["project_id"] == "p-red"


def test_what_is_wefts_own_is_for_administrators(api: Client) -> None:
    assert api.ask("GET", "/v1/nothing", X_Auth_Token="red").fault == (
        403,
        "PolicyNotAuthorized",
        "rule:admin_only is disallowed by policy",
    )
    assert api.ask("GET", "/v1/nothing", X_Auth_Token="root").status == 404
    for path in ("/v1/prove", "/v1/trace"):
        assert api.ask("POST", path, {"live": True}, X_Auth_Token="red").status == 403, "it sends packets as anybody"
        assert api.ask("POST", path, {"live": True}, X_Auth_Token="root").status != 403


def test_strangers_who_ask_too_often_wait_and_others_at_their_address_do_not(api: Client) -> None:
    answers = [api.ask("GET", "/v2.0/networks", X_Auth_Token="wrong") for _ in range(int(BURST) + 20)]
    assert {answer.status for answer in answers} == {401, 429}
    assert answers[-1].headers["Retry-After"] == "1"
    assert "try again in 1 s" in answers[-1].fault[2]
    assert api.ask("GET", "/v2.0/networks", X_Auth_Token="red").status == 200


def test_the_file_is_read_anew_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    file = tokens(tmp_path / "tokens.toml", red=("p-red", ["member"]))
    with serving(identity=Tokens(file)) as api:
        file.write_text("[[token]]\nsha256 = 'short'\n")
        assert api.ask("GET", "/v2.0/networks", X_Auth_Token="red").status == 200
        tokens(file, blue=("p-blue", ["member"]))
        assert api.ask("GET", "/v2.0/networks", X_Auth_Token="red").status == 401
        assert api.ask("GET", "/v2.0/networks", X_Auth_Token="blue").status == 200


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[token]]\nproject = 'p'\nroles = []\n", "token 1 of"),
        ("token = 3", "needs [[token]] tables"),
        ("[[token", "cannot be read"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "tokens.toml").write_text(text)
    with pytest.raises(Invalid, match=r"tokens\.toml") as refused:
        Tokens(tmp_path / "tokens.toml")
    assert said in str(refused.value)


def test_the_command_makes_a_token_that_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["token", "--project", "p-red", "--role", "reader", "--role", "service", "--user", 'a "b"']) == 0
    printed = capsys.readouterr()
    token = printed.err.removeprefix("token: ").strip()
    assert token not in printed.out
    (tmp_path / "tokens.toml").write_text(printed.out)
    found = Tokens(tmp_path / "tokens.toml").known({"X-Auth-Token": token})
    assert found is not None
    assert (found.project_id, found.roles, found.user) == ("p-red", frozenset({"reader", "service"}), 'a "b"')


# ---- Keystone -------------------------------------------------------------------------------------------------


@pytest.fixture
def keystone() -> Iterator[Identity]:
    with Identity().running() as identity:
        identity.add("red", "p-red", "member")
        identity.add("late", "p-red", "member", seconds=-1)
        identity.add("root", "ops", "admin")
        yield identity


def guarded(identity: Identity, password: str = "secret", now: Callable[[], float] = time.time) -> Keystone:
    return Keystone(Service(identity.url, "neutron", password, "service"), now)


def test_keystone_says_who_asks_once_for_many_requests(keystone: Identity) -> None:
    with serving(identity=guarded(keystone)) as api:
        made = api.ask("POST", "/v2.0/networks", {"network": {}}, X_Auth_Token="red")
        assert (made.status, made.body["network"]["project_id"]) == (201, "p-red")
        for _ in range(5):
            assert api.ask("GET", "/v2.0/networks", X_Auth_Token="red").status == 200
        assert api.ask("GET", "/v2.0/networks", X_Auth_Token="late").status == 401
        assert api.ask("GET", "/v2.0/networks", X_Auth_Token="forged").status == 401
    assert keystone.asked == ["red", "late", "forged"]
    assert keystone.logins == 1


def test_a_token_is_believed_no_longer_than_it_lives(keystone: Identity) -> None:
    keystone.add("brief", "p-red", "member", seconds=9)
    now = time.time()
    with serving(identity=guarded(keystone, now=lambda: now)) as api:
        assert api.ask("GET", "/v2.0/networks", X_Auth_Token="brief").status == 200
        now += 10
        assert api.ask("GET", "/v2.0/networks", X_Auth_Token="brief").status == 401


def test_our_own_token_is_taken_anew_when_it_no_longer_works(keystone: Identity) -> None:
    with serving(identity=guarded(keystone)) as api:
        assert api.ask("GET", "/v2.0/networks", X_Auth_Token="red").status == 200
        keystone.services.clear()
        assert api.ask("GET", "/v2.0/networks", X_Auth_Token="root").status == 200
    assert keystone.logins == 2


def test_when_keystone_is_away_the_answer_says_so_and_known_callers_go_on(keystone: Identity) -> None:
    with serving(identity=guarded(keystone)) as api:
        assert api.ask("GET", "/v2.0/networks", X_Auth_Token="red").status == 200
        keystone.broken = 500
        assert api.ask("GET", "/v2.0/networks", X_Auth_Token="root").fault == (
            503,
            "ServiceUnavailable",
            f"The identity service is unavailable: Keystone at {keystone.url} answered 500 when asked about a token.",
        )
        assert api.ask("GET", "/v2.0/networks", X_Auth_Token="red").status == 200
        keystone.broken = 0
        assert api.ask("GET", "/v2.0/networks", X_Auth_Token="root").status == 200


def test_when_nothing_answers_at_keystones_address_the_answer_says_so() -> None:
    nobody = Keystone(Service("http://127.0.0.1:9/v3", "neutron", "secret", "service"), time.time)
    with serving(identity=nobody) as api:
        status, kind, message = api.ask("GET", "/v2.0/networks", X_Auth_Token="red").fault
    assert (status, kind) == (503, "ServiceUnavailable")
    assert "Keystone at http://127.0.0.1:9/v3 does not answer" in message


def test_a_wrong_password_of_ours_is_told_as_such(keystone: Identity) -> None:
    with serving(identity=guarded(keystone, "wrong")) as api:
        status, _, message = api.ask("GET", "/v2.0/networks", X_Auth_Token="red").fault
    assert status == 503
    assert "does not let user neutron of project service in (it answered 401); see the options --keystone-*" in message
    assert "wrong" not in message
