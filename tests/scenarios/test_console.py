"""The console in a real browser, over a real cloud: what it shows is what there is, for hands on a keyboard, too.

Screenshots are kept in `build/console`, to be looked at.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab

playwright = pytest.importorskip("playwright.sync_api")

KEPT = Path(__file__).parents[2] / "build" / "console"
MANY = 500
MARKUP = "<b>db1</b>"
"""Names are their owners' to choose, and are shown as they are."""


@pytest.fixture(scope="module")
def guests(lab: Lab) -> tuple[Guest, ...]:
    """Two guests on red, one behind a router on blue, on two hypervisors."""
    red = lab.network("red", cidr="10.0.0.0/24", project="p", gateways=True)
    blue = lab.network("blue", cidr="10.0.1.0/24", project="p", type="geneve", gateways=True)
    lab.router("r1", red, blue, project="p")
    group = lab.group("web", project="p")
    lab.rule(group, protocol="icmp")
    made = tuple(
        lab.guest(name, network=network, on=on, ip=ip, mac=mac, security_groups=[group["id"]])
        for name, network, on, ip, mac in (
            ("web1", red, "hv1", "10.0.0.11", "02:00:00:00:00:11"),
            ("web2", red, "hv2", "10.0.0.12", "02:00:00:00:00:12"),
            ("db1", blue, "hv2", "10.0.1.11", "02:00:00:00:00:13"),
        )
    )
    (db,) = lab.api.get("/v2.0/ports?name=db1")["ports"]
    lab.api.put(f"/v2.0/ports/{db['id']}", {"port": {"name": MARKUP}})
    lab.converged()
    return made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, without a window; it has nothing but loopback to talk to."""
    found = shutil.which("chromium")
    assert found, "install the Debian package chromium"
    with playwright.sync_playwright() as player:
        chromium = player.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(lab: Lab, guests: tuple[Guest, ...], browser: Any) -> Iterator[Any]:
    """The console; what it complains of fails the test, and so does any request to elsewhere."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    opened = context.new_page()
    trouble: list[str] = []
    opened.on("pageerror", lambda error: trouble.append(str(error)))
    opened.on("console", lambda said: trouble.append(said.text) if said.type == "error" else None)
    opened.on("request", lambda asked: trouble.append(asked.url) if not asked.url.startswith(lab.api.url) else None)
    opened.goto(f"{lab.api.url}/console")
    try:
        opened.wait_for_selector(".network", timeout=10_000)
    except playwright.TimeoutError:
        pytest.fail(f"no map: {opened.locator('#state').inner_text()} {trouble}")
    yield opened
    context.close()
    assert trouble == []


def keep(page: Any, name: str) -> None:
    KEPT.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=KEPT / f"{name}.png")


def test_the_map_shows_networks_routers_and_ports_as_they_are(page: Any) -> None:
    assert sorted(page.locator(".network h2 .open").all_inner_texts()) == ["blue", "red"]
    assert page.locator(".router .open").all_inner_texts() == ["r1"]
    assert sorted(page.locator(".port").all_inner_texts()) == [MARKUP, "web1", "web2"]
    assert page.locator(".port.down").count() == 0
    page.locator("svg.links path").nth(1).wait_for(state="attached")
    assert page.locator("#state").inner_text() == "2 hypervisors in step"
    keep(page, "map")


def test_a_hypervisor_shows_its_ports_on_the_map(page: Any) -> None:
    assert [text.split() for text in page.locator(".chassis").all_inner_texts()] == [["hv1", "1"], ["hv2", "2"]]
    assert sorted(page.locator(".ports").all_inner_texts()) == ["hv1\nweb1", f"hv2\n{MARKUP}", "hv2\nweb2"]
    page.get_by_role("button", name="hypervisor hv2: 2 ports, in step").click()
    assert sorted(page.locator(".port.found").all_inner_texts()) == [MARKUP, "web2"]
    assert page.locator(".port.dim").all_inner_texts() == ["web1"]
    assert page.locator("#detail h2").inner_text() == "hypervisor hv2"
    keep(page, "hypervisor")


