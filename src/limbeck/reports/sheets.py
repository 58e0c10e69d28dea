"""Pictures of a distilled set for a page: a strip of images for each class, spectrograms with players."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from limbeck.core.distilled import Distilled
from limbeck.formats.wav import clips, wav_bytes
from limbeck.reports.canvas import data_uri, images_per_class
from limbeck.reports.comparison import Row
from limbeck.reports.entries import WIDE, Entry
from limbeck.reports.figures import FULL
from limbeck.reports.tables import human_bytes, percent
from limbeck.storage.examples import read_examples
from limbeck.storage.preview import picture, shown, shown_range

__all__ = ["MOST_CLASSES", "SMALL", "images_section", "sheet"]

MOST_CLASSES, _MOST_IMAGES = 20, 20
"""Images of a set that are shown."""
SMALL = 24
"""Least height of an image in CSS pixels where a set is shown small."""
_GAP = 2
"""CSS pixels between images."""
_HEARD, _HEARD_SMALL = 96, 64
"""Heights in CSS pixels of spectrograms that can be played, and of those of sets that are shown small."""


def images_section(entries: Sequence[Entry], colours: Mapping[str, str], rows: Sequence[Row]) -> dict[str, Any]:
    """Pictures by data and IPC: first seeds, what was learnt before what was picked, then further seeds.

    Args:
        entries: the runs.
        colours: by method.
        rows: of the comparison, if there is one, for the accuracies beside the names.
    """
    several = len({entry.distilled.spec.digest for entry in entries}) > 1
    grouped: dict[tuple[str, int], list[Entry]] = {}
    for entry in entries:
        grouped.setdefault((entry.distilled.spec.digest, entry.distilled.ipc), []).append(entry)
    reached: dict[tuple[int, str], list[str]] = {}
    several_kinds = len({row.label_kind for row in rows}) > 1
    for row in rows:
        if row.method != FULL:
            kind = (", hard labels" if row.label_kind == "hard" else ", soft labels") if several_kinds else ""
            score = percent(row.mean, row.std, len(row.accuracies)) + " %" + kind
            reached.setdefault((row.ipc, row.method), []).append(score)
    groups = []
    for (_, ipc), members in grouped.items():
        first = {entry.label: entry for entry in reversed(members)}
        leading = [entry for entry in members if first[entry.label] is entry]
        further = [entry for entry in members if first[entry.label] is not entry]
        name = members[0].distilled.spec.name
        learnt = [entry for entry in leading if entry.learnt]
        heard = members[0].distilled.spec.sound is not None
        examples = None if heard else _examples(leading)
        # Beside each other, a class of one stands beside that of the other.
        width = WIDE // 2 - 20 if examples is not None and len(learnt) == 1 else WIDE
        least = 48 if len(learnt) == 1 else 40
        large = [_shown(entry, least, colours, reached, width=width) for entry in learnt]
        if examples is not None:
            large.append({"colour": colours[FULL], **_real(members[0].distilled, examples, large[:1])})
        groups.append(
            {
                "title": f"{name}, {images_per_class(ipc)}" if several else images_per_class(ipc),
                "learnt": large,
                "beside": not heard
                and len(large) > 1
                and all(sheet["tiles"] or sheet["width"] < WIDE // 2 for sheet in large),
                "picked": [_shown(entry, SMALL, colours, reached) for entry in leading if not entry.learnt],
                "further": [_shown(entry, SMALL, colours, {}, played=False) for entry in further],
            }
        )
    return {"groups": groups, "heard": any(entry.distilled.spec.sound is not None for entry in entries)}


def _shown(
    entry: Entry,
    least: int,
    colours: Mapping[str, str],
    reached: Mapping[tuple[int, str], Sequence[str]],
    played: bool = True,
    width: int = WIDE,
) -> dict[str, Any]:
    """Pictures of one set, under the name and in the colour of its method."""
    scores = reached.get((entry.distilled.ipc, entry.label), ())
    return {
        "label": entry.label,
        "colour": colours[entry.label],
        **sheet(entry.distilled, least, list(scores), width=width, played=played),
    }


def sheet(
    distilled: Distilled, least: int, remarks: Sequence[str], *, width: int, played: bool = True
) -> dict[str, Any]:
    """Pictures of one set, class by class; sound with players.

    Args:
        distilled: the set.
        least: least height of an image in CSS pixels.
        remarks: what is noted of it beside seed and size.
        width: CSS pixels that a class may take.
        played: whether sound can be played.

    Returns:
        What the page's template shows: ``notes``, ``strips`` with a picture or players for each class, sizes.
    """
    played = played and distilled.spec.sound is not None
    names = distilled.spec.class_names[:MOST_CLASSES]
    rows, columns = (int(size) for size in distilled.stored.shape[-2:])
    size = _shown_height(rows, least)
    room = (width - 110) // (round(columns * size / rows) + _GAP) if least > SMALL else 10
    images = min(max(10, room), _MOST_IMAGES, distilled.ipc)
    if played:
        size, images = (_HEARD, min(8, distilled.ipc)) if least > SMALL else (_HEARD_SMALL, min(3, distilled.ipc))
    notes = [f"seed {distilled.seed}", human_bytes(distilled.bytes), *remarks]
    if distilled.label_bytes:
        notes.append(f"soft labels, {human_bytes(distilled.label_bytes)}")
    if distilled.student_lr is not None:
        notes.append(f"learnt step size {distilled.student_lr:g}")
    if len(names) < distilled.spec.classes:
        notes.append(f"first {len(names)} of {distilled.spec.classes} classes")
    if images < distilled.ipc:
        notes.append(f"first {images} of {distilled.ipc} images per class")
    decoded = distilled.parametrization.parts(distilled.ipc)
    if decoded % distilled.ipc:
        notes.append(f"decoded to {decoded} training images per class")
    elif decoded > distilled.ipc:
        notes.append(f"each stored image holds {decoded // distilled.ipc} training images")
    if played and decoded > distilled.ipc:
        notes.append("its clips are played one after another")
    values = shown_range(distilled)
    if values != (0.0, 1.0):
        notes.append(f"drawn from {values[0]:.2g} (black) to {values[1]:.2g} (white); real images go from 0 to 1")
    strips: list[dict[str, Any]]
    if played:
        strips = [{"name": name, **_played(distilled, label, images, size)} for label, name in enumerate(names)]
    else:
        strips = [
            {"name": name, **_strip(distilled, label, 0, images, size, values)} for label, name in enumerate(names)
        ]
    longest = max(map(len, names))
    return {
        "notes": [note.replace(" ", "\u00a0") if len(note) < 24 else note for note in notes],
        "played": played,
        "tiles": images <= 2 and not played,
        "tile": max(strips[0]["width"], min(72, 7 * longest)),
        "strips": strips,
        "width": strips[0]["width"] + min(110, 8 * longest) + 12,
        "size": size,
        "columns": images,
    }


def _examples(entries: Sequence[Entry]) -> Tensor | None:
    """Real images of the first run that has kept some."""
    for entry in entries:
        found = read_examples(entry.run.folder, entry.distilled.spec)
        if found is not None:
            return found
    return None


def _real(distilled: Distilled, examples: Tensor, like: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Pictures of real images, as large and as many as those of the set beside them.

    Args:
        distilled: any set of their data.
        examples: of the first classes, ``[K, n, C, H, W]``.
        like: what `sheet` returned for the set beside them, or nothing.
    """
    count = min(int(examples.shape[1]), *(set["columns"] for set in like), _MOST_IMAGES)
    size = like[0]["size"] if like else _shown_height(int(examples.shape[-2]), 40)
    names = distilled.spec.class_names[: examples.shape[0]]
    strips = [
        {"name": name, **_drawn(examples[label : label + 1, :count], size, sound=False)}
        for label, name in enumerate(names)
    ]
    longest = max(map(len, names))
    return {
        "label": "real training images",
        "notes": [f"the first{f' {count}' if count > 1 else ''} of each class", "not distilled"],
        "played": False,
        "tiles": count <= 2,
        "tile": max(strips[0]["width"], min(72, 7 * longest)),
        "strips": strips,
        "width": strips[0]["width"] + min(110, 8 * longest) + 12,
    }


