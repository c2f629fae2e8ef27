"""docs/api.md against what is served."""

from __future__ import annotations

import re
from pathlib import Path

from northbound.resources import COLLECTIONS
from northbound.resources.extensions import EXTENSIONS

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


def test_the_page_names_the_extensions_that_are_offered_and_no_others() -> None:
    implemented, absent = PAGE.split("| Absent | Why |")
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \|$", implemented, re.MULTILINE)
    assert rows == [(alias, each["name"]) for alias, each in EXTENSIONS.items() if isinstance(each, dict)]
    named = {alias.strip() for row in re.findall(r"^\| ([^|]+) \|", absent, re.MULTILINE) for alias in row.split(",")}
    assert "trunk" in named
    assert not named & EXTENSIONS.keys()


def test_the_page_has_a_section_for_every_collection() -> None:
    headings = re.findall(r"^### (.+)$", PAGE, re.MULTILINE)
    assert sorted(headings) == sorted(each.path.replace("{within}", "ID") for each in COLLECTIONS)
