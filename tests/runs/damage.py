"""What can happen to the files of a run, as data: each way takes a file and changes it, or what is around it."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import polars as pl
from safetensors import safe_open
from safetensors.torch import save_file

Damage = Callable[[Path, random.Random], None]


def flip(path: Path, draw: random.Random) -> None:
    """One bit of one byte, most often in the middle."""
    content = bytearray(path.read_bytes())
    place = draw.choice([len(content) // 2, draw.randrange(len(content))])
    content[place] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def truncate(path: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(1, len(content))])


def empty(path: Path, _: random.Random) -> None:
    path.write_bytes(b"")


def delete(path: Path, _: random.Random) -> None:
    path.unlink()


def double(path: Path, _: random.Random) -> None:
    path.write_bytes(path.read_bytes() * 2)


def zeros(path: Path, _: random.Random) -> None:
    """What some file systems leave after a power cut."""
    path.write_bytes(bytes(path.stat().st_size))


def folder(path: Path, _: random.Random) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path, _: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def link(path: Path, _: random.Random) -> None:
    """To the very same content elsewhere."""
    target = path.rename(path.with_name(f".moved-{path.name}"))
    path.symlink_to(target.name)


def dangling(path: Path, _: random.Random) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def copy(path: Path, draw: random.Random) -> None:
    """As a file manager does, into the same folder."""
    name = draw.choice([f"{path.stem} (copy){path.suffix}", f"copy-{path.name}", f"{path.stem}2{path.suffix}"])
    path.with_name(name).write_bytes(path.read_bytes())


EVERYWHERE: dict[str, Damage] = {
    "a flipped bit": flip,
    "truncated": truncate,
    "empty": empty,
    "deleted": delete,
    "doubled": double,
    "zeros": zeros,
    "a folder": folder,
    "a pipe": pipe,
    "a link": link,
    "a dangling link": dangling,
}

# ---- of one format: the file stays a valid one


def nested(path: Path, draw: random.Random) -> None:
    levels = draw.choice([101, 500, 5_000, 200_000])
    path.write_text("[" * levels + "]" * levels)


def nested_within(path: Path, draw: random.Random) -> None:
    value = json.loads(path.read_text())
    levels = draw.choice([200, 900])
    value[draw.choice(list(value))] = json.loads('{"a":' * levels + "1" + "}" * levels)
    path.write_text(json.dumps(value))


def digits(path: Path, _: random.Random) -> None:
    path.write_text("1" * 5_000)


def other_type(path: Path, draw: random.Random) -> None:
    path.write_text(draw.choice(["[]", "3", "null", '"text"', "{}", "NaN"]))


def tables_within(value: object) -> list[dict]:
    found = []
    if isinstance(value, dict):
        found += [value] if value else []
        found += [inner for one in value.values() for inner in tables_within(one)]
    elif isinstance(value, list):
        found += [inner for one in value for inner in tables_within(one)]
    return found


def changed_json(change: Callable[[dict, str, random.Random], object]) -> Damage:
    def damage(path: Path, draw: random.Random) -> None:
        value = json.loads(path.read_text())
        table = draw.choice(tables_within(value))
        change(table, draw.choice(list(table)), draw)
        path.write_text(json.dumps(value))

    return damage


def another(table: dict, key: str, draw: random.Random) -> None:
    values = [None, 0, -1, 1e300, "text", [], {}, [1, "a"], {"float": "x"}, True, "2020-01-01", float("nan")]
    before = repr(table[key])
    table[key] = draw.choice([one for one in values if repr(one) != before])


JSON: dict[str, Damage] = {
    "nested": nested,
    "nested within": nested_within,
    "thousands of digits": digits,
    "another type": other_type,
    "a missing key": changed_json(lambda table, key, _: table.pop(key)),
    "an extra key": changed_json(lambda table, _, draw: table.update({draw.choice(["more", "", "a b", "🙂"]): 1})),
    "another value": changed_json(another),
}


def tensors(path: Path, draw: random.Random) -> None:
    """Other values, or a tensor less, in a valid file with the same header."""
    with safe_open(path, framework="pt") as file:
        found = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 -- no mapping
        metadata = file.metadata()
    name = draw.choice(sorted(found))
    if draw.random() < 0.3:
        del found[name]
    else:
        found[name] = found[name] + 1
    save_file(found, path, metadata=metadata)


def cells(path: Path, draw: random.Random) -> None:
    """Other values, a column less, or one more, in a valid table."""
    frame = pl.read_parquet(path)
    if frame.is_empty():
        frame = pl.DataFrame({"replica": [0]})
    else:
        numeric = [name for name, kind in frame.schema.items() if kind.is_numeric()]
        name = draw.choice(numeric)
        frame = draw.choice([
            lambda: frame.with_columns(pl.col(name) + 1),
            lambda: frame.drop(name),
            lambda: frame.with_columns(pl.col(name).cast(pl.String)),
            lambda: frame.with_columns(pl.lit("x").alias("more")),
            lambda: frame.head(len(frame) - 1),
        ])()  # fmt: skip
    frame.write_parquet(path)


BY_SUFFIX: dict[str, dict[str, Damage]] = {
    ".json": JSON,
    ".safetensors": {"other tensors": tensors},
    ".parquet": {"other cells": cells},
}


def unchecked(run: Path) -> None:
    """Make of a run what an earlier version, which knew no checksums, would have left."""
    (run / "checksums.json").unlink()
    for name in ("environment.json", "state.json", "complete.json"):
        if (run / name).exists():
            value = json.loads((run / name).read_text())
            (run / name).write_text(json.dumps({k: v for k, v in value.items() if k not in ("checksum", "files")}))
    for path in run.glob("snapshots/*/state.safetensors"):
        with safe_open(path, framework="pt") as file:
            found = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 -- no mapping
            metadata = file.metadata()
        contents = {k: v for k, v in json.loads(metadata["contents"]).items() if k not in ("files", "state")}
        save_file(found, path, metadata={"contents": json.dumps({**contents, "format": 1}), "meta": metadata["meta"]})


def swap(first: Path, second: Path) -> None:
    aside = first.with_name("aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


def committed(run: Path) -> list[Path]:
    """The files of a run that count."""
    derived = ("figures", "exports", "lock", "report.html")
    found = [path for path in run.rglob("*") if path.is_file()]
    return sorted(path for path in found if path.relative_to(run).parts[0] not in derived)


def ways(run: Path) -> list[tuple[str, str]]:
    """All pairs of a file, from the run's folder, and a way to damage it."""
    found = []
    for path in committed(run):
        name = path.relative_to(run).as_posix()
        found += [(name, way) for way in (*EVERYWHERE, *BY_SUFFIX.get(path.suffix, {}), "swapped", "of another run")]
        if len(path.relative_to(run).parts) > 1:  # at the top there is room for a user's own notes
            found.append((name, "copied"))
    return [*found, *(("lock", way) for way in ("a folder", "a pipe", "a link", "a dangling link"))]


def inflict(run: Path, other: Path, name: str, way: str, draw: random.Random) -> str:
    """Damage a run.

    Args:
        run: Its folder.
        other: That of another run of the same experiment.
        name: Which file.
        way: How.
        draw: Decides the rest.

    Returns:
        What was done, in words.
    """
    path = run / name
    if way == "swapped":
        alike = [p for p in committed(run) if p.suffix == path.suffix and p.read_bytes() != path.read_bytes()]
        second = draw.choice(alike)
        swap(path, second)
        return f"{name} swapped with {second.relative_to(run)}"
    if way == "of another run":
        path.write_bytes((other / name).read_bytes() if (other / name).is_file() else b"of another run")
    elif way == "copied":
        copy(path, draw)
    else:
        (EVERYWHERE | BY_SUFFIX.get(path.suffix, {}))[way](path, draw)
    return f"{name}: {way}"
