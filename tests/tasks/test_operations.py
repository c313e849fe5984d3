from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg import InputError
from thalweg.tasks.operations import (
    corrupt_labels,
    gaussian_pixels,
    scaling,
    shuffle_labels,
    shuffle_pixels,
    stratified,
    stream,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_streams_are_reproducible_and_apart():
    first = stream(0, "labels").integers(1 << 60)
    assert first == stream(0, "labels").integers(1 << 60)
    assert first != stream(0, "pixels").integers(1 << 60)
    assert first != stream(1, "labels").integers(1 << 60)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.data(), st.integers(0, 3))
def test_stratified_keeps_every_share_to_the_nearest_sample(values, data, seed):
    labels = np.array(values, dtype=np.int64)
    count = data.draw(st.integers(1, len(labels)))
    kept = stratified(labels, count, rng(seed))
    assert len(kept) == count
    assert (np.diff(kept) > 0).all()  # ascending, none twice
    for name in np.unique(labels):
        share = count * np.mean(labels == name)
        assert math.floor(share) <= np.sum(labels[kept] == name) <= math.ceil(share)


def test_stratified_choice_within_a_class_is_uniform():
    labels = np.zeros(10, dtype=np.int64)
    counts = sum(np.bincount(stratified(labels, 3, rng(seed)), minlength=10) for seed in range(2000))
    from scipy.stats import chisquare

    assert chisquare(counts).pvalue > 0.001


def test_too_many_samples():
    with pytest.raises(InputError, match="samples must be at most the 3 there are, found 4"):
        stratified(np.zeros(3, dtype=np.int64), 4, rng())


def test_exact_number_of_labels_is_redrawn_uniformly():
    true = np.zeros(50_000, dtype=np.int64)
    noisy, redrawn = corrupt_labels(true, 0.6, 10, rng())
    assert redrawn.sum() == 30_000
    np.testing.assert_array_equal(noisy[~redrawn], 0)
    counts = np.bincount(noisy[redrawn], minlength=10)  # the true class is drawn as often as the others
    from scipy.stats import chisquare

    assert chisquare(counts).pvalue > 0.001


def test_independent_redraw_is_binomial():
    sums = [corrupt_labels(np.zeros(1000, dtype=np.int64), 0.3, 4, rng(s), exact=False)[1].sum() for s in range(400)]
    assert np.mean(sums) == pytest.approx(300, abs=5 * math.sqrt(210 / 400))
    assert np.var(sums) == pytest.approx(210, rel=5 * math.sqrt(2 / 400))


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (1.0, 7), (0.5, 4)])
def test_shares_at_the_ends(share, count):
    assert corrupt_labels(np.arange(7), share, 10, rng())[1].sum() == count


def test_corruption_leaves_the_argument_alone():
    labels = np.arange(10)
    corrupt_labels(labels, 1.0, 10, rng())
    np.testing.assert_array_equal(labels, np.arange(10))


@pytest.mark.parametrize("share", [-0.1, 1.5, math.nan])
def test_bad_share(share):
    with pytest.raises(InputError, match="label_noise must be a share between 0 and 1, found"):
        corrupt_labels(np.arange(3), share, 10, rng())


def test_shuffled_labels_keep_the_class_sizes():
    labels = np.repeat(np.arange(5), [1, 2, 3, 4, 50])
    shuffled = shuffle_labels(labels, rng())
    np.testing.assert_array_equal(np.bincount(shuffled), [1, 2, 3, 4, 50])
    assert not np.array_equal(shuffled, labels)


def places(count: int) -> np.ndarray:
    """Images (N, 2, 3, 4) whose pixel values say where they came from; the second channel is the first plus 100."""
    first = np.tile(np.arange(12).reshape(1, 1, 3, 4), (count, 1, 1, 1))
    return np.concatenate([first, first + 100], axis=1)


def test_one_permutation_for_all_images():
    shuffled = shuffle_pixels(places(5), rng())
    np.testing.assert_array_equal(shuffled, np.broadcast_to(shuffled[:1], shuffled.shape))
    np.testing.assert_array_equal(np.sort(shuffled[0, 0].ravel()), np.arange(12))
    np.testing.assert_array_equal(shuffled[:, 1], shuffled[:, 0] + 100)  # colours stay together
    assert not np.array_equal(shuffled[0, 0].ravel(), np.arange(12))


def test_another_permutation_for_each_image():
    shuffled = shuffle_pixels(places(6000), rng(), per_image=True)  # more than one chunk
    np.testing.assert_array_equal(np.sort(shuffled[:, 0].reshape(6000, -1)), np.tile(np.arange(12), (6000, 1)))
    np.testing.assert_array_equal(shuffled[:, 1], shuffled[:, 0] + 100)
    from scipy.stats import chisquare

    assert chisquare(np.bincount(shuffled[:, 0, 0, 0], minlength=12)).pvalue > 0.001  # every pixel comes first as often


def test_gaussian_images_have_the_moments_of_each_channel():
    like = np.stack([rng(1).normal(5, 2, (300, 8, 8)), rng(2).uniform(0, 255, (300, 8, 8))], axis=1)
    noise = gaussian_pixels(5000, like, rng())
    assert noise.shape == (5000, 2, 8, 8)
    assert noise.dtype == np.float32
    for channel in range(2):
        values, own = noise[:, channel], like[:, channel]
        assert values.mean() == pytest.approx(own.mean(), abs=5 * own.std() / math.sqrt(values.size))
        assert values.std() == pytest.approx(own.std(), rel=5 / math.sqrt(2 * values.size))


def test_zscore_is_that_of_scikit_learn_and_of_the_training_set():
    from sklearn.preprocessing import StandardScaler

    train, test = rng(1).normal(3, 2, (500, 4)), rng(2).normal(3, 2, (100, 4))
    ours, theirs = scaling("zscore", train), StandardScaler().fit(train)
    np.testing.assert_allclose(ours(train, np.float64), theirs.transform(train), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours(test, np.float64), theirs.transform(test), rtol=1e-12, atol=1e-12)


def test_zscore_of_bytes_by_channel():
    images = rng().integers(256, size=(5000, 3, 4, 4), dtype=np.uint8)
    scaled = scaling("zscore", images)(images, np.float64)
    np.testing.assert_allclose(scaled.mean(axis=(0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(axis=(0, 2, 3)), 1, rtol=1e-12)


def test_pixel_range_and_none():
    images = np.array([0, 8, 16], dtype=np.uint8).reshape(1, 1, 1, 3)
    np.testing.assert_array_equal(scaling("pixel-range", images, 16.0)(images).ravel(), [0, 0.5, 1])
    np.testing.assert_array_equal(scaling("none", images, 16.0)(images).ravel(), [0, 8, 16])


def test_constant_channel_has_no_zscore():
    images = rng().integers(256, size=(9, 2, 4, 4), dtype=np.uint8)
    images[:, 1] = 7
    with pytest.raises(InputError, match="'zscore' needs inputs that vary, found channel 1 constant"):
        scaling("zscore", images)
