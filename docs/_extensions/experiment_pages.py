"""One page per experiment, written from its docstring and its configuration whenever the docs are built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic_core import PydanticUndefined

from thalweg.experiments import discover
from thalweg.experiments.framework.fields import FieldRow, rows, value

if TYPE_CHECKING:
    from sphinx.application import Sphinx

    from thalweg.experiments import Experiment


def write_pages(app: Sphinx) -> None:
    """Write ``experiments/index.rst`` and a page for every experiment; unchanged pages keep their date."""
    folder = Path(app.srcdir) / "experiments"
    folder.mkdir(exist_ok=True)
    experiments = discover()
    pages = {f"{name}.rst": page(experiment) for name, experiment in experiments.items()}
    pages["index.rst"] = index(list(experiments.values()))
    for stale in {path.name for path in folder.glob("*.rst")} - pages.keys():
        (folder / stale).unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def index(experiments: list[Experiment]) -> str:
    """The table of all experiments."""
    lines = [*title("Experiments"), "Run one with ``thalweg run NAME``; ``thalweg list`` shows this table.", ""]
    lines += table(["Name", "Question"], [[f":doc:`{e.name}`", e.summary] for e in experiments])
    lines += [".. toctree::", "   :hidden:", "", *(f"   {experiment.name}" for experiment in experiments), ""]
    return "\n".join(lines)


def page(experiment: Experiment) -> str:
    """What an experiment asks and does, how to run it, and every field."""
    docstring = experiment.text
    fields = [row for row in rows(experiment.config) if not row.tables]
    lines = [*title(experiment.name), docstring, "", *picture(experiment)]
    lines += [*title("Run it", "-"), ".. code-block:: console", ""]
    lines += [f"   $ thalweg run {experiment.name}", f"   $ thalweg run {experiment.name} --help", ""]
    lines += [*title("Presets", "-"), *presets(experiment, fields)]
    lines += [*title("Fields", "-"), "On the command line as ``--FIELD VALUE``, in a TOML file as keys and tables.", ""]
    cells = [[f"``{row.name}``", f"``{row.kind}``", shown(row.default), row.text] for row in fields]
    return "\n".join([*lines, *table(["Field", "Type", "Default", "Meaning"], cells)])


def picture(experiment: Experiment) -> list[str]:
    """What it drew first at the scale of the course; nothing for an experiment that has no picture here."""
    name = f"pictures/{experiment.name}.png"
    if not (Path(__file__).parents[1] / name).is_file():
        return []
    words = f"The first figure of ``thalweg run {experiment.name} --preset course``; its report has the others."
    return [f".. figure:: /{name}", f"   :alt: A figure of {experiment.name}", "", f"   {words}", ""]


def presets(experiment: Experiment, fields: list[FieldRow]) -> list[str]:
    """Which fields each preset changes."""
    cells = []
    for name, config in experiment.presets.items():
        present = [
            row for row in fields if "." not in row.name or value(config, row.name.rpartition(".")[0]) is not None
        ]
        settings = {row.name: value(config, row.name) for row in present if value(config, row.name) != row.default}
        default = " (default)" if name == "quick" else ""
        cells.append(
            [f"``{name}``{default}", ", ".join(f"``{key} = {setting!r}``" for key, setting in settings.items())]
        )
    return table(["Preset", "Differs from the defaults in"], cells)


def shown(default: object) -> str:
    """A default as a literal; empty for a field that must be given."""
    return "" if default is PydanticUndefined else f"``{default!r}``"


def title(text: str, line: str = "=") -> list[str]:
    """A heading."""
    return [text, line * len(text), ""]


def table(head: list[str], cells: list[list[str]]) -> list[str]:
    """A reStructuredText list-table."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in [head, *cells]:
        lines += [f"   {'* -' if column == 0 else '  -'} {' '.join(cell.split())}" for column, cell in enumerate(row)]
    return [*lines, ""]


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx when to write the pages: before it looks for files."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
