"""Values, gradients and Hessian-vector products of a program over all its data, in chunks that fit a memory budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from thalweg._short import short
from thalweg.errors import InputError
from thalweg.objective.batches import Batch, Batches, cloned
from thalweg.objective.graph import saved_bytes
from thalweg.objective.layout import ParameterLayout
from thalweg.objective.planning import CPU_WORKING_SET, GRADIENT, PRODUCT, SMALLEST_CHUNK, VALUE, Plan, plan
from thalweg.objective.program import Program
from thalweg.objective.stack_products import StackProduct
from thalweg.objective.stacking import leaf_stack
from thalweg.objective.together import at_once, convolves, keep_memory

# (v, what to add the product to, whether it is used again): a piece's part of the product.
Apply = Callable[[Tensor, Tensor, bool], None]
Piece = tuple[slice, Apply]  # of the replicas that it belongs to


def penalty(l2: float, theta: Tensor) -> Tensor:
    """½·l2·‖θ‖²: (…, P) -> (…); zero without a penalty where ‖θ‖² overflows, NaN where θ itself is not finite.

    Example:
        >>> penalty(0.1, torch.tensor([3.0, 4.0])), penalty(0.0, torch.tensor([3e30]))
        (tensor(1.2500), tensor(0.))
    """
    if l2:
        return 0.5 * l2 * theta.square().sum(-1)
    return 0.0 * theta.amin(-1) + 0.0 * theta.amax(-1)  # two looks, without a copy of a large θ


@short
@dataclass(frozen=True)
class Evaluation:
    """One objective's pieces, ready to be evaluated on theta (B, P).

    Args:
        program: Evaluates losses.
        layout: Places parameters in theta.
        batches: The data.
        l2: The weight of ½·l2·‖θ‖².
        pair_bytes: Activation bytes of one replica and sample.
        memory: Bytes for the activations of one piece.
        budget: Bytes for what is kept between calls, asked for when something could be.
        extra: theta (B, P) -> buffers that depend on theta, name -> (B, …); empty for most models.
        own: Buffers of each theta, name -> (B, …), instead of the model's own; those of `extra` come before them.
    """

    program: Program
    layout: ParameterLayout
    batches: Batches
    l2: float
    pair_bytes: int
    memory: int
    budget: Callable[[], int]
    extra: Callable[[Tensor], dict[str, Tensor]]
    own: Mapping[str, Tensor] = field(default_factory=dict)

    def plan(self, replicas: int, factor: int) -> Plan:
        """Cuts the work of `replicas` parameter sets; `factor` is VALUE, GRADIENT or PRODUCT."""
        element = torch.finfo(self.program_dtype).bits // 8
        on_cpu = next(self.program.model.parameters()).device.type == "cpu"
        # A product has so many small steps that short pieces cost more than the cache gains (1.5 times, transformer).
        cached = CPU_WORKING_SET * (4 if factor == PRODUCT and replicas == 1 else 1)
        memory = min(self.memory, cached) if on_cpu else self.memory
        together = 1 if self.program.needs.held else replicas
        samples, pair = self.batches.samples, factor * self.pair_bytes
        if on_cpu and factor != PRODUCT and self.program.stack is None:
            together = at_once(together, samples * self.pair_bytes, convolutional=convolves(self.program.model))
        cut = plan(together, samples, pair, 2 * factor * self.layout.size * element, memory)
        if cut.replicas > 1:
            return cut
        # Parameters and gradients of one θ are there however its samples are cut: only activations count.
        size = min(max(SMALLEST_CHUNK, memory // pair), max(1, self.memory // pair))
        return Plan(1, max(1, min(samples, size)))

    @property
    def graph_bytes(self) -> int:
        """Bytes of the differentiated graph of all data at one θ, estimated."""
        return PRODUCT * self.pair_bytes * self.batches.held_samples

    @property
    def program_dtype(self) -> torch.dtype:
        """The dtype of the model's parameters."""
        return next(p.dtype for p in self.program.model.parameters() if p.is_floating_point())

    def _pieces(self, theta: Tensor, factor: int) -> Iterator[tuple[slice, Tensor, Plan]]:
        cut = self.plan(len(theta), factor)
        keep_memory()
        for start in range(0, len(theta), cut.replicas):
            part = slice(start, start + cut.replicas)
            yield part, theta[part], cut

    def _buffers(self, rows: slice, part: Tensor) -> dict[str, Tensor]:
        """The buffers of theta[rows], which is `part`."""
        return {**{name: value[rows] for name, value in self.own.items()}, **self.extra(part)}

    def leaves(self, theta: Tensor, layout: ParameterLayout | None = None) -> tuple[list[Tensor], dict[str, Tensor]]:
        """What to differentiate with respect to, and the parameters that are made of it.

        Args:
            theta: (B, P).
            layout: The parameters to differentiate in; default: all.

        Returns:
            One tensor for each parameter, in order: (B, *shape), or (*shape) for a model that must hold θ; and name ->
            (B, *shape).
        """
        given = self.layout.unravel(theta)
        names = (layout or self.layout).names
        if self.program.needs.held:  # one θ at a time: `plan`
            pairs = {name: leaf_stack(given[name]) for name in names}
            leaves: list[Tensor] = [leaf for leaf, _ in pairs.values()]
            made = {name: view for name, (_, view) in pairs.items()}
        else:
            # No copies: models that write into their parameters are refused at construction.
            leaves = [given[name].detach().requires_grad_() for name in names]
            made = dict(zip(names, leaves, strict=True))
        return leaves, {**given, **made}

    def means(
        self, theta: Tensor, function: Callable[[dict[str, Tensor], Batch], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Sample-weighted means over the data of functions that one pass evaluates, without derivatives.

        Args:
            theta: (B, P).
            function: (params, batch) -> what to average, name -> (B,).

        Returns:
            name -> (B,).
        """
        out: list[dict[str, Tensor]] = []
        with torch.no_grad(), self.program.surroundings():
            for rows, part, cut in self._pieces(theta, VALUE):
                params = {**self.layout.unravel(part), **self._buffers(rows, part)}
                total: dict[str, Tensor] = {}
                for batch, count in self.batches.summands(cut.samples):
                    for name, found in function(params, batch).items():
                        weighted = (count / self.batches.samples) * found
                        total.setdefault(name, theta.new_zeros(len(part))).add_(weighted)
                out.append(total)
        whole = {name: torch.cat([part[name] for part in out]) for name in out[0]}
        return dict(zip(whole, self.batches.reduced(*whole.values()), strict=True))

    def outputs(self, theta: Tensor, batches: Batches) -> Tensor:
        """The model's outputs on other batches of the same kind: (B, P) -> (B, N, …)."""
        rows = []
        with torch.no_grad(), self.program.surroundings():
            for own, part, cut in self._pieces(theta, VALUE):
                params = {**self.layout.unravel(part), **self._buffers(own, part)}
                pieces = [self.program.outputs(params, batch) for batch, _ in batches.chunks(cut.samples)]
                if not isinstance(pieces[0], Tensor):
                    found = type(pieces[0]).__name__
                    raise InputError(f"model must return one tensor where its outputs are looked at, found {found}")
                rows.append(torch.cat(pieces, dim=1))
        return torch.cat(rows)

    def value(self, theta: Tensor) -> Tensor:
        """L(θ): (B, P) -> (B,)."""
        found = self.means(theta, lambda params, batch: {"loss": self.program.losses(params, batch)})
        return found["loss"] + penalty(self.l2, theta)

    @torch.inference_mode(False)
    def value_and_gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """L(θ) and ∇L(θ): (B, P) -> (B,), (B, P)."""
        values, gradients = theta.new_zeros(len(theta)), torch.empty_like(theta)
        for rows, part, cut in self._pieces(theta, GRADIENT):
            leaves, params = self.leaves(part)
            params |= self._buffers(rows, part)
            first = True
            for batch, count in self.batches.summands(cut.samples):
                with torch.enable_grad(), self.program.surroundings():
                    losses = self.program.losses(params, batch)
                    slopes = torch.autograd.grad(losses.sum(), leaves, allow_unused=True)
                weight = count / self.batches.samples
                values[rows] += weight * losses.detach()
                self._add(gradients[rows], slopes, weight, first=first)
                first = False
            if first:  # a process that has none of the samples
                gradients[rows].zero_()
        values, gradients = self.batches.reduced(values, gradients)
        return values + penalty(self.l2, theta), gradients.add_(theta, alpha=self.l2) if self.l2 else gradients

    @torch.inference_mode(False)
    def value_gradient_product(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """L(θ), g = ∇L(θ) and H(θ) g, the gradient of ½‖g‖²: (B, P) -> (B,), (B, P), (B, P).

        One differentiated graph gives all three where the data fit into one piece; else two passes over the data.
        """
        pieces = self.batches.sharded or len(self.batches.counts) > 1
        if pieces or self.plan(len(theta), PRODUCT).samples < self.batches.samples:
            value, gradient = self.value_and_gradient(theta)
            return value, gradient, self.products(theta, retain=False)(gradient[None])[0]
        values, gradients, products = [], [], []
        for rows, part, cut in self._pieces(theta, PRODUCT):
            leaves, params = self.leaves(part)
            params |= self._buffers(rows, part)
            batch, _ = next(self.batches.chunks(cut.samples))
            with self.program.surroundings(twice=True):
                with torch.enable_grad():
                    losses = self.program.losses(params, batch)
                    first = torch.autograd.grad(losses.sum(), leaves, create_graph=True, allow_unused=True)
                gradient = self.l2 * part
                self._add(gradient, first, 1.0)
                product = self.l2 * gradient
                self._add(product, self._second(first, leaves, gradient, again=False), 1.0)
            values.append(losses.detach() + penalty(self.l2, part))
            gradients.append(gradient)
            products.append(product)
        return torch.cat(values), torch.cat(gradients), torch.cat(products)

    @torch.inference_mode(False)
    def products(self, theta: Tensor, *, retain: bool) -> Callable[[Tensor], Tensor]:
        """Returns v (K, B, P) -> H(θ) v (K, B, P).

        Args:
            theta: (B, P).
            retain: Keep the differentiated graph of all data between calls, if it fits into the budget: a
                product then costs one backward pass. Otherwise every call builds it anew, chunk by chunk.
        """
        kept: list[Piece] = []
        if retain and len(theta) * self.graph_bytes <= self.budget():
            kept.extend(self._product_pieces(theta))

        @torch.inference_mode(False)
        def product(v: Tensor) -> Tensor:
            out = torch.zeros_like(v)
            for part, apply in kept or self._product_pieces(theta):
                for k in range(len(v)):
                    apply(v[k, part], out[k, part], bool(kept) or k + 1 < len(v))
            (out,) = self.batches.reduced(out)
            return out.add_(v, alpha=self.l2) if self.l2 else out

        return product

    def _product_pieces(self, theta: Tensor) -> Iterator[Piece]:
        for rows, part, cut in self._pieces(theta, PRODUCT):
            buffers = self._buffers(rows, part)
            for batch, count in self.batches.summands(cut.samples):
                weight = count / self.batches.samples
                if not buffers and self.program.has_products(batch):
                    yield rows, self._stack_product(part, batch, weight)
                else:
                    yield rows, self._graph_product(part, buffers, batch, weight)

    def _stack_product(self, theta: Tensor, batch: Batch, weight: float) -> Apply:
        """Products by the formulas of a stack of linear layers."""
        program = self.program
        params = {**program.fixed, **self.layout.unravel(theta)}
        with torch.no_grad():
            formula = StackProduct(program, params, batch, weight)

        def apply(v: Tensor, out: Tensor, _again: bool) -> None:
            vectors = self.layout.unravel(v)
            with torch.no_grad():
                found = formula(vectors)
            self._add(out, [found.get(name) for name in vectors], 1.0)

        return apply

    def _graph_product(self, theta: Tensor, buffers: dict[str, Tensor], batch: Batch, weight: float) -> Apply:
        """Products by differentiating the graph of the gradient; it is kept while it will be used again."""
        leaves, params = self.leaves(theta)
        params |= buffers
        with torch.enable_grad(), self.program.surroundings(twice=True):
            losses = self.program.losses(params, batch)
            first = torch.autograd.grad(losses.sum(), leaves, create_graph=True, allow_unused=True)

        def apply(v: Tensor, out: Tensor, again: bool) -> None:
            with self.program.again():
                self._add(out, self._second(first, leaves, v, again=again), weight)

        return apply

    def _second(
        self, first: Sequence[Tensor | None], leaves: list[Tensor], v: Tensor, *, again: bool
    ) -> Sequence[Tensor | None]:
        """The derivative of Σ v·first, v (B, P), for each leaf; None where the gradient does not depend on it."""
        vectors = self.layout.parameters(v)
        linked = {
            name: g for name, g in zip(self.layout.names, first, strict=True) if g is not None and g.requires_grad
        }
        if not linked:
            return [None] * len(leaves)
        return torch.autograd.grad(
            list(linked.values()),
            leaves,
            [vectors[name].reshape(g.shape) for name, g in linked.items()],
            retain_graph=again,
            allow_unused=True,
        )

    def _add(self, out: Tensor, parts: Sequence[Tensor | None], weight: float, *, first: bool = False) -> None:
        """Adds `weight` times what belongs to each parameter to out (B, P), in place: copies cost as much as layers.

        With `first`, what is there does not count.
        """
        for place, part in zip(self.layout.unravel(out).values(), parts, strict=True):
            if part is None:
                place.zero_() if first else None
            elif first:
                torch.mul(part.detach().reshape(place.shape), weight, out=place)
            else:
                place.add_(part.detach().reshape(place.shape), alpha=weight)


def activation_bytes(
    program: Program,
    layout: ParameterLayout,
    theta: Tensor,
    batches: Batches,
    extra: Callable[[Tensor], dict[str, Tensor]],
) -> int:
    """Bytes that one replica and sample keep for the backward pass, measured on a few samples; theta (1, P)."""
    # Cloned: a view would be charged with the whole data that it looks at.
    batch = cloned(batches.first(8))
    leaves = {name: leaf_stack(value)[1] for name, value in layout.unravel(theta).items()}
    params = {**leaves, **extra(theta)}
    with program.surroundings():
        saved = saved_bytes(lambda: program.losses(params, batch).sum(), params)
    return batches.largest(max(64, saved // max(1, batches.count(batch))))
