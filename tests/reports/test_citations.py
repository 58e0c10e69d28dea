"""BibTeX of what is cited."""

from __future__ import annotations

import pytest

from limbeck import registry
from limbeck.methods.dream import dream
from limbeck.reports.citations import bibtex, keys


def test_the_entries_of_a_recipe_come_once_and_in_its_order() -> None:
    cited = dream("digits").cite()
    text = bibtex([*cited, *cited])
    assert [line.partition("{")[2].rstrip(",") for line in text.splitlines() if line.startswith("@")] == list(cited)
    assert text.startswith("@inproceedings{liu2023dream,")
    assert text.endswith("}")


@pytest.mark.parametrize("name", sorted(registry.methods()))
def test_everything_that_a_method_cites_has_an_entry(name: str) -> None:
    assert set(registry.method(name).recipe().cite()) <= set(keys())


@pytest.mark.parametrize("key", keys())
def test_entries_are_whole(key: str) -> None:
    entry = bibtex([key])
    assert entry.count("{") == entry.count("}")
    if entry.startswith("@unpublished"):  # a draft without a date
        needed = ("author", "title", "note")
    else:
        needed = ("author", "title", "journal" if entry.startswith("@article") else "booktitle", "year")
    for field in needed:
        assert f"  {field} " in entry


def test_an_unknown_key_is_named_in_a_comment_of_one_line() -> None:
    assert bibtex(["nobody2030\n@x"]) == "% nobody2030 @x: no entry"


def test_nothing_cited_is_nothing() -> None:
    assert bibtex([]) == ""
