"""How fast sweeps are: two workers against one, replicas in one task against one by one.

    python benchmarks/sweep.py [--quick] [NAME …]

Names: capacity, sensitivity, replicas; default all. Every sweep runs in a fresh folder, the time in which its workers
begin is part of it, and each worker has one thread, so that one worker is what a plain loop would be. The tables of
both sides must be equal. The processor time of all workers tells whether two of them get into each other's way.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, here and in the workers

import torch

from thalweg.experiments import execute, find, override
from thalweg.sweeps import Local, Plan, plan, sweep

WORKERS = 2


def line(name: str, found: str, target: str, good: bool) -> None:
    """One row of the table."""
    print(f"| {name} | {found} | {target} | {'yes' if good else 'NO'} |", flush=True)


def sweeps(name: str, made: Plan) -> None:
    """Times a sweep with one and with two workers."""
    seconds, busy, tables = [], [], []
    for count in (1, WORKERS):
        with tempfile.TemporaryDirectory() as root:
            began, before = time.perf_counter(), processor()
            done = sweep(made, root, Local(count))
            seconds.append(time.perf_counter() - began)
            busy.append(processor() - before)
            assert done.run.state == "complete", done.run.message
            tables.append(done.table)
    assert tables[0].equals(tables[1]), "two workers found something else than one"
    ratio = seconds[0] / seconds[1]
    found = f"{ratio:.2f}x ({seconds[0]:.1f} s -> {seconds[1]:.1f} s; processor {busy[0]:.1f} s -> {busy[1]:.1f} s)"
    line(f"{name}, {WORKERS} workers against 1", found, ">= 1.7x", ratio >= 1.7)


def processor() -> float:
    """Seconds of processor time that finished child processes have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def capacity(quick: bool) -> None:
    """The classic sweep over 100 sizes, three trainings each."""
    widths = sorted({round(512 ** (place / 149)) for place in range(150)})[:: 4 if quick else 1][:100]
    sweeps(
        f"capacity, {len(widths)} sizes at quick scale",
        plan("capacity", find("capacity").preset("quick"), {"model.width": widths}),
    )


def sensitivity(quick: bool) -> None:
    """The classic sweep over 50 batch sizes from 64 to 1024, three trainings each."""
    sizes = f"lin:64..1024:{12 if quick else 50}"
    made = plan("sensitivity", find("sensitivity").preset("quick"), {"training.batch_size": sizes})
    sweeps(f"sensitivity, {len(made.tasks)} batch sizes at quick scale", made)


def replicas(quick: bool) -> None:
    """Trainings of one shape: one task with R replicas against R tasks of one, in this process, folders and all."""
    count = 8 if quick else 20
    config = override(find("capacity").preset("quick"), {"values": "16", "replicas": 1})
    with tempfile.TemporaryDirectory() as root:
        execute("capacity", override(config, {"seed": 1000}), root)  # warm
        began = time.perf_counter()
        for seed in range(count):
            execute("capacity", override(config, {"seed": seed}), root)
        one_by_one = time.perf_counter() - began
        began = time.perf_counter()
        execute("capacity", override(config, {"replicas": count}), root)
        together = time.perf_counter() - began
    ratio = one_by_one / together
    found = f"{ratio:.1f}x ({one_by_one:.1f} s -> {together:.1f} s)"
    line(f"{count} trainings of 64-16-10, as replicas of one task against tasks", found, ">= 5x", ratio >= 5)


BENCHMARKS = {"capacity": capacity, "sensitivity": sensitivity, "replicas": replicas}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="fewer tasks")
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"unknown benchmark {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    print(f"Python {sys.version.split()[0]}, torch {torch.__version__}, 1 thread for each worker\n")
    print("| what | found | target | met |\n|---|---|---|---|")
    for name in options.names or BENCHMARKS:
        BENCHMARKS[name](options.quick)


if __name__ == "__main__":
    main()