def _shown_height(height: int, least: int) -> int:
    """CSS pixels for the height of an image: a whole multiple of it, unless it is large."""
    return min(height * -(-least // height), 2 * least)


def _played(distilled: Distilled, label: int, images: int, size: int) -> dict[str, Any]:
    """Spectrograms of one class, each with what it sounds like: the clips that are decoded from it, on end."""
    sound = distilled.spec.sound
    assert sound is not None  # else nothing is played
    players = []
    for row in range(images):
        stored = distilled.values(distilled.stored[label, row : row + 1].detach().cpu())
        decoded = distilled.parametrization.decode(stored)
        if distilled.parametrization.space == "normalized":
            decoded = distilled.spec.normalization.invert(decoded)
        # Eight bits: what Griffin-Lim leaves of a voice is coarser, and a page holds many clips.
        recording = wav_bytes(clips(decoded, sound).flatten(), sound.sample_rate, width=1)
        strip = _strip(distilled, label, row, 1, size, (0.0, 1.0))
        players.append({**strip, "sound": data_uri(recording, "wav")})
    return {"shown": players, "width": sum(image["width"] + 2 * _GAP for image in players)}


def _strip(
    distilled: Distilled, label: int, first: int, images: int, size: int, values: tuple[float, float]
) -> dict[str, Any]:
    """Images of one class beside each other, two pixels for each CSS pixel, so that they are sharp on any screen."""
    stored = shown(distilled, distilled.stored[label : label + 1, first : first + images], values)
    return _drawn(stored, size, distilled.spec.sound is not None)


def _drawn(images: Tensor, size: int, sound: bool) -> dict[str, Any]:
    """Images ``[1, n, C, H, W]`` as a picture that is ``size`` CSS pixels high."""
    from PIL import Image

    height = int(images.shape[-2])
    scale = max(1, 2 * size // height)
    gap = max(1, round(2 * _GAP * scale * height / (2 * size)))
    drawn = picture(images, scale=scale, gap=gap, sound=sound)
    shrink = size / (scale * height)
    width, tall = round(drawn.width * shrink), round(drawn.height * shrink)
    if drawn.width > 2 * width:
        drawn = drawn.resize((2 * width, 2 * tall), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    drawn.save(buffer, format="PNG", optimize=True)
    return {"uri": data_uri(buffer.getvalue(), "png"), "width": width, "height": tall}
