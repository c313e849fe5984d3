from __future__ import annotations

import numpy as np
import pytest

from thalweg import InputError
from thalweg.tasks.images import RawImages, digits


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    raw, bunch = digits(), load_digits()
    both = np.concatenate([raw.x, raw.x_test]).reshape(1797, 64)
    order, theirs = np.lexsort(both.T), np.lexsort(bunch.data.T)
    np.testing.assert_array_equal(both[order], bunch.data[theirs])
    np.testing.assert_array_equal(np.concatenate([raw.y, raw.y_test])[order], bunch.target[theirs])


def test_split_of_digits_is_fixed_and_stratified():
    raw = digits()
    assert (len(raw.x), len(raw.x_test)) == (1437, 360)
    # published sizes of the ten classes, a fifth of each held back
    published = np.array([178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
    np.testing.assert_array_equal(np.bincount(raw.y) + np.bincount(raw.y_test), published)
    assert (np.abs(np.bincount(raw.y_test) - published * 360 / 1797) < 1).all()
    again = digits()
    np.testing.assert_array_equal(raw.x_test, again.x_test)
    assert (raw.x.max(), raw.top) == (16, 16.0)


def test_sizes_must_fit():
    x, y = np.zeros((2, 1, 4, 4), np.uint8), np.zeros(2, np.int64)
    with pytest.raises(InputError, match="one size"):
        RawImages("t", x, y, x[..., :3], y)
    with pytest.raises(InputError, match="found 0 images and 0 labels"):
        RawImages("t", x, y, x[:0], y[:0])
    with pytest.raises(InputError, match="test labels must be 0 to 9, found -1"):
        RawImages("t", x, y, x, y - 1)
