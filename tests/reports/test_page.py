"""The page of a comparison: complete, escaped, and in need of nothing else."""

from __future__ import annotations

import base64
import io
import json
import re
import wave
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

import limbeck as lb
from limbeck.core.errors import InputError
from limbeck.data.splits import Data
from limbeck.evaluation.diversity import DiversityProtocol, diversity, refer
from limbeck.evaluation.protocols import Protocol
from limbeck.initializers.real import Mixed
from limbeck.methods.idc import idc
from limbeck.methods.random import random
from limbeck.parametrizations.partition import Partition
from limbeck.reports.compare import compare
from limbeck.reports.comparison import COMPARISON, Comparison
from limbeck.reports.page import write_page
from limbeck.reports.runs import Run, diversity_as_plain, read_run
from tests.data.makers import write_tones

TINY = {"curriculum__iterations": 1, "curriculum__steps": 2, "pool__network": "convnet2:width=8"}
NETWORKS = ("convnet2:width=8", "convnet1:width=4")
PROTOCOL = Protocol(name="tiny", networks=NETWORKS, repeats=1, budget="updates", length=3)


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    VOID = frozenset({"meta", "img", "source", "br", "hr", "link", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.text = " ".join(self.text.split())
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attributes}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += f" {data} "

    def values(self, *names: str) -> list[str]:
        return [found[name] for _, found in self.tags for name in names if name in found]

    def pictures(self) -> list[tuple[str, bytes]]:
        uris = self.values("src", "srcset")
        return [
            (uri.partition(";")[0].removeprefix("data:"), base64.b64decode(uri.partition(",")[2], validate=True))
            for uri in uris
        ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page") / "out"


@pytest.fixture(scope="module")
def compared(digits: Data, folder: Path) -> Comparison:
    recipes = {"picked": random(), "idc": idc("digits", factor=1).with_(**TINY)}
    return compare(
        recipes,
        digits,
        ipcs=(1, 3),
        seeds=(0, 1),
        protocol=PROTOCOL,
        out=folder,
        full=True,
        settings=lb.Settings(progress="quiet"),
    )


@pytest.fixture(scope="module")
def runs(compared: Comparison, folder: Path) -> list[Run]:
    return [read_run(path.parent) for path in sorted(folder.glob("*/distilled.json"))]


@pytest.fixture(scope="module")
def page(compared: Comparison, runs: list[Run], folder: Path) -> Page:
    write_page(folder / "page.html", runs, compared, "Tiny <comparison>", "limbeck compare --out 'a & b'")
    return Page((folder / "page.html").read_text(encoding="utf-8"))


def with_class(run: Run, name: str) -> Run:
    spec = run.distilled.spec
    return replace(run, distilled=replace(run.distilled, spec=replace(spec, class_names=(name, *spec.class_names[1:]))))


def learnt(runs: list[Run]) -> Run:
    return next(run for run in runs if run.method == "idc")


def test_sections_come_in_order(page: Page) -> None:
    found = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    first = ["accuracy", "differences", "tradeoff", "classes"]
    assert found == [*first, "images", "losses", "cost", "protocol", "recipes", "citation", "use"]
    links = {target.removeprefix("#") for target in page.values("href")}
    assert links == {*found, "results"}


def test_nothing_is_fetched(page: Page) -> None:
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "base", "form"} == set()
    assert all(uri.startswith("data:image/") for uri in page.values("src", "srcset"))
    assert all(target.startswith("#") for target in page.values("href"))
    policy = next(found["content"] for tag, found in page.tags if found.get("http-equiv"))
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_no_address_is_in_the_file(page: Page, folder: Path) -> None:
    html = (folder / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]+\.|url\(|@import", html)


def test_pictures_can_be_decoded(page: Page) -> None:
    kinds = set()
    for kind, content in page.pictures():
        kinds.add(kind)
        if kind == "image/svg+xml":
            assert ElementTree.fromstring(content).tag.endswith("}svg")
        else:
            with Image.open(io.BytesIO(content)) as image:
                image.load()
                assert image.format == "PNG"
    assert kinds == {"image/svg+xml", "image/png"}


def test_images_are_shown_at_half_of_their_pixels_and_are_those_of_the_set(page: Page, runs: list[Run]) -> None:
    shown = [found for tag, found in page.tags if tag == "img" and found["src"].startswith("data:image/png")]
    # Real images stand beside those of each of the two sizes.
    assert len(shown) == 10 * (len(runs) + 2)
    for found in shown:
        with Image.open(io.BytesIO(base64.b64decode(found["src"].partition(",")[2]))) as image:
            assert image.size == (2 * int(found["width"]), 2 * int(found["height"]))
    strip = Image.open(io.BytesIO(base64.b64decode(shown[0]["src"].partition(",")[2])))
    stored = runs[0].distilled.stored[0, 0, 0]  # idc, IPC 1, seed 0
    block, gap = 2 * 48 // 8, 4
    values = [[strip.getpixel((gap + block * x + 5, gap + block * y + 5))[0] for x in range(8)] for y in range(8)]
    assert stored.dtype == torch.uint8 and values == stored.tolist()


def test_the_title_and_the_command_are_escaped(page: Page, folder: Path) -> None:
    html = (folder / "page.html").read_text(encoding="utf-8")
    assert "<title>Tiny &lt;comparison&gt;</title>" in html
    assert "<h1>Tiny &lt;comparison&gt;</h1>" in html
    assert "a &amp; b" in html
    assert "limbeck compare --out 'a & b'" in page.text


def test_names_of_classes_and_folders_are_escaped(runs: list[Run], tmp_path: Path) -> None:
    wicked = "<script>alert('\"&{{ 7 * 7 }}')</script>"
    run = replace(with_class(learnt(runs), wicked), folder=tmp_path / '<img src=x>"')
    write_page(tmp_path / "page.html", [run], None, "x")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in html and "<img src=x" not in html
    assert wicked in Page(html).text
    assert 'lb.load("<img src=x>\\"")' in Page(html).text


def test_accuracies_are_those_of_the_json(page: Page, compared: Comparison, folder: Path) -> None:
    rows = json.loads((folder / COMPARISON).read_text(encoding="utf-8"))["rows"]
    assert len(rows) == 5
    for row in rows:
        name = "all real images" if row["method"] == "full" else row["method"]
        figures = f"{100 * row['mean']:.1f} ± {100 * row['std']:.1f} {len(row['accuracies'])}"
        assert re.search(rf"(^| ){row['ipc'] or '–'} {name} {re.escape(figures)} ", page.text), (name, figures)


def test_every_network_of_every_run_is_listed(page: Page, runs: list[Run]) -> None:
    listed = 0
    for run in runs:
        for network in run.evaluations[0]["networks"]:
            each = ", ".join(f"{100 * value:.2f}" for value in network["accuracies"])
            assert f"tiny {network['network']} 0 B {network['lr']:g} {each}" in page.text
            listed += 1
    assert f"Every network ({listed} evaluations)" in page.text


def test_architectures_have_a_table_of_their_own(page: Page) -> None:
    assert (
        f"By architecture Test accuracy in percent by architecture. IPC Method {NETWORKS[0]} {NETWORKS[1]}" in page.text
    )


def test_every_method_is_shown_and_further_seeds_are_folded(page: Page, runs: list[Run]) -> None:
    assert len(runs) == 8
    for name in ("picked", "idc"):
        assert page.text.count(f"{name} seed 0") == 2
        assert page.text.count(f"{name} seed 1") == 2
    assert page.text.count("Further seeds (2 sets)") == 2


def test_the_summary_says_what_was_distilled(page: Page) -> None:
    assert (
        "1 and 3 stored images per class, made from digits by picked and idc; digits has 806 real training images "
        "of 10 classes (0 to 9), grey, 8 × 8 pixels."
    ) in page.text


def test_cost_and_versions_come_from_the_records(page: Page, runs: list[Run]) -> None:
    versions = runs[0].record["versions"]
    assert f"limbeck {versions['limbeck']}" in page.text
    assert f"torch {versions['torch']}" in page.text
    losses = [run.record["final_loss"] for run in runs if run.method == "idc" and run.distilled.ipc == 3]
    assert f"2 {sum(losses) / 2:.4g} 2" in page.text  # steps, mean final loss, runs
    assert "eager, convolutions in float32, classes by loop" in page.text


def test_the_protocol_is_in_words(page: Page) -> None:
    assert "1 fresh network of each of convnet2:width=8 and convnet1:width=4 for every set" in page.text
    assert "for 3 SGD steps, whatever the size of the set." in page.text
    assert "No augmentation, no CutMix." in page.text
    assert "all 901 test images" in page.text
    assert "Seeds: 0 and 1." in page.text


def test_the_recipe_is_written_out(page: Page) -> None:
    assert "curriculum all_at_once iterations 1 steps 2" in page.text
    assert "training.batch_size 64" in page.text
    assert "@inproceedings{kim2022idc," in page.text


def test_the_folder_is_named_as_seen_from_the_page(page: Page, folder: Path) -> None:
    assert 'distilled = lb.load("idc-ipc1-seed0")' in page.text
    assert str(folder) not in page.text


def test_the_command_that_repeats_the_run_is_told(page: Page) -> None:
    assert "limbeck distill idc-ipc1-seed0/run.yaml --out idc-ipc1-seed0-again" in page.text


def test_the_lines_of_use_run(page: Page, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    code = re.search(r"import limbeck as lb distilled = (lb\.load\(.*?\)) images", page.text)
    assert code
    assert eval(code[1], {"lb": lb}).ipc == 1


def test_equal_runs_give_equal_bytes(compared: Comparison, runs: list[Run], folder: Path, page: Page) -> None:
    first = (folder / "page.html").read_bytes()
    write_page(folder / "page.html", runs[::-1], compared, "Tiny <comparison>", "limbeck compare --out 'a & b'")
    assert (folder / "page.html").read_bytes() == first
    assert not list(folder.glob(".tmp-*"))


def test_a_single_run_needs_no_comparison(runs: list[Run], tmp_path: Path) -> None:
    write_page(tmp_path / "new" / "page.html", [learnt(runs)], None, "One run", None)
    text = Page((tmp_path / "new" / "page.html").read_text(encoding="utf-8")).text
    assert "made from digits by idc; digits has 10 classes" in text
    assert "The command" not in text
    assert "Further seeds" not in text


def test_a_coreset_without_record_or_evaluation_is_enough(runs: list[Run], tmp_path: Path) -> None:
    bare = replace(next(run for run in runs if run.method == "random"), record={}, evaluations=())
    write_page(tmp_path / "page.html", [bare], None, "Bare")
    found = {found["id"] for tag, found in Page((tmp_path / "page.html").read_text("utf-8")).tags if tag == "section"}
    assert found & {"accuracy", "losses", "protocol"} == set()


def test_large_sets_are_cut_and_say_so(digits: Data, runs: list[Run], tmp_path: Path) -> None:
    run = learnt(runs)
    many = tuple(f"class number {number}" for number in range(30))
    spec = replace(run.distilled.spec, channels=3, height=64, width=48, class_names=many, digest="other")
    stored = torch.tensor(128, dtype=torch.uint8).expand(30, 40, 3, 64, 48)
    distilled = replace(run.distilled, stored=stored, spec=spec)
    large = replace(run, distilled=distilled, folder=tmp_path / "large", evaluations=())
    write_page(tmp_path / "page.html", [run, large], None, "Large")
    text = Page((tmp_path / "page.html").read_text(encoding="utf-8")).text
    assert "first 20 of 30 classes" in text
    assert re.search(r"first \d+ of 40 images per class", text)
    assert "class number 0, class number 1" in text
    assert "and 22 more" in text


def test_packed_images_are_explained(digits: Data, tmp_path: Path) -> None:
    lb.distill(
        idc("digits", factor=2).with_(**TINY),
        digits,
        ipc=1,
        out=tmp_path / "run",
        settings=lb.Settings(progress="quiet"),
    )
    write_page(tmp_path / "page.html", [read_run(tmp_path / "run")], None, "Packed")
    assert "each stored image holds 4 training images" in (tmp_path / "page.html").read_text(encoding="utf-8")


def grown(run: Run, start: float, end: float) -> Run:
    points = [
        {"step": step, "seconds": float(step + 1), "networks": [{"network": "a", "accuracies": [mean, mean]}]}
        for step, mean in ((0, start), (200, end))
    ]
    return replace(run, curves=({"protocol": {"name": "tiny"}, "seed": 0, "points": points},))


def test_growth_has_a_figure_for_each_width_and_a_table(runs: list[Run], tmp_path: Path) -> None:
    seeds = [run for run in runs if run.method == "idc" and run.distilled.ipc == 1]
    shown = [grown(seeds[0], 0.3, 0.5), grown(seeds[1], 0.4, 0.7)]
    write_page(tmp_path / "page.html", shown, None, "Grown")
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "1 idc 60.0 ± 14.1 35.0 ± 7.1 200 3 min 21 s 2" in page.text
    assert "growth" in {found["id"] for tag, found in page.tags if tag == "section"}
    assert "#growth" in page.values("href")
    (alt,) = [text for text in page.values("alt") if "against inner step and against seconds" in text]
    assert alt.endswith("digits, protocol tiny. idc, IPC 1: 35.0 at step 0, 60.0 at step 200 (3 min 21 s).")
    write_page(tmp_path / "page.html", [grown(seeds[0], 0.3, 0.5), seeds[1]], None, "One of two")
    assert "1 idc 50.0 ± 0.0 30.0 ± 0.0 200 3 min 21 s 1" in Page((tmp_path / "page.html").read_text("utf-8")).text


def test_diversity_has_a_table_and_a_scatter(digits: Data, runs: list[Run], tmp_path: Path) -> None:
    protocol = DiversityProtocol(network="convnet1:width=4", epochs=1, projection="pca", projected_classes=2)
    reference = refer(digits.train, protocol)
    shown = [
        replace(run, diversities=(json.loads(json.dumps(diversity_as_plain(diversity(run.distilled, reference)))),))
        for run in runs
        if run.distilled.ipc == 3 and run.distilled.seed == 0
    ]
    write_page(tmp_path / "page.html", [*shown, runs[0]], None, "Diverse")
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "#diversity" in page.values("href")
    assert "flattened, before any global pooling, of convnet1:width=4 in evaluation mode" in page.text
    for run in shown:
        mean = run.diversities[0]["mean"]
        assert f"{100 * mean['coverage']:.1f} {mean['mmd2']:#.4g}" in page.text
    assert re.search(r"real images – – – [\d.]+ [\d.]+ [\d.]+ [\d.]+ – –", page.text)
    drawn = [text for text in page.values("alt") if "(principal components), classes 0 and 1." in text]
    assert len(drawn) == len(shown) == 2
    assert page.text.count("By class") == 1


def test_recipes_of_one_name_are_told_apart(runs: list[Run], tmp_path: Path) -> None:
    run = next(run for run in runs if run.method == "idc")
    recipe = run.distilled.recipe.with_(initializer=random().initializer)
    other = replace(run, distilled=replace(run.distilled, recipe=recipe))
    write_page(tmp_path / "page.html", [grown(run, 0.3, 0.5), grown(other, 0.2, 0.6)], None, "Two")
    text = Page((tmp_path / "page.html").read_text(encoding="utf-8")).text
    assert "made from digits by idc (initializer=mixed) and idc (initializer=real);" in text
    assert "1 idc (initializer=mixed) 50.0" in text
    assert "1 idc (initializer=real) 60.0" in text


def test_scores_on_other_data_say_on_which(runs: list[Run], tmp_path: Path) -> None:
    evaluations = tuple({"data": "photos", **evaluation} for evaluation in runs[0].evaluations)
    write_page(tmp_path / "page.html", [replace(runs[0], evaluations=evaluations)], None, "Elsewhere")
    assert "tiny on photos convnet2:width=8" in Page((tmp_path / "page.html").read_text(encoding="utf-8")).text


def test_nothing_to_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished runs"):
        write_page(tmp_path / "page.html", [], None, "x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("packed", [False, True])
def test_sound_is_shown_and_played(packed: bool, tmp_path: Path) -> None:
    write_tones(tmp_path / "words", {"low": 12, "high": 12})
    data = lb.data.load(tmp_path / "words", cache=False)
    recipe = (
        random().with_(parametrization=Partition(factor=2, axes="columns"), initializer=Mixed()) if packed else random()
    )
    lb.distill(recipe, data, ipc=2, out=tmp_path / "run", settings=lb.Settings(progress="quiet"))
    write_page(tmp_path / "page.html", [read_run(tmp_path / "run")], None, "sound")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(html)
    assert "spectrograms of 1 s of sound at 16,000 Hz" in page.text and "Griffin-Lim" in page.text
    players = [found for tag, found in page.tags if tag == "audio"]
    assert len(players) == 4 and all("controls" in found for found in players)
    assert "media-src data:" in html
    peaks = []
    for kind, content in page.pictures():
        if kind == "audio/wav":
            with wave.open(io.BytesIO(content)) as file:
                assert file.getnframes() == (32_000 if packed else 16_000) and file.getframerate() == 16_000
                samples = np.frombuffer(file.readframes(file.getnframes()), dtype=np.uint8).astype(float) - 128
            peaks.append(np.abs(np.fft.rfft(samples)).argmax() / len(samples) * 16_000)
    # Classes are sorted by name: high (1,000 Hz) is the first.
    assert [round(peak, -2) for peak in peaks] == [1000, 1000, 500, 500]
    colours = [
        Image.open(io.BytesIO(content)).convert("RGB") for kind, content in page.pictures() if kind == "image/png"
    ]
    assert len(colours) == 4
    bright = np.asarray(colours[0]).sum(axis=(1, 2)).argmax() / colours[0].height
    assert bright == pytest.approx(1 - 1000 / 8000, abs=0.05)


def test_pictures_are_not_played(page: Page) -> None:
    assert not [tag for tag, _ in page.tags if tag == "audio"] and "Griffin-Lim" not in page.text


def test_figures_that_were_selected_on_test_data_say_so(compared: Comparison, runs: list[Run], tmp_path: Path) -> None:
    heading = "Best look, % (selected on test data)"
    row = replace(compared.rows[0], selected_on_test=(0.25, 0.35))
    rows = (row, *compared.rows[1:])
    network = {**runs[0].evaluations[0]["networks"][0], "selected_on_test": [0.25, 0.75]}
    looked = replace(runs[0], evaluations=({**runs[0].evaluations[0], "networks": [network]},))
    write_page(tmp_path / "page.html", [looked, *runs[1:]], replace(compared, rows=rows), "Looked")
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    text = " ".join(page.text.split())
    assert text.count(heading) == 2 and "30.0 ± 7.1" in text and "50.0 ± 35.4" in text
    # The accuracy after the last epoch stands beside it.
    assert f"{100 * row.mean:.1f} ± {100 * row.std:.1f}" in text
    write_page(tmp_path / "plain.html", runs, compared, "Plain")
    assert "selected on test data" not in (tmp_path / "plain.html").read_text(encoding="utf-8")


def test_pictures_say_what_travels_with_a_set(runs: list[Run], tmp_path: Path) -> None:
    run = learnt(runs)
    images = run.distilled.parametrization.parts(run.distilled.ipc)
    carried = {"student_lr": torch.tensor(0.0123), "labels": torch.full((10, images, 10), 0.1)}
    write_page(tmp_path / "page.html", [replace(run, distilled=replace(run.distilled, learnt=carried))], None, "One")
    text = Page((tmp_path / "page.html").read_text(encoding="utf-8")).text.replace("\u00a0", " ")
    assert "learnt step size 0.0123" in text and "soft labels, " in text


def test_runs_with_experts_show_them_their_step_sizes_and_steps_not_taken(runs: list[Run], tmp_path: Path) -> None:
    first = learnt(runs)
    told = ((0.48, 0.17, [0.3, 0.1]), (0.49, 0.18, [0.2, 0.2]), (0.5, 0.19, [0.2, 0.1]))
    experts = [{"accuracy": right, "avg_var": mean, "changes": changes} for right, mean, changes in told]
    run = replace(
        first,
        record={**first.record, "experts": experts, "steps": 5000},
        rates=((10, 0.01), (5000, 0.0125)),
        skipped=1234,
    )
    write_page(tmp_path / "page.html", [run], None, "Experts")
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    sections = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert sections.index("experts") == sections.index("losses") - 1
    assert "#experts" in page.values("href")
    assert "0.1800 ± 0.0100" in page.text and "49.0 ± 1.0" in page.text
    assert "no number: idc, digits, IPC" in page.text and "1,234 of 5,000" in page.text
    assert "Learned step size" in page.text and "1 is no progress" in page.text
    spoken = " ".join(page.values("alt"))
    assert "AvgVar 0.1800 over 3 experts" in spoken
    assert "0.01 at first, 0.0125 at the end" in spoken


def test_runs_without_experts_say_nothing_of_them(page: Page) -> None:
    assert not {"experts"} & {found.get("id") for tag, found in page.tags if tag == "section"}
    for words in ("AvgVar", "Learned step size", "no progress", "not taken"):
        assert words not in page.text


def test_figures_and_tables_are_files_of_their_own_and_linked(runs: list[Run], tmp_path: Path) -> None:
    write_page(tmp_path / "our page.html", [learnt(runs)], None, "Files", files=True)
    page = Page((tmp_path / "our page.html").read_text(encoding="utf-8"))
    linked = {unquote(target) for target in page.values("href") if not target.startswith("#")}
    assert linked == {f"our page-files/{path.name}" for path in (tmp_path / "our page-files").iterdir()}
    assert {"our page-files/losses.png", "our page-files/evaluations.tex", "our page-files/cost.csv"} <= linked


def test_files_are_only_written_where_they_are_asked_for(folder: Path, page: Page) -> None:
    assert not list(folder.glob("*-files"))
    assert not [target for target in page.values("href") if not target.startswith("#")]
