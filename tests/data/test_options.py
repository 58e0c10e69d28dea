from __future__ import annotations

from pathlib import Path

import pytest
import tyro

from limbeck.core.errors import InputError
from limbeck.data import LoadOptions
from limbeck.data.framing import Framing


def test_the_command_line_reads_every_field() -> None:
    words = (
        "--validation 0.2 --split-seed 3 --normalization idc --image-size 8 9 --fit resize --channels rgb "
        "--root r --download --cache False --image-column i --label-column l --test-fraction 0.3 "
        "--audio-column a --sample-rate 8000 --seconds 2.5 --stream on --workers 3 --classes n01440764 n02102040"
    )
    assert tyro.cli(LoadOptions, args=words.split()) == LoadOptions(
        validation=0.2,
        split_seed=3,
        normalization="idc",
        image_size=(8, 9),
        fit="resize",
        channels="rgb",
        root=Path("r"),
        download=True,
        cache=False,
        image_column="i",
        label_column="l",
        test_fraction=0.3,
        audio_column="a",
        sample_rate=8_000,
        seconds=2.5,
        stream="on",
        workers=3,
        classes=("n01440764", "n02102040"),
    )
    assert tyro.cli(LoadOptions, args=["--classes", "imagenette"]) == LoadOptions(classes="imagenette")
    assert tyro.cli(LoadOptions, args=["--image-size", "8", "--cache", "c"]) == LoadOptions(
        image_size=8, cache=Path("c")
    )


def test_every_field_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tyro.cli(LoadOptions, args=["--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for words in ("Share of each class's training images", "constants that IDC uses", "torchvision's files"):
        assert words in text


def test_faults_show_at_once() -> None:
    with pytest.raises(InputError, match="image_size must be at least 1"):
        LoadOptions(image_size=0)
    with pytest.raises(InputError, match="unknown channels 'grey'"):
        LoadOptions.of(None, {"channels": "grey"})
    with pytest.raises(InputError, match="unknown stream 'yes'; known: auto, on, off"):
        LoadOptions.of(None, {"stream": "yes"})
    with pytest.raises(InputError, match=r"workers must be at least 1, not 0; set workers \(--workers\)"):
        LoadOptions(workers=0)
    assert LoadOptions(image_size=(3, 4)).framing == Framing(image_size=(3, 4))
