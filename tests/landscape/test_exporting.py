"""Surfaces for other programs: what is written reads back equal, by a parser of our own here and by VTK where it is."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from thalweg.errors import InputError
from thalweg.landscape import Directions, Grid, surface
from thalweg.landscape.exporting import export, export_surface
from thalweg.landscape.saved import SavedSurface
from thalweg.objective import Objective
from thalweg.runs import Run

X, Y = np.linspace(-1.0, 2.0, 4), np.linspace(0.5, 1.0, 3)
PATH = {
    "coordinates": np.array([[-1.0, 0.5], [0.0, 0.6], [1.5, 0.9]]),
    "loss": np.array([4.0, 1.0, 0.5]),
    "true loss": np.array([3.0, 0.8, 0.1]),
    "step": np.array([0, 10, 20]),
}


def asymmetric(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 1.0 + (x + 2) ** 2 * y


def plane() -> SavedSurface:
    loss = asymmetric(X[:, None], Y[None, :])
    return SavedSurface((X, Y), ("PC 1", "PC 2"), {"loss": loss, "accuracy": 1 / loss}, PATH)


def volume() -> SavedSurface:
    z = np.array([0.0, 1.0])
    loss = X[:, None, None] + 10 * Y[None, :, None] + 100 * z
    return SavedSurface((X, Y, z), ("a", "b", "c"), {"loss": loss.astype(np.float32)})


def parsed(file: Path) -> tuple[ET.Element, dict[str, np.ndarray]]:
    """The root and all arrays of a VTK XML file, decoded by its own description."""
    root = ET.fromstring(file.read_bytes())
    arrays = {}
    for node in root.iter("DataArray"):
        raw = base64.b64decode(node.text or "")
        length = int(np.frombuffer(raw[:8], "<u8")[0])
        assert len(raw) == 8 + length
        name, bits = re.fullmatch(r"(Float|Int|UInt)(\d+)", node.attrib["type"]).groups()  # type: ignore[union-attr]
        found = np.frombuffer(raw[8:], f"<{name[0].lower()}{int(bits) // 8}")
        parts = node.attrib.get("NumberOfComponents")
        arrays[node.attrib["Name"]] = found if parts is None else found.reshape(-1, int(parts))
    return root, arrays


def test_vtk_surface_holds_every_number(tmp_path: Path) -> None:
    files = export_surface(plane(), tmp_path / "plane", log=False)
    assert [file.name for file in files] == ["plane.vts", "plane-path.vtp"]
    root, arrays = parsed(files[0])
    assert root.find("StructuredGrid").attrib["WholeExtent"] == "0 3 0 2 0 0"  # type: ignore[union-attr]
    assert len(arrays["Points"]) == 12
    for (x, y, z), loss, accuracy in zip(arrays["Points"], arrays["loss"], arrays["accuracy"], strict=True):
        assert z == loss == asymmetric(x, y)
        assert accuracy == 1 / loss
    assert np.array_equal(arrays["Points"][:4, 0], X)  # x runs fastest
    _, path = parsed(files[1])
    assert np.array_equal(path["Points"], np.column_stack([PATH["coordinates"], PATH["loss"]]))
    for name in ("loss", "true loss", "step"):
        assert np.array_equal(path[name], PATH[name])
    assert path["connectivity"].tolist() == [0, 1, 2]
    assert path["offsets"].tolist() == [3]


def test_height_is_logarithmic_where_the_loss_spans_decades(tmp_path: Path) -> None:
    steep = plane()
    values = {"loss": np.geomspace(1e-3, 1.0, 12).reshape(4, 3)}
    _, arrays = parsed(export_surface(SavedSurface(steep.axes, steep.labels, values), tmp_path / "steep")[0])
    assert np.allclose(10 ** arrays["Points"][:, 2], arrays["loss"])
    _, flat = parsed(export_surface(plane(), tmp_path / "flat")[0])
    assert np.array_equal(flat["Points"][:, 2], flat["loss"])


def test_cells_without_a_value_are_hidden_and_stay_what_they_are(tmp_path: Path) -> None:
    loss = asymmetric(X[:, None], Y[None, :])
    loss[0, 1], loss[3, 2] = np.nan, np.inf
    _, arrays = parsed(
        export_surface(SavedSurface((X, Y), ("a", "b"), {"loss": loss}), tmp_path / "torn", log=False)[0]
    )
    assert np.array_equal(arrays["loss"], loss.ravel(order="F"), equal_nan=True)
    assert np.array_equal(arrays["vtkGhostType"] == 2, ~np.isfinite(arrays["loss"]))
    assert np.isfinite(arrays["Points"]).all()


def test_volumes_and_curves(tmp_path: Path) -> None:
    (file,) = export_surface(volume(), tmp_path / "volume")
    root, arrays = parsed(file)
    image = root.find("ImageData")
    assert image is not None
    assert (file.name, image.attrib["Spacing"]) == ("volume.vti", "1.0 0.25 1.0")
    assert np.array_equal(arrays["loss"], volume().values["loss"].ravel(order="F"))
    uneven = SavedSurface((np.array([0.0, 1.0, 5.0]), Y, Y), ("a", "b", "c"), {"loss": np.ones((3, 3, 3))})
    assert export_surface(uneven, tmp_path / "uneven")[0].name == "uneven.vts"
    tiny = SavedSurface((np.array([0.0, 1.0, 5.0]) * 1e-9, Y, Y), ("a", "b", "c"), {"loss": np.ones((3, 3, 3))})
    assert export_surface(tiny, tmp_path / "tiny")[0].name == "tiny.vts"
    line = SavedSurface((X,), ("alpha",), {"loss": X**2})
    _, arrays = parsed(export_surface(line, tmp_path / "line")[0])
    assert np.array_equal(arrays["Points"], np.column_stack([X, 0 * X, X**2]))


@pytest.mark.parametrize("make", [plane, volume])
def test_vtk_itself_reads_the_same(make, tmp_path: Path) -> None:
    pytest.importorskip("vtk")
    from vtkmodules import vtkIOXML
    from vtkmodules.util.numpy_support import vtk_to_numpy

    readers = {
        ".vts": vtkIOXML.vtkXMLStructuredGridReader,
        ".vti": vtkIOXML.vtkXMLImageDataReader,
        ".vtp": vtkIOXML.vtkXMLPolyDataReader,
    }
    surface = make()
    for file in export_surface(surface, tmp_path / "s", log=False):
        reader = readers[file.suffix]()
        reader.SetFileName(str(file))
        reader.Update()
        read = reader.GetOutput()
        ours = surface.path if file.suffix == ".vtp" else surface.values
        for name, values in ours.items():
            if name != "coordinates":
                assert np.array_equal(vtk_to_numpy(read.GetPointData().GetArray(name)), values.ravel(order="F"))
        places = np.array([read.GetPoint(i) for i in range(read.GetNumberOfPoints())])
        if file.suffix == ".vtp":
            assert read.GetNumberOfLines() == 1
            expected = surface.path["coordinates"]
        else:
            expected = np.stack([p.ravel(order="F") for p in np.meshgrid(*surface.axes, indexing="ij")], axis=1)
        assert np.allclose(places[:, : expected.shape[1]], expected)


def test_npz_reads_back_equal(tmp_path: Path) -> None:
    (file,) = export_surface(plane(), tmp_path / "plane", "npz")
    with np.load(file) as read:
        assert np.array_equal(read["axis_1"], Y)
        assert read["labels"].tolist() == ["PC 1", "PC 2"]
        assert np.array_equal(read["loss"], plane().values["loss"])
        assert np.array_equal(read["path_true loss"], PATH["true loss"])


def test_parquet_reads_back_equal(tmp_path: Path) -> None:
    files = export_surface(plane(), tmp_path / "plane", "parquet")
    cells, path = (pl.read_parquet(file) for file in files)
    assert cells.columns == ["PC 1", "PC 2", "loss", "accuracy"]
    assert (cells["loss"] == asymmetric(cells["PC 1"].to_numpy(), cells["PC 2"].to_numpy())).all()
    assert np.array_equal(cells["loss"].to_numpy().reshape(4, 3), plane().values["loss"])
    assert np.array_equal(path.select("PC 1", "PC 2").to_numpy(), PATH["coordinates"])
    assert path["step"].to_list() == [0, 10, 20]


def test_a_run_exports_what_it_keeps(tmp_path: Path) -> None:
    origin = {"seed": 0, "device": "cpu", "data_checksum": None, "command": "test"}
    run = Run.create(tmp_path, "demo", {}, **origin)
    with pytest.raises(InputError, match="keeps no surface that could be written as vtk"):
        export(run, "vtk")
    with run.writing():
        run.save("surface-pca", plane().arrays())
        run.save("other", {"x": 1})
    folder = export(run, "npz")
    assert folder == run.files.exports / "npz"
    with np.load(folder / "pca.npz") as read:
        assert np.array_equal(read["accuracy"], plane().values["accuracy"])
        assert np.array_equal(read["path_coordinates"], PATH["coordinates"])


def test_a_surface_is_written_as_it_was_evaluated(tmp_path: Path) -> None:
    objective = Objective(torch.nn.Linear(2, 1), torch.nn.MSELoss(), (torch.randn(5, 2), torch.randn(5, 1)))
    directions = Directions(torch.eye(3)[:2], ("eigenvector", "eigenvector"))
    found = surface(objective, objective.theta, directions, Grid(points=(3, 5)), metrics=("loss", "gradient_norm"))
    with np.load(export_surface(found, tmp_path / "s", "npz")[0]) as read:
        assert read["labels"].tolist() == ["eigenvector", "eigenvector (2)"]
        assert np.array_equal(read["gradient_norm"], found.values["gradient_norm"])
        assert np.array_equal(read["axis_1"], found.axes[1])
    assert SavedSurface.of(found).arrays().keys() == SavedSurface.of(SavedSurface.of(found)).arrays().keys()


def test_bad_input_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="to must be one of vtk, npz, parquet, found 'vtx', did you mean 'vtk'"):
        export_surface(plane(), tmp_path / "p", "vtx")
    with pytest.raises(InputError, match="log must be left out for npz"):
        export_surface(plane(), tmp_path / "p", "npz", log=True)
    with pytest.raises(InputError, match="log must be False for a surface without a positive loss"):
        export_surface(SavedSurface((X,), ("a",), {"loss": -np.ones(4)}), tmp_path / "p", log=True)
    with pytest.raises(InputError, match=r"log must be left out for three axes"):
        export_surface(volume(), tmp_path / "p", log=True)
    with pytest.raises(InputError, match=r"values\['loss'\] must have the shape of the axes \(4, 3\), found \(3, 4\)"):
        SavedSurface((X, Y), ("a", "b"), {"loss": np.ones((3, 4))})
    with pytest.raises(InputError, match="values must hold at least one metric"):
        SavedSurface((X, Y), ("a", "b"), {})
    with pytest.raises(InputError, match="labels and metrics must differ"):
        SavedSurface((X,), ("loss",), {"loss": X})
    with pytest.raises(InputError, match="path must hold 'loss'"):
        SavedSurface((X,), ("a",), {"loss": X}, {"coordinates": np.zeros((2, 1))})
    with pytest.raises(InputError, match=r"path\['coordinates'\] must have shape \(2, 1\), found \(3, 1\)"):
        SavedSurface((X,), ("a",), {"loss": X}, {"coordinates": np.zeros((3, 1)), "loss": np.zeros(2)})
    assert list(tmp_path.iterdir()) == []
