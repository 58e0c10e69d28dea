"""What is true of the repository as a whole: mirrors, pages, citations, names, imports, public inventory."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest
import yaml

import limbeck
from limbeck import registry
from limbeck.core.recipe import SLOTS
from limbeck.reports import citations
from tests import api_surface

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "limbeck"
DOCS = ROOT / "docs"
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

HEADINGS = [
    "Idea",
    "Algorithm and where each line lives",
    "Parts",
    "Presets",
    "Deviations from the paper and from the authors' code",
    "Logged values",
    "Use",
    "Results beside the published ones",
    "Cost",
    "Citation",
]

HEAVY = ("torchvision", "matplotlib", "sklearn", "scipy", "pyarrow", "tyro", "rich", "jinja2", "PIL")

WITHOUT_MIRROR = {
    "core/contracts.py": "abstract classes; every part's test and tests/core/test_recipe.py go through them",
    "core/curriculum.py": "an abstract class, likewise",
    "core/pool.py": "an abstract class, likewise",
}
"""Modules that hold nothing to test by themselves, and why."""

OWN_METHODS = [
    name for name, entry in sorted(registry.methods().items()) if entry.make.__module__.startswith("limbeck.methods.")
]
OWN_PARTS = [name for name, kind in sorted(registry.parts().items()) if kind.__module__.startswith("limbeck.")]
MODULES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py") if not path.name.startswith("__"))


def headings(page: Path) -> list[str]:
    """Second-level headings outside code blocks."""
    plain = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.findall(r"^## (.+)$", plain, flags=re.M)


def mirror(module: str) -> Path:
    """Where the tests of a module lie."""
    return ROOT / "tests" / Path(module).with_name(f"test_{Path(module).name}")


def test_every_file_of_methods_is_a_method() -> None:
    files = {path.stem for path in (SOURCE / "methods").glob("*.py") if path.stem != "__init__"}
    assert files == set(OWN_METHODS)


@pytest.mark.parametrize("name", OWN_METHODS)
def test_a_method_has_tests_and_a_page(name: str) -> None:
    tests = f"tests/methods/test_{name}.py"
    assert (ROOT / tests).is_file(), f"{tests} is missing"
    page = DOCS / "methods" / f"{name}.md"
    assert page.is_file(), f"docs/methods/{name}.md is missing"
    assert headings(page) == HEADINGS


@pytest.mark.parametrize("name", OWN_METHODS)
def test_the_page_of_a_method_names_its_presets(name: str) -> None:
    page = (DOCS / "methods" / f"{name}.md").read_text(encoding="utf-8")
    presets = registry.method(name).presets
    # A preset NAME-code is listed once for all names.
    listed = {f"`{preset.removesuffix('-code')}`" for preset in presets}
    listed |= {"`NAME-code`" for preset in presets if preset.endswith("-code")}
    assert [preset for preset in sorted(listed) if preset not in page] == []


def test_pages_of_methods_have_methods() -> None:
    assert {page.stem for page in (DOCS / "methods").glob("*.md")} == set(OWN_METHODS)


def test_every_slot_has_a_page() -> None:
    pages = {page.stem: page for page in (DOCS / "slots").glob("*.md")}
    assert set(pages) == set(SLOTS)
    for page in pages.values():
        assert headings(page) == ["What it answers", "How to choose", "Parts"]


@pytest.mark.parametrize("name", OWN_PARTS)
def test_a_part_is_documented_with_its_fields(name: str) -> None:
    kind = registry.parts()[name]
    room, _, module = kind.__module__.removeprefix("limbeck.").rpartition(".")
    page = DOCS / (f"methods/{module}.md" if room == "methods" else f"slots/{kind.slot}.md")
    lines = page.read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith(f"| `{name}` |")]
    assert len(rows) == 1, f"{page.relative_to(ROOT)} needs one row for `{name}` in its table of parts"
    fields = [field.name for field in dataclasses.fields(kind)]
    assert [field for field in fields if f"`{field}`" not in rows[0]] == []
    assert (kind.__doc__ or "").strip()


def _has_field(kind: type, path: list[str]) -> bool:
    """Whether a dataclass has a field at a path of names, where ``no_`` before the last denies it."""
    hints = typing.get_type_hints(kind)
    name = path[0] if path[0] in hints else path[0].removeprefix("no_")
    if name not in {field.name for field in dataclasses.fields(kind)}:
        return False
    if len(path) == 1:
        return True
    held = [one for one in (hints[name], *typing.get_args(hints[name])) if isinstance(one, type)]
    held += [part for part in registry.parts().values() if issubclass(part, tuple(held))]
    return any(dataclasses.is_dataclass(one) and _has_field(one, path[1:]) for one in held)


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.relative_to(DOCS).as_posix())
def test_fields_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(rf"(?:`|--)({'|'.join(SLOTS)})\.([a-z_][a-z_.-]*)", page.read_text(encoding="utf-8"))
    kinds = {slot: registry.parts_of(slot).values() for slot in SLOTS}
    missing = [
        f"{slot}.{path}"
        for slot, path in named
        if not any(_has_field(kind, path.rstrip(".-").replace("-", "_").split(".")) for kind in kinds[slot])
    ]
    assert missing == []


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith("methods/")])
def test_a_module_has_tests(module: str) -> None:
    if module in WITHOUT_MIRROR:
        assert not mirror(module).exists(), f"{module} has tests; take it from WITHOUT_MIRROR"
    else:
        assert mirror(module).is_file(), f"{mirror(module).relative_to(ROOT)} is missing"


def test_exceptions_exist() -> None:
    assert set(WITHOUT_MIRROR) <= set(MODULES)


def test_no_room_for_odds_and_ends() -> None:
    names = {part.removesuffix(".py") for module in MODULES for part in Path(module).parts}
    assert not names & {"utils", "util", "helpers", "misc", "common"}


def test_citations_have_bib_entries() -> None:
    entries = citations.keys()
    cited = {key for name in OWN_METHODS for key in registry.method(name).recipe().cite()}
    cited |= {key for name in OWN_PARTS for key in registry.parts()[name].references}
    assert cited <= set(entries)


def test_pages_included_in_the_docs_exist() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    named = re.findall(r"[\w/-]+\.md", json.dumps(settings.get("nav", [])))
    assert [page for page in named if not (DOCS / page).is_file()] == []
    for page in DOCS.rglob("*.md"):
        content = page.read_text(encoding="utf-8")
        included = re.findall(r'^--8<-- "(.+)"$', content, flags=re.M)
        assert [path for path in included if not (ROOT / path).is_file()] == [], page
        linked = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", content)
        assert [path for path in linked if not (page.parent / path).exists()] == [], page


def test_every_example_is_in_the_docs() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    assert [path.name for path in EXAMPLES if f'\n--8<-- "examples/{path.name}"\n' not in pages] == []


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(example: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE.parent), "LIMBECK_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, example], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_import_is_light() -> None:
    code = f"import sys, limbeck; print(*(name for name in {HEAVY} if name in sys.modules))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_public_names_exist() -> None:
    assert [name for name in limbeck.__all__ if not hasattr(limbeck, name)] == []


def test_the_public_inventory_is_up_to_date() -> None:
    written = json.loads(api_surface.FILE.read_text(encoding="utf-8"))
    assert api_surface.surface() == written, "if this is meant, run python -m tests.api_surface"
