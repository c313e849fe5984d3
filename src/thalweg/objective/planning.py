"""How work is cut into pieces: by what is fast on the machine and by what fits, and never by what happens to be free.

The pieces decide the order of sums, and so the last digits of every number; those must not change with the memory that
other programs leave. What is free decides only what is kept between calls.
"""

from __future__ import annotations

from dataclasses import dataclass

from thalweg._short import short
from thalweg.progress import storage

__all__ = ["CPU_WORKING_SET", "GRADIENT", "PRODUCT", "SMALLEST_CHUNK", "VALUE", "Plan", "WorkPlan", "plan"]

# Activations kept for one (replica, sample) pair, as multiples of what a forward pass saves for its backward pass.
VALUE, GRADIENT, PRODUCT = 1, 2, 6
# On a CPU larger pieces fall out of the cache: 16–64 MiB measured 1.2–1.6× faster than one piece of 1 GiB.
CPU_WORKING_SET = 64 * 2**20
SMALLEST_CHUNK = 32  # samples; below it, fewer replicas at once are faster than fewer samples


@dataclass(frozen=True)
class Plan:
    """How work is cut: `replicas` parameter sets and `samples` samples at once."""

    replicas: int
    samples: int


@short
@dataclass(frozen=True)
class WorkPlan:
    """How an objective evaluates its functions, as `print` shows.

    Attributes:
        value: How values and metrics are cut.
        gradient: How gradients are cut.
        product: How products with the Hessian are cut.
        samples: N.
        parameter_bytes: Bytes of one θ.
        sample_bytes: Bytes that a forward pass saves for one θ and sample.
        memory: Bytes for the activations of one piece, at most.
        budget: Bytes for what is kept between calls: graphs of gradients, Lanczos vectors.
        graph_bytes: Estimated bytes of the differentiated graph of all data.
    """

    value: Plan
    gradient: Plan
    product: Plan
    samples: int
    parameter_bytes: int
    sample_bytes: int
    memory: int
    budget: int
    graph_bytes: int

    @property
    def keeps_graph(self) -> bool:
        """Whether `Objective.products` keeps the differentiated graph between products."""
        return self.graph_bytes <= self.budget

    def __str__(self) -> str:
        lines = [
            f"{name:<9} {cut.replicas} θ × {cut.samples} of {self.samples} samples at once, "
            f"{storage(factor * cut.replicas * cut.samples * self.sample_bytes)} of activations"
            for name, cut, factor in (
                ("value", self.value, VALUE),
                ("gradient", self.gradient, GRADIENT),
                ("product", self.product, PRODUCT),
            )
        ]
        kept = "kept between products" if self.keeps_graph else "built anew for each call"
        return "\n".join(
            [
                *lines,
                f"one θ     {storage(self.parameter_bytes)}; one piece at most {storage(self.memory)}",
                f"graph     {storage(self.graph_bytes)}, {kept}: {storage(self.budget)} may be kept",
            ]
        )


def plan(replicas: int, samples: int, pair_bytes: int, replica_bytes: int, memory: int) -> Plan:
    """Cuts `replicas` × `samples` evaluations so that they fit into `memory` bytes.

    Args:
        replicas: Parameter sets to evaluate.
        samples: Samples to evaluate each on.
        pair_bytes: Bytes for one (replica, sample) pair.
        replica_bytes: Bytes for one replica whatever the number of samples (parameters, gradients).
        memory: The budget in bytes; at least one replica and one sample are always evaluated.

    Example:
        >>> plan(100, 60_000, 1000, 0, 100_000_000)
        Plan(replicas=100, samples=1000)
    """
    least = min(samples, SMALLEST_CHUNK)
    together = max(1, min(replicas, memory // max(1, replica_bytes + least * pair_bytes)))
    left = memory - together * replica_bytes
    return Plan(together, max(1, min(samples, left // max(1, together * pair_bytes))))
