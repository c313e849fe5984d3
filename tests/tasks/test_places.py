from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tasks.conftest import NAMES, images, labels, write_idx
from tests.tasks.test_cifar import write
from thalweg import InputError
from thalweg.tasks import list_data, places, where
from thalweg.tasks.places import Found, locate, missing_message, source
from thalweg.tasks.sources import CIFAR10, FASHION_MNIST, MNIST, SOURCES


def test_search_path_in_order(no_places, tmp_path, monkeypatch):
    monkeypatch.setenv("THALWEG_DATA", f"{tmp_path / 'a'}:{tmp_path / 'b'}")
    (tmp_path / "b").mkdir()
    found = where()
    assert [place.path for place in found] == [
        tmp_path / "a",
        tmp_path / "b",
        no_places,
        tmp_path / "debian",
        tmp_path / "home/.keras/datasets",
    ]
    assert [place.exists for place in found] == [False, True, False, False, False]
    assert [place.path for place in where(tmp_path / "own")] == [tmp_path / "own"]


@pytest.mark.parametrize(
    ("wanted", "below"),
    [(MNIST, "MNIST/raw"), (MNIST, "mnist"), (MNIST, "."), (FASHION_MNIST, "FashionMNIST/raw"), (FASHION_MNIST, ".")],
)
@pytest.mark.parametrize("how", ["path", "variable"])
def test_layouts_below_a_named_folder(no_places, tmp_path, monkeypatch, wanted, below, how):
    root = tmp_path / "data"
    write_idx(root / below, compressed=below != "mnist")
    if how == "variable":
        monkeypatch.setenv("THALWEG_DATA", str(root))
    found = locate(wanted, root if how == "path" else None)
    assert found is not None
    assert found.layout == "idx"
    assert found.path.resolve() == (root / below).resolve()


def test_cache_debian_and_keras(no_places, tmp_path):
    keras = tmp_path / "home/.keras/datasets"
    keras.mkdir(parents=True)
    np.savez(keras / "mnist.npz", x_train=images(3), y_train=labels(3), x_test=images(3), y_test=labels(3))
    assert locate(MNIST) == Found("npz", keras / "mnist.npz")
    write_idx(tmp_path / "debian/fashion-mnist", compressed=True)
    assert locate(FASHION_MNIST) == Found("idx", tmp_path / "debian/fashion-mnist")
    write_idx(no_places / "mnist", compressed=True)
    assert locate(MNIST) == Found("idx", no_places / "mnist")  # the cache comes before Keras
    assert locate(CIFAR10) is None


@pytest.mark.parametrize("layout", ["batches-py", "batches-bin"])
@pytest.mark.parametrize("inside", [True, False])
def test_cifar_batches(no_places, tmp_path, layout, inside):
    folder = tmp_path / f"cifar-10-{layout}"
    folder.mkdir()
    write(folder, layout, count=1)
    assert locate(CIFAR10, folder if inside else tmp_path) == Found(layout, folder)


def test_a_file_as_path(no_places, tmp_path):
    file = tmp_path / "mine.npz"
    file.touch()
    assert locate(CIFAR10, file) == Found("npz", file)
    other = tmp_path / "mine.zip"
    other.touch()
    with pytest.raises(InputError, match=r"path must be a folder or an \.npz file"):
        locate(CIFAR10, other)


def test_incomplete_folder_is_not_passed_over(no_places, tmp_path):
    write_idx(no_places / "mnist", compressed=True)
    (no_places / "mnist" / f"{NAMES[3]}.gz").unlink()
    with pytest.raises(InputError, match=f"mnist must hold all files of MNIST, found no {NAMES[3]}"):
        locate(MNIST)
    note = next(row.note for row in list_data() if row.name == "mnist")
    assert "found no t10k-labels" in note


def test_list_on_an_empty_machine(no_places):
    rows = {row.name: row for row in list_data()}
    assert rows["digits"].found == "ships with scikit-learn"
    for name in SOURCES:
        assert rows[name].found is None
        assert rows[name].note == f"fetch with `thalweg data fetch {name}`"


def test_list_shows_what_is_there(no_places):
    write_idx(no_places / "mnist", compressed=True)
    row = next(row for row in list_data() if row.name == "mnist")
    assert (row.found, row.note) == (str(no_places / "mnist"), "")


def test_missing_data_say_where_and_how(no_places):
    message = missing_message(FASHION_MNIST)
    assert str(no_places) in message
    assert "`thalweg data fetch fashion-mnist`" in message
    assert "apt install dataset-fashion-mnist" in message
    assert missing_message(MNIST, Path("mine")) == "data set 'mnist' was not found in 'mine'"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fasion-mnist", "did you mean 'fashion-mnist'"),
        ("imagenet", "data must be one of mnist, fashion-mnist, cifar10, found 'imagenet'"),
        ("digits", "'digits' needs no files"),
    ],
)
def test_unknown_source(name, message):
    with pytest.raises(InputError, match=message):
        source(name)


def test_cache_folder_follows_the_platform(no_places, tmp_path):
    assert places.cache_folder() == tmp_path / "cache/thalweg/data"
