"""Configuration: one precedence, and a sentence for every mistake."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from controller.errors import Invalid
from northbound import config
from northbound.config import Config, Endpoint, default_quotas


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    config.add_options(parser)
    return parser.parse_args(arguments)


def test_without_a_word_it_listens_on_loopback_for_the_api() -> None:
    assert config.read(options(), {}) == Config()
    assert Config().api == Endpoint("127.0.0.1", 9696)


def test_an_option_goes_before_a_variable_and_that_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "weft.toml"
    file.write_text('underlay-mtu = 1400\nstore = "memory://"\nnetwork_type = "gre"\nunderlay-ip-version = 6\n')
    environment = {"WEFT_UNDERLAY_MTU": "1600", "WEFT_STORE": "sqlite:///v.db", "WEFT_CONFIG": str(file)}
    read = config.read(options("--underlay-mtu", "9000"), environment)
    assert (read.underlay_mtu, read.store, read.network_type) == (9000, "sqlite:///v.db", "gre")
    assert read.underlay_ip_version == 6


def test_every_attribute_is_an_option_a_variable_and_explained() -> None:
    text = argparse.ArgumentParser()
    config.add_options(text)
    for name in Config.__dataclass_fields__:
        assert f"--{name.replace('_', '-')}" in text.format_help()
        assert name in config.HELP


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--api", "nonsense"), "option --api. Reason: 'nonsense' is not HOST:PORT"),
        (("--api", "127.0.0.1:70000"), "is not HOST:PORT"),
        (("--underlay-mtu", "big"), "option --underlay-mtu. Reason: 'big' is not a number"),
        (("--underlay-mtu", "-9"), "'-9' is not a number"),
        (("--underlay-mtu", "10"), "10 bytes are not between 576, which every network carries"),
        (("--underlay-mtu", "1279", "--underlay-ip-version", "6"), "1279 bytes are not between 1280"),
        (("--underlay-mtu", "65536"), "and 65535"),
        (("--network-type", "stt"), "'stt' is not one of vxlan, geneve, gre"),
        (("--vlan-ranges", "physnet1:0:9"), "option --vlan-ranges. Reason: 'physnet1:0:9' is not NAME or NAME:FIRST"),
        (("--vlan-ranges", "physnet1:1:4095"), "'physnet1:1:4095' is not"),
        (("--vlan-ranges", "physnet1:20:10"), "'physnet1:20:10' is not"),
        (("--vlan-ranges", "a,:1:2"), "':1:2' is not"),
        (("--vlan-ranges", "a:1"), "'a:1' is not"),
        (("--physical-network-mtus", "physnet1"), "'physnet1' is not NAME:BYTES"),
        (("--physical-network-mtus", "physnet1:large"), "'physnet1:large' is not NAME:BYTES"),
        (("--underlay-ip-version", "5"), "'5' is not one of 4, 6"),
        (("--quotas", "ports=1"), "option --quotas. Reason: 'ports' has no quota; these have: network, "),
        (("--quotas", "port"), "'' of port is not a number"),
        (("--quotas", "network=1,port=-2"), "-2 of port is below -1, which is unlimited"),
        (("--api", "0.0.0.0:9696"), "say --insecure"),
        (("--config", "/nowhere/weft.toml"), "/nowhere/weft.toml cannot be read"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_its_source(arguments: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence):
        config.read(options(*arguments), {})


def test_physical_networks_are_lists_of_words_in_options_and_in_the_file(tmp_path: Path) -> None:
    read = config.read(options("--vlan-ranges", "physnet1:100:199, physnet1:300:300,physnet2"), {})
    assert read.vlan_ranges.ranges == (("physnet1", 100, 199), ("physnet1", 300, 300), ("physnet2", 1, 0))
    assert str(read.vlan_ranges) == "physnet1:100:199,physnet1:300:300,physnet2"
    assert read.flat_networks.names == ("*",)
    file = tmp_path / "weft.toml"
    file.write_text('vlan-ranges = ["a:1:2", "b"]\nflat-networks = ""\nphysical-network-mtus = ["a:9000"]\n')
    read = config.read(options("--config", str(file)), {})
    assert (read.vlan_ranges.ranges, read.flat_networks.names) == ((("a", 1, 2), ("b", 1, 0)), ())
    assert read.physical_network_mtus.sizes == (("a", 9000),)


def test_quotas_are_limits_by_name() -> None:
    read = config.read(options("--quotas", "port=1000,network=-1"), {})
    assert config.read_quotas(read.quotas) == {"port": 1000, "network": -1}
    assert config.read_quotas(Config().quotas) == {}


def test_an_unknown_key_of_the_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "weft.toml"
    file.write_text("stor = 1\n")
    with pytest.raises(Invalid, match="stor"):
        config.read(options("--config", str(file)), {})


@pytest.mark.parametrize("word", ["yes", "maybe"])
def test_a_switch_in_the_environment_is_true_or_false(word: str) -> None:
    if word == "maybe":
        with pytest.raises(Invalid, match="WEFT_INSECURE"):
            config.read(options(), {"WEFT_INSECURE": word})
    else:
        assert config.read(options(), {"WEFT_INSECURE": word}).insecure


def test_projects_are_limited_where_callers_are_told_apart() -> None:
    assert set(default_quotas(Config()).values()) == {-1}
    assert default_quotas(Config(quotas="port=7"))["port"] == 7
    assert default_quotas(Config(auth="tokens FILE", quotas="port=7")) == {"port": 7}