def test_a_port_shows_its_groups_and_flows_with_counts(page: Any) -> None:
    page.get_by_role("button", name="web1: ").click()
    page.wait_for_selector("#detail ul.flows li")
    detail = page.locator("#detail").inner_text()
    for part in ("port web1", "10.0.0.11", "web", "flows on hv1", "classify: guest", "packets"):
        assert part.lower() in detail.lower(), part
    keep(page, "port")


def test_a_trace_is_drawn_from_host_to_host(page: Any, guests: tuple[Guest, ...]) -> None:
    page.goto(page.url.split("#")[0] + "#trace")
    page.select_option("#from", label=f"web1 {guests[0].ip}")
    page.fill("#to", guests[2].ip)
    page.get_by_role("button", name="Trace").click()
    page.wait_for_selector(".fate")
    assert page.locator(".fate").inner_text() == "delivered"
    assert page.locator("li.host > strong").all_inner_texts() == ["hv1", "hv2"]
    keep(page, "trace")
    page.select_option("select[name=proto]", "tcp")
    page.fill("input[name=dport]", "81")
    page.get_by_role("button", name="Trace").click()
    page.wait_for_selector(".fate.bad")
    assert page.locator(".fate").inner_text().startswith("dropped: INGRESS_DENIED")


def test_drops_show_as_they_happen(page: Any, guests: tuple[Guest, ...]) -> None:
    page.goto(page.url.split("#")[0] + "#drops")
    page.wait_for_selector("#view table, #view .empty")
    assert not guests[0].reaches(guests[1], "tcp", 81, patience_s=0.3)
    page.wait_for_selector("td strong:text('INGRESS_DENIED')", timeout=10_000)
    keep(page, "drops")


def test_hypervisors_are_told_with_their_state(page: Any) -> None:
    page.goto(page.url.split("#")[0] + "#hypervisors")
    rows = page.locator("tbody tr")
    rows.first.wait_for()
    assert [row.split("\t")[0].split("\n")[0] for row in rows.all_inner_texts()] == ["hv1", "hv2"]
    assert "in step" in rows.first.inner_text()
    keep(page, "hypervisors")


def test_everything_is_reached_by_the_keyboard(page: Any) -> None:
    page.keyboard.press("/")
    page.keyboard.type("10.0.0.12")
    assert page.locator(".found").all_inner_texts() == ["web2"]
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "web2"
    page.locator("#find").fill("")
    page.locator(".port").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector("#detail:not([hidden]) h2")
    assert page.locator("#detail h2").inner_text() == f"port {page.locator('.port').nth(1).inner_text()}"
    page.keyboard.press("Escape")
    page.wait_for_selector("#detail", state="hidden")


def test_it_can_be_read_in_the_dark(page: Any) -> None:
    def paper() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = paper()
    page.emulate_media(color_scheme="dark")
    assert paper() != light
    keep(page, "dark")


def test_five_hundred_objects_are_a_map_that_a_person_can_read(lab: Lab, page: Any) -> None:
    """One network of 300 ports, and 20 of 10 ports on ten routers, of which one is chosen."""
    crowd = lab.network("crowd", cidr="10.9.0.0/16", project="p")
    small = [
        lab.network(f"net{number}", cidr=f"10.10.{number}.0/24", project="p", gateways=True) for number in range(20)
    ]
    for number in range(10):
        lab.router(f"edge{number}", small[2 * number], small[2 * number + 1], project="p")
    for network, many in ((crowd, MANY * 3 // 5), *((each, MANY // 50) for each in small)):
        ports = [{"network_id": network.id, "name": f"{network}-{number}"} for number in range(many)]
        lab.api.post("/v2.0/ports", {"ports": ports})
    page.locator(".port").nth(MANY + 2).wait_for(state="attached", timeout=15_000)
    card = page.locator(f"[data-network='{crowd.id}']")
    assert card.bounding_box()["height"] < 300
    assert "300 ports, 0 active" in card.inner_text()
    assert page.locator("svg.links path").count() == 0, "no tangle"
    assert "edge3" in page.locator(f"[data-network='{small[7].id}']").inner_text()
    page.locator(".router .open").get_by_text("edge3").click()
    page.locator("svg.links path").nth(1).wait_for(state="attached")
    assert page.locator(".network h2 .found").all_inner_texts() == ["net6", "net7"]
    keep(page, "five-hundred")
    lab.settles()
