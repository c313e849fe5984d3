from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.tasks.conftest import idx_bytes, images, write_idx
from tests.tasks.test_cifar import SUBSET, write
from thalweg import InputError
from thalweg.tasks import TaskConfig, load
from thalweg.tasks.images import digits


def arrays(task):
    return (*task.train, *task.test)


def test_digits_in_full():
    task = load(TaskConfig())
    raw = digits()
    np.testing.assert_array_equal(task.train[0], (raw.x / 16).astype(np.float32))
    np.testing.assert_array_equal(task.train[1], raw.y)
    np.testing.assert_array_equal(task.test[0], (raw.x_test / 16).astype(np.float32))
    assert (task.kind, task.outputs, task.input_shape, task.label) == ("classification", 10, (1, 8, 8), "digits")
    assert task.description == (
        "digits: 1,437 training and 360 test images of 1×8×8 in 10 classes, pixels scaled to [0, 1]."
    )


def test_same_configuration_same_checksum_and_another_seed_another():
    config = TaskConfig(samples=100, label_noise=0.5, pixels="shuffled-per-image")
    assert load(config).checksum == load(config).checksum
    assert load(config).checksum != load(config.model_copy(update={"seed": 1})).checksum


def test_seed_does_not_touch_the_split():
    assert load(TaskConfig(seed=1)).checksum == load(TaskConfig(seed=2)).checksum


def test_subsample_is_stratified_and_keeps_the_order():
    full, part = load(TaskConfig()), load(TaskConfig(samples=100, test_samples=50))
    assert (len(part.train[0]), len(part.test[0])) == (100, 50)
    shares = torch.bincount(full.train[1]) * 100 / 1437
    assert (torch.bincount(part.train[1]) - shares).abs().max() < 1
    rows = [row.tobytes() for row in full.train[0].numpy()]
    found = [rows.index(row.tobytes()) for row in part.train[0].numpy()]
    assert found == sorted(found)
    assert part.label == "digits (100 of 1,437)"


@pytest.mark.parametrize("field", ["samples", "test_samples"])
def test_more_samples_than_there_are(field):
    there = "1,437" if field == "samples" else "360"
    with pytest.raises(InputError, match=f"^{field} must be at most the {there} there are, found 2,000$"):
        load(TaskConfig(**{field: 2000}))


def test_label_noise_changes_training_labels_only():
    clean, noisy = load(TaskConfig()), load(TaskConfig(label_noise=0.2))
    changed = int((clean.train[1] != noisy.train[1]).sum())
    assert 0 < changed <= 287
    assert f"287 training labels redrawn at random ({changed} changed)" in noisy.description
    for mine, theirs in [(clean.train[0], noisy.train[0]), *zip(clean.test, noisy.test, strict=True)]:
        assert torch.equal(mine, theirs)


def test_shuffled_labels():
    clean, random = load(TaskConfig()), load(TaskConfig(shuffle_labels=True))
    assert torch.equal(clean.train[1].bincount(), random.train[1].bincount())
    agreement = (clean.train[1] == random.train[1]).float().mean()
    assert 0.05 < agreement < 0.15  # chance
    assert torch.equal(clean.test[1], random.test[1])


def test_shuffled_pixels_are_shuffled_alike_in_both_sets():
    clean, shuffled = load(TaskConfig(standardize="none")), load(TaskConfig(standardize="none", pixels="shuffled"))
    # the permutation, from the columns of the training set, must carry the test set over too
    x, z = clean.train[0].flatten(1), shuffled.train[0].flatten(1)
    distance = torch.cdist(z.T, x.T)
    source = distance.argmin(1)
    assert distance.min(1).values.max() == 0
    assert torch.equal(shuffled.test[0].flatten(1), clean.test[0].flatten(1)[:, source])
    assert torch.equal(clean.train[1], shuffled.train[1])


def test_gaussian_inputs_have_the_moments_of_the_images():
    clean, noise = load(TaskConfig()), load(TaskConfig(pixels="gaussian"))
    assert noise.train[0].mean() == pytest.approx(float(clean.train[0].mean()), abs=0.01)
    assert noise.train[0].std() == pytest.approx(float(clean.train[0].std()), abs=0.01)
    assert not torch.equal(noise.train[0][: len(noise.test[0])], noise.test[0])


