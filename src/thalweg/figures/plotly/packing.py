"""Plotly's script and the data of figures, packed so that a page stays small.

A page must carry plotly's script (4.8 MB) to open without a network. Compressed by gzip and written in base64 it takes
1.96 MB; by LZMA, in 85 letters, 1.39 MB; without the part that only maps need, 1.32 MB. Browsers do not know LZMA, so
``unpack.js``, which goes into the page, decodes it, in about a second and in any browser. The 85 letters are those of
:func:`base64.b85encode`, with ``,`` and ``.`` in place of ``<`` and ``&``, so that no text can end, or confuse, the
element that it stands in.

>>> text = "loss " * 1000 + "θ"
>>> len(packed(text)) < 100, unpacked(packed(text)) == text
(True, True)
"""

from __future__ import annotations

import hashlib
import lzma
import re
import string
from contextlib import suppress
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from platformdirs import user_cache_path

from thalweg._files.writing import WriteError, write_bytes
from thalweg.errors import InputError

__all__ = ["library", "packed", "size", "unpacked", "unpacker", "without_maps"]

# The literal and position bits are what `unpack.js` expects; with no position bits text comes out smallest.
FILTERS: list[dict[str, Any]] = [
    {"id": lzma.FILTER_LZMA1, "dict_size": 1 << 23, "lc": 3, "lp": 0, "pb": 0, "nice_len": 273, "mf": lzma.MF_BT4}
]
WORDS = string.digits + string.ascii_uppercase + string.ascii_lowercase + "!#$%.()*+-;,=>?@^_`{|}~"
LETTERS = np.frombuffer(WORDS.encode("ascii"), np.uint8)
WRITTEN = re.compile(r"(?<=\.exports=)'(?:[^'\\]|\\.)*+'")  # a text that is all there is of a part of plotly's script
LONG = 100_000
POWERS = 85 ** np.arange(4, -1, -1)  # of the five letters of four bytes


def packed(text: str) -> str:
    """The text in few letters, none of which means anything to HTML."""
    return _written(lzma.compress(text.encode(), lzma.FORMAT_RAW, filters=FILTERS))


def unpacked(text: str) -> str:
    """What was packed.

    Raises:
        InputError: Something else.
    """
    try:
        return lzma.decompress(_read(text.strip()), lzma.FORMAT_RAW, filters=FILTERS).decode()
    except (ValueError, lzma.LZMAError) as error:
        raise InputError(f"text must be what `packed` made: {error}") from None


def _written(content: bytes) -> str:
    """Four bytes as five letters, faster than the standard library does it."""
    missing = -len(content) % 4
    groups = np.frombuffer(content + bytes(missing), ">u4").astype(np.int64)
    letters = LETTERS[groups[:, None] // POWERS % 85].tobytes().decode("ascii")
    return letters[: len(letters) - missing]


def _read(text: str) -> bytes:
    missing = -len(text) % 5
    values = np.full(256, 85)
    values[LETTERS] = np.arange(85)
    digits = values[np.frombuffer((text + "~" * missing).encode("latin-1"), np.uint8)].reshape(-1, 5)
    if (digits > 84).any():
        raise ValueError("a letter that is none of the 85")
    content = (digits @ POWERS & 0xFFFFFFFF).astype(">u4").tobytes()
    return content[: len(content) - missing]


def size(text: str) -> int:
    """Bytes of the text before packing, which `unpack.js` must know."""
    return len(text.encode())


@lru_cache(maxsize=1)
def library() -> tuple[str, int]:
    """Plotly's script without its maps, packed, and its size.

    Packing takes some seconds, so the result is kept in the user's cache folder. What is found there is used only if it
    unpacks to the script of the plotly that is installed.
    """
    from plotly.offline import get_plotlyjs

    script = without_maps(get_plotlyjs())
    kept = _cache() / f"plotly-{hashlib.sha256(script.encode()).hexdigest()[:16]}.lzma85"
    with suppress(OSError, ValueError):
        found = kept.read_text(encoding="ascii")
        if unpacked(found) == script:
            return found, size(script)
    made = packed(script)
    with suppress(WriteError):  # a cache that cannot be written costs seconds, not the report
        write_bytes(kept, made)
    return made, size(script)


def without_maps(script: str) -> str:
    """Plotly's script, the program left empty that draws maps in the background: a tenth of it, and no figure is a map.

    It stands there as one long text, which another text can replace whatever the version; where it stands otherwise,
    the script stays whole.

    >>> without_maps("a.exports='" + "maplibre" * 20_000 + "';b.exports='maplibre'")
    "a.exports='';b.exports='maplibre'"
    """
    return WRITTEN.sub(lambda one: "''" if len(one[0]) > LONG and "maplibre" in one[0] else one[0], script)


def unpacker() -> str:
    """The script that unpacks, for the page."""
    return files("thalweg.figures.plotly").joinpath("unpack.js").read_text(encoding="utf-8")


def _cache() -> Path:
    return user_cache_path("thalweg")
