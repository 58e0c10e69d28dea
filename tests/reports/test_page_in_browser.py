"""The page as a browser has it: nothing to complain of, everything in reach, in both schemes and on a phone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from limbeck.core.plain import encode
from limbeck.data import Data
from limbeck.evaluation.protocol import Protocol
from limbeck.methods.random import random
from limbeck.reports.entries import Entry
from limbeck.reports.page import write_page
from limbeck.storage.examples import write_examples
from tests.reports.test_classes import details
from tests.reports.test_cost import RECORD

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed to open the page with")

LOOK = """
<script>
addEventListener('load', () => {
  const links = [...document.querySelectorAll('a')].map(link => link.getAttribute('href'));
  const colours = getComputedStyle(document.body);
  parent.postMessage({
    width: innerWidth,
    needed: document.documentElement.scrollWidth,
    lost: links.filter(link => link.startsWith('#') && !document.getElementById(link.slice(1))),
    beside: links.filter(link => !link.startsWith('#')),
    images: document.images.length,
    broken: [...document.images].filter(image => !image.naturalWidth).length,
    silent: [...document.images].filter(image => !image.alt).length,
    tables: document.querySelectorAll('table').length,
    headings: [...document.querySelectorAll('th')].filter(cell => !cell.scope).length,
    unnamed: [...document.querySelectorAll('[tabindex]')].filter(part => !part.getAttribute('aria-label')).length,
    levels: [...document.querySelectorAll('h1, h2, h3, h4')].map(heading => Number(heading.tagName[1])),
    ink: colours.color,
    page: colours.backgroundColor,
  }, '*');
});
</script>
"""
FRAME = """
<!DOCTYPE html><html style="color-scheme: light dark"><body>
<script>
addEventListener('message', event => {
  const found = document.createElement('pre');
  found.textContent = JSON.stringify(event.data);
  document.body.append(found);
});
</script>
<iframe src="copy.html" width="WIDTH" height="900" style="border: 0"></iframe>
</body></html>
"""
"""A window of a browser is 500 pixels wide at least, a frame is as narrow as a phone."""


def opened(page: Path, folder: Path, dark: bool = False) -> tuple[str, str]:
    """The document as the browser has it at the end, and what it complained of."""
    assert BROWSER is not None
    command = [
        *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"),
        *(f"--user-data-dir={folder / 'profile'}", "--window-size=1400,1000"),
        *(f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--virtual-time-budget=4000", page.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


@pytest.fixture(scope="module")
def page(entry: Callable[..., Entry], digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every section that needs no training, on runs with long names."""
    folder = tmp_path_factory.mktemp("browser")
    network = "convnet3:width=32,norm=instance,pooling=average"
    protocol = Protocol(name="tiny", networks=(network,), length=3)
    runs = []
    for seed, (ipc, made) in enumerate([(1, None), (10, random())]):
        judged = {
            "network": network,
            "mean": 0.5 + 0.1 * seed,
            "std": 0.02,
            "accuracies": [0.48 + 0.1 * seed, 0.52 + 0.1 * seed],
            "lr": 0.01,
            "details": [details(6, 4, 0.1), details(8, 2, 0.2)],
        }
        evaluation = {"protocol": encode(protocol), "networks": [judged], "test_images": 901}
        points = [{"step": step, "seconds": step + 1.0, "networks": [judged]} for step in (0, 100)]
        curve = {"protocol": {"name": "tiny"}, "seed": 0, "points": points}
        one = entry(
            f"run-{seed}",
            made,
            ipc,
            0,
            evaluations=(evaluation,),
            curves=(curve,),
            record=RECORD,
            losses=((1, 2.0), (2, 1.0)),
        )
        spec = replace(one.distilled.spec, name="cifar10")
        (folder / f"run-{seed}").mkdir()
        write_examples(folder / f"run-{seed}", digits.train)
        runs.append(replace(one.run, distilled=replace(one.distilled, spec=spec), folder=folder / f"run-{seed}"))
    write_page(
        folder / "page.html",
        runs,
        None,
        "A_page_with_a_title_that_has_no_blanks_to_be_broken_at",
        "x " * 80,
        files=True,
    )
    return folder / "page.html"


def look(page: Path, folder: Path, width: int, dark: bool) -> dict[str, Any]:
    """What a script finds in a copy of the page that lets scripts run."""
    html = page.read_text(encoding="utf-8")
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html).replace("</body>", LOOK + "</body>")
    (folder / "copy.html").write_text(html, encoding="utf-8")
    (folder / "frame.html").write_text(FRAME.replace("WIDTH", str(width)), encoding="utf-8")
    dom, _ = opened(folder / "frame.html", folder, dark)
    written = re.search(r"<pre>(.+?)</pre>", dom)
    assert written, dom[-2000:]
    return json.loads(unescape(written[1]))


def test_the_browser_has_nothing_to_complain_of(page: Path, tmp_path: Path) -> None:
    dom, complaints = opened(page, tmp_path)
    assert complaints == ""
    sections = re.findall(r'<section id="(\w+)"', dom)
    assert {"accuracy", "published", "tradeoff", "classes", "growth", "images", "losses", "cost"} <= set(sections)


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (360, True)])
def test_everything_is_there_and_in_reach(page: Path, tmp_path: Path, width: int, dark: bool) -> None:
    found = look(page, tmp_path, width, dark)
    assert found["width"] == width
    assert found["needed"] <= width, "the page itself must not scroll sideways"
    assert found["lost"] == [] and found["broken"] == 0 and found["silent"] == 0 and found["images"] > 10
    assert found["tables"] > 5 and found["headings"] == 0 and found["unnamed"] == 0
    assert all((page.parent / link).is_file() for link in found["beside"]) and len(found["beside"]) > 20
    # No level of headings is left out on the way down.
    assert found["levels"][0] == 1 and all(
        b - a <= 1 for a, b in zip(found["levels"], found["levels"][1:], strict=False)
    )
    ink, background = (sum(map(int, re.findall(r"\d+", found[name])[:3])) for name in ("ink", "page"))
    assert (background < 150 < 600 < ink) if dark else (ink < 150 < 600 < background)