def test_zscore_uses_the_training_statistics():
    task = load(TaskConfig(samples=200, standardize="zscore"), torch.float64)
    raw = load(TaskConfig(samples=200, standardize="none"), torch.float64)
    mean, deviation = raw.train[0].mean(), raw.train[0].std(correction=0)
    torch.testing.assert_close(task.train[0], (raw.train[0] - mean) / deviation, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(task.test[0], (raw.test[0] - mean) / deviation, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("config", [TaskConfig(samples=20), TaskConfig(name="function", points=20)])
def test_dtype(dtype, config):
    task = load(config, dtype)
    assert task.train[0].dtype == dtype
    assert task.train[1].dtype == (torch.int64 if config.name == "digits" else dtype)


def test_dtype_must_be_a_floating_point_type():
    with pytest.raises(InputError, match=r"dtype must be a floating-point type, found torch\.int64"):
        load(TaskConfig(), torch.int64)


def test_inputs_as_the_target_of_an_autoencoder():
    task = load(TaskConfig(samples=50, target="inputs"))
    assert (task.kind, task.outputs, task.input_shape) == ("regression", 64, (1, 8, 8))
    assert torch.equal(task.train[1], task.train[0].flatten(1))


def test_function_task():
    task = load(TaskConfig(name="function", points=128, test_points=11), torch.float64)
    x, y = task.train
    torch.testing.assert_close(y, torch.sinc(5 * x), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(task.test[0][:, 0], np.linspace(0, 1, 11))
    assert task.label == "sin(5πx)/(5πx)"
    assert task.description == "sin(5πx)/(5πx) on [0, 1]: 128 equidistant points, 11 test points."


def test_function_with_noise_has_a_clean_test_set():
    config = TaskConfig(name="function", expression="0*x", noise=1.0, grid="random", points=50, test_points=50)
    task = load(config)
    assert task.train[1].std() > 0.5
    assert not task.test[1].any()


def test_function_zscore_maps_the_test_points_alike():
    config = TaskConfig(
        name="function", expression="x", interval=(0, 20), points=101, test_points=3, standardize="zscore"
    )
    task = load(config, torch.float64)
    assert task.train[0].mean().abs() < 1e-12
    deviation = np.linspace(0, 20, 101).std()
    torch.testing.assert_close(task.test[0][:, 0], torch.tensor([-10.0, 0.0, 10.0], dtype=torch.float64) / deviation)
    np.testing.assert_array_equal(task.test[1][:, 0], [0, 10, 20])  # the target stays a function of the original x


def test_function_that_is_not_finite():
    with pytest.raises(InputError, match="'1/x' must be finite"):
        load(TaskConfig(name="function", expression="1/x"))


def test_mnist_from_files(no_places, tmp_path):
    write_idx(tmp_path / "MNIST/raw", compressed=False)
    task = load(TaskConfig(name="mnist", path=tmp_path, samples=20))
    assert task.label == "MNIST subset (20 of 30)"
    assert task.train[0].shape == (20, 1, 28, 28)
    assert 0 <= task.train[0].min() < task.train[0].max() <= 1


def test_cifar_from_files(no_places, tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    write(folder, "batches-bin")
    task = load(TaskConfig(name="cifar10", path=tmp_path))
    assert task.label == "CIFAR-10 subset (20)"
    assert task.train[0].shape == (20, 3, 32, 32)


def test_missing_data(no_places, tmp_path):
    with pytest.raises(InputError, match=r"'mnist' was not found in .*: fetch it with `thalweg data fetch mnist`"):
        load(TaskConfig(name="mnist"))
    with pytest.raises(InputError, match="data set 'cifar10' was not found in"):
        load(TaskConfig(name="cifar10", path=tmp_path))


@pytest.mark.skipif(not SUBSET.is_file(), reason="needs a file of genuine CIFAR-10 images")
def test_genuine_cifar_is_called_a_subset():
    task = load(TaskConfig(name="cifar10", path=SUBSET, samples=1000))
    assert task.label.startswith("CIFAR-10 subset (1,000 of ")
    assert torch.bincount(task.train[1]).min() > 80


@pytest.mark.parametrize("fields", [{"pixels": "gaussian", "standardize": "none"}, {"standardize": "zscore"}])
def test_statistics_come_from_the_training_set(no_places, tmp_path, fields):
    """A test set that is all dark must not be brightened by its own statistics."""
    write_idx(tmp_path, compressed=False)
    dark = np.zeros((20, 28, 28), dtype=np.uint8)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(dark))
    task = load(TaskConfig(name="mnist", path=tmp_path, **fields))
    mean, deviation = images(30).mean(), images(30).std()
    if "pixels" in fields:  # noise with the training set's moments, whatever the test images were
        assert task.test[0].mean() == pytest.approx(mean, abs=5 * deviation / (20 * 784) ** 0.5)
        assert task.test[0].std() == pytest.approx(deviation, rel=0.05)
    else:
        np.testing.assert_allclose(task.test[0], -mean / deviation, rtol=1e-5)
