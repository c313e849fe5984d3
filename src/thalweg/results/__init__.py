"""What every result can do: plot itself, give its table, say in sentences what was found, be saved and loaded.

An instrument returns a result: a surface, a spectral density, a line between two solutions. Each is a frozen dataclass
of tensors and numbers with

- ``plot()``: a :class:`~thalweg.figures.Figure`, which shows itself and saves itself;
- ``table()``: a polars table;
- ``summary()``: one to three sentences with the numbers and their errors;
- ``save(path)`` and ``load(path)``: one safetensors file, no pickle, equal when it is read again.

A notebook shows the picture and the sentences; ``thalweg.report.write("mine.html", surface, density)`` makes a page.
A result of your own inherits :class:`BaseResult`:

>>> import dataclasses, pathlib, tempfile, torch
>>> from thalweg.figures import Axis, Figure, Line, Panel
>>> @dataclasses.dataclass(frozen=True, eq=False, repr=False)
... class Decay(BaseResult):
...     losses: torch.Tensor
...
...     def plot(self):
...         line = Line(range(len(self.losses)), self.losses)
...         return Figure("decay", "Decay", "Loss by step.", (Panel(Axis("step"), Axis("loss"), (line,)),))
...
...     def table(self):
...         import polars as pl
...
...         return pl.DataFrame({"loss": self.losses.numpy()})
...
...     def summary(self):
...         return f"The loss falls to {float(self.losses[-1]):g}."
>>> decay = Decay(torch.tensor([1.0, 0.5]))
>>> file = decay.save(pathlib.Path(tempfile.mkdtemp()) / "decay.safetensors")
>>> decay, Decay.load(file) == decay
(Decay(losses=[1, 0.5]), True)
"""

from typing import TYPE_CHECKING

from thalweg._lazy import lazy

if TYPE_CHECKING:
    from thalweg.results.base import BaseResult, Presented, Result
    from thalweg.results.stored import Stored, load

__all__ = ["BaseResult", "Presented", "Result", "Stored", "load"]

# These need torch; the settings of experiments, which say things in its words, are read without it.
__getattr__, __dir__ = lazy(__name__, {"base": "BaseResult Presented Result", "stored": "Stored load"})
