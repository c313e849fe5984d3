"""Differentiable operations of torch that a model or a loss may use, each at points inside of its domain."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.objective.survey import Drawn, Operation, draw, operation

special = torch.special
linalg = torch.linalg


def words(text: str) -> list[str]:
    return text.split()


def module(made: nn.Module, *inputs: Drawn | Tensor, call: Callable[..., Any] | None = None) -> Operation:
    """A module as a function of its inputs and parameters."""
    names = [name for name, _ in made.named_parameters()]
    shapes = [draw(*p.shape, low=0.3, high=1.0) for p in made.parameters()]
    buffers = {name: b.double() if b.is_floating_point() else b for name, b in made.named_buffers()}
    fast = torch.backends.mha.get_fastpath_enabled

    def function(*given: Tensor) -> Any:
        before = fast()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with sdpa_kernel(SDPBackend.MATH):
                own = given[: len(inputs)]
                parameters = dict(zip(names, given[len(inputs) :], strict=True))
                copies = {name: b.clone() for name, b in buffers.items()}
                return functional_call(made, {**copies, **parameters}, own if call is None else call(*own))
        finally:
            torch.backends.mha.set_fastpath_enabled(before)

    return operation(function, *inputs, *shapes)


def attention(**options: Any) -> Callable[..., Tensor]:
    def function(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with sdpa_kernel(SDPBackend.MATH):
            return F.scaled_dot_product_attention(q, k, v, **options)

    return function


def positive(x: Tensor) -> Tensor:
    """A positive definite matrix."""
    return x @ x.mT + 2 * torch.eye(x.shape[-1], dtype=x.dtype)


def regular(x: Tensor) -> Tensor:
    """A matrix far from singular."""
    return x + 3 * torch.eye(x.shape[-1], dtype=x.dtype)


X = draw(2, 3)
POSITIVE = draw(2, 3, low=0.3, high=2.0)
UNIT = draw(2, 3, low=-0.8, high=0.8)
SHARE = draw(2, 3, low=0.1, high=0.9)
SQUARE = draw(3, 3)
CLASSES = torch.tensor([2, 0])

ELEMENTWISE: dict[str, Operation] = {
    **{
        name: operation(getattr(torch, name), X)
        for name in words(
            "abs angle asinh atan ceil cos cosh deg2rad erf erfc exp exp2 expm1 floor frac i0 nan_to_num neg "
            "positive rad2deg relu round sigmoid sign sgn sin sinc sinh square tan tanh trunc"
        )
    },
    **{
        name: operation(getattr(torch, name), POSITIVE)
        for name in words("digamma lgamma log log10 log1p log2 reciprocal rsqrt sqrt")
    },
    **{name: operation(getattr(torch, name), UNIT) for name in words("acos arcsin asin atanh erfinv")},
    **{f"special.{name}": operation(getattr(special, name), X) for name in words("erfcx i0 i0e i1 i1e log_ndtr ndtr")},
    "special.entr": operation(special.entr, POSITIVE),
    "special.ndtri": operation(special.ndtri, SHARE),
    "special.xlog1py": operation(special.xlog1py, POSITIVE, POSITIVE),
    "special.zeta": operation(special.zeta, draw(2, 3, low=1.5, high=3.0), POSITIVE),
    "acosh": operation(torch.acosh, draw(2, 3, low=1.3, high=3.0)),
    "addcdiv": operation(lambda x, y, z: torch.addcdiv(x, y, z, value=0.7), X, X, POSITIVE),
    "addcmul": operation(lambda x, y, z: torch.addcmul(x, y, z, value=0.7), X, X, X),
    "atan2": operation(torch.atan2, X, POSITIVE),
    "clamp": operation(lambda x: x.clamp(-0.5, 0.8), X),
    "clamp by tensors": operation(lambda x, a, b: x.clamp(-a, b), X, POSITIVE, POSITIVE),
    "copysign": operation(torch.copysign, X, X),
    "div": operation(torch.div, X, POSITIVE),
    "div by truncation": operation(lambda x, y: torch.div(x, y, rounding_mode="trunc"), X, POSITIVE),
    "float_power": operation(torch.float_power, POSITIVE, X),
    "fmax": operation(torch.fmax, X, X),
    "fmod": operation(torch.fmod, X, POSITIVE),
    "hypot": operation(torch.hypot, X, X),
    "igamma": operation(lambda x: special.gammainc(torch.full_like(x, 1.5).detach(), x), POSITIVE),
    "igammac": operation(lambda x: special.gammaincc(torch.full_like(x, 1.5).detach(), x), POSITIVE),
    "ldexp": operation(lambda x: torch.ldexp(x, torch.tensor([1, 2, 3])), X),
    "lerp": operation(torch.lerp, X, X, X),
    "logaddexp": operation(torch.logaddexp, X, X),
    "logaddexp2": operation(torch.logaddexp2, X, X),
    "logit": operation(torch.logit, SHARE),
    "logit with eps": operation(lambda x: torch.logit(x, 0.05), SHARE),
    "masked_fill": operation(lambda x: x.masked_fill(torch.tensor([True, False, False]), 2.0), X),
    "maximum": operation(torch.maximum, X, X),
    "mul": operation(torch.mul, X, draw(3)),
    "mvlgamma": operation(lambda x: torch.mvlgamma(x, 2), draw(2, 3, low=1.0, high=3.0)),
    "polygamma 1": operation(lambda x: torch.polygamma(1, x), POSITIVE),
    "polygamma 2": operation(lambda x: torch.polygamma(2, x), POSITIVE),
    "pow": operation(torch.pow, POSITIVE, X),
    "pow 2": operation(lambda x: x**2, X),
    "pow 3": operation(lambda x: x**3, X),
    "pow 2.5": operation(lambda x: x**2.5, POSITIVE),
    "pow -1": operation(lambda x: x**-1, POSITIVE),
    "pow 0": operation(lambda x: x**0 + x, X),
    "power of a number": operation(lambda x: 1.7**x, X),
    "remainder": operation(torch.remainder, X, POSITIVE),
    "round decimals": operation(lambda x: torch.round(x, decimals=1) + x, X),
    "rsub": operation(lambda x: 2 - x, X),
    "where": operation(lambda x, y: torch.where(x.detach() > 0, x * y, y), X, X),
    "xlogy": operation(torch.xlogy, X, POSITIVE),
    "hypot at 0": operation(lambda x: torch.hypot(x, torch.ones_like(x)), torch.zeros(2)),
    "sinc at 0": operation(torch.sinc, torch.zeros(2)),
    "i0 at 0": operation(torch.i0, torch.zeros(2)),
    "special.i1 at 0": operation(special.i1, torch.zeros(2)),
    "pow 2 at 0": operation(lambda x: x**2, torch.zeros(2)),
    "pow 3 at 0": operation(lambda x: x**3, torch.zeros(2)),
    "pow 4 at 0": operation(lambda x: x.pow(4), torch.zeros(2)),
    "pow tensor 3 at 0": operation(lambda x: x ** torch.full_like(x, 3.0).detach(), torch.zeros(2)),
    "silu at 0": operation(F.silu, torch.zeros(2)),
    "gelu at 0": operation(F.gelu, torch.zeros(2)),
    "mish at 0": operation(F.mish, torch.zeros(2)),
    "logaddexp of equals": operation(torch.logaddexp, torch.ones(2), torch.ones(2)),
    "xlogy with 0": operation(lambda y: torch.xlogy(torch.zeros_like(y).detach(), y), POSITIVE),
    "special.erfcx far": operation(special.erfcx, draw(3, low=5.0, high=9.0)),
    "special.log_ndtr far": operation(special.log_ndtr, draw(3, low=-9.0, high=-5.0)),
    "complex abs": operation(lambda x, y: torch.complex(x, y).abs(), X, X),
    "complex angle": operation(lambda x, y: torch.complex(x, y).angle(), X, POSITIVE),
    "complex exp": operation(lambda x, y: torch.exp(torch.complex(x, y)), X, X),
    "complex log": operation(lambda x, y: torch.log(torch.complex(x, y)), POSITIVE, X),
    "complex mul": operation(lambda x, y: torch.complex(x, y) * torch.complex(y, x), X, X),
    "complex pow": operation(lambda x, y: torch.complex(x, y) ** 3, X, X),
    "complex sgn": operation(lambda x, y: torch.sgn(torch.complex(x, y)), X, X),
    "complex tanh": operation(lambda x, y: torch.tanh(torch.complex(x, y)), X, X),
    "polar": operation(torch.polar, POSITIVE, X),
    "view_as_complex": operation(lambda x: torch.view_as_complex(x).square(), draw(3, 2)),
}

ACTIVATIONS: dict[str, Operation] = {
    **{
        name: operation(getattr(F, name), X)
        for name in words(
            "celu elu gelu hardshrink hardsigmoid hardswish hardtanh leaky_relu logsigmoid mish relu6 selu "
            "silu softplus softshrink softsign tanhshrink"
        )
    },
    "celu alpha": operation(lambda x: F.celu(x, 0.6), X),
    "elu alpha": operation(lambda x: F.elu(x, 0.6), X),
    "gelu tanh": operation(lambda x: F.gelu(x, approximate="tanh"), X),
    "glu": operation(F.glu, draw(2, 4)),
    "gumbel_softmax": operation(lambda x: F.gumbel_softmax(x, tau=0.7), X),
    "log_softmax": operation(lambda x: F.log_softmax(x, -1), X),
    "prelu": operation(F.prelu, X, draw(1, low=0.1, high=0.4)),
    "prelu per channel": operation(F.prelu, X, draw(3, low=0.1, high=0.4)),
    "rrelu": operation(lambda x: F.rrelu(x, training=True), X),
    "softmax": operation(lambda x: F.softmax(x, -1), X),
    "softmin": operation(lambda x: F.softmin(x, 0), X),
    "softplus beta": operation(lambda x: F.softplus(x, beta=2.5), X),
    "softplus threshold": operation(lambda x: F.softplus(x, beta=1.5, threshold=0.5), X),
    "threshold": operation(lambda x: F.threshold(x, 0.2, 0.1), X),
    "dropout": operation(lambda x: F.dropout(x, 0.3), draw(3, 4)),
    "alpha_dropout": operation(lambda x: F.alpha_dropout(x, 0.3, True), draw(3, 4)),
    "feature_alpha_dropout": operation(lambda x: F.feature_alpha_dropout(x, 0.3, True), draw(3, 4)),
    "maxout": operation(lambda x: x.unflatten(-1, (2, 2)).amax(-1), draw(2, 4)),
}

IMAGE = draw(2, 4, 3)
CHANNELS = draw(4)
NORMALIZATIONS: dict[str, Operation] = {
    "layer_norm": operation(lambda x: F.layer_norm(x, (3,)), X),
    "layer_norm affine": operation(lambda x, w, b: F.layer_norm(x, (4, 3), w, b), IMAGE, draw(4, 3), draw(4, 3)),
    "native_layer_norm": operation(lambda x, w, b: torch.native_layer_norm(x, (3,), w, b, 1e-3), X, draw(3), draw(3)),
    "rms_norm": operation(lambda x: F.rms_norm(x, (3,)), X),
    "rms_norm affine": operation(lambda x, w: F.rms_norm(x, (3,), w, 0.1), X, draw(3)),
    "group_norm": operation(lambda x, w, b: F.group_norm(x, 2, w, b), IMAGE, CHANNELS, CHANNELS),
    "native_group_norm": operation(
        lambda x, w, b: torch.native_group_norm(x, w, b, 2, 4, 3, 2, 1e-3)[0], IMAGE, CHANNELS, CHANNELS
    ),
    "batch_norm": operation(lambda x: F.batch_norm(x, None, None, training=True), draw(4, 3)),
    "batch_norm affine": operation(lambda x, w, b: F.batch_norm(x, None, None, w, b, True), IMAGE, CHANNELS, CHANNELS),
    "batch_norm by running statistics": operation(
        lambda x, w, b: F.batch_norm(x, torch.zeros(4, dtype=x.dtype), torch.full((4,), 2.0, dtype=x.dtype), w, b),
        IMAGE,
        CHANNELS,
        CHANNELS,
    ),
    "native_batch_norm": operation(
        lambda x, w, b: torch.native_batch_norm(x, w, b, None, None, True, 0.1, 1e-3), IMAGE, CHANNELS, CHANNELS
    ),
    "instance_norm": operation(lambda x: F.instance_norm(x), IMAGE),
    "instance_norm affine": operation(
        lambda x, w, b: F.instance_norm(x, None, None, w, b), draw(2, 4, 2, 2), CHANNELS, CHANNELS
    ),
    "local_response_norm": operation(lambda x: F.local_response_norm(x, 3), IMAGE),
    "normalize": operation(F.normalize, X),
    "normalize p 3": operation(lambda x: F.normalize(x, p=3.0), X),
    "weight_norm": operation(torch._weight_norm, draw(3, 4), draw(3, 1)),
    "weight_norm over all": operation(lambda v, g: torch._weight_norm(v, g, -1), draw(3, 4), draw()),
    "weight_norm middle axis": operation(lambda v, g: torch._weight_norm(v, g, 1), draw(2, 3, 2), draw(1, 3, 1)),
    "norm_except_dim": operation(lambda x: torch.norm_except_dim(x, 2, 0), SQUARE),
    "renorm": operation(lambda x: torch.renorm(x, 2, 0, 0.7), X),
    "norm": operation(torch.norm, X),
    "norm 1": operation(lambda x: torch.norm(x, 1, dim=-1), X),
    "norm 3": operation(lambda x: torch.norm(x, 3, dim=-1), X),
    "norm inf": operation(lambda x: torch.norm(x, float("inf"), dim=-1), X),
    "vector_norm": operation(linalg.vector_norm, X),
    "vector_norm 0.5": operation(lambda x: linalg.vector_norm(x, 0.5), POSITIVE),
    "vector_norm 3": operation(lambda x: linalg.vector_norm(x, 3, dim=1), X),
    "vector_norm 4": operation(lambda x: linalg.vector_norm(x, 4, dim=1), X),
    "vector_norm -inf": operation(lambda x: linalg.vector_norm(x, -float("inf"), dim=1), X),
    "spectral_norm": module(nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2)).eval(), X),
    "orthogonal": module(nn.utils.parametrizations.orthogonal(nn.Linear(3, 2), orthogonal_map="householder"), X),
    "orthogonal by matrix_exp": module(
        nn.utils.parametrizations.orthogonal(nn.Linear(3, 3), orthogonal_map="matrix_exp"), X
    ),
    "orthogonal by cayley": module(nn.utils.parametrizations.orthogonal(nn.Linear(3, 3), orthogonal_map="cayley"), X),
}

REDUCTIONS = ("none", "mean", "sum")
LOSSES: dict[str, Operation] = {
    f"{name} {reduction}": op
    for reduction in REDUCTIONS
    for name, op in {
        "binary_cross_entropy": operation(
            lambda x, t, r=reduction: F.binary_cross_entropy(x, t, reduction=r), SHARE, SHARE
        ),
        "binary_cross_entropy_with_logits": operation(
            lambda x, t, r=reduction: F.binary_cross_entropy_with_logits(
                x, t, pos_weight=torch.tensor([0.5, 2.0, 1.0], dtype=x.dtype), reduction=r
            ),
            X,
            SHARE,
        ),
        "cosine_embedding_loss": operation(
            lambda x, y, r=reduction: F.cosine_embedding_loss(x, y, torch.tensor([1, -1]), reduction=r), X, X
        ),
        "cross_entropy": operation(lambda x, r=reduction: F.cross_entropy(x, CLASSES, reduction=r), X),
        "cross_entropy smoothed": operation(
            lambda x, r=reduction: F.cross_entropy(
                x, CLASSES, torch.tensor([1.0, 0.5, 2.0], dtype=x.dtype), label_smoothing=0.1, reduction=r
            ),
            X,
        ),
        "cross_entropy of shares": operation(
            lambda x, t, r=reduction: F.cross_entropy(x, t.softmax(-1), reduction=r), X, X
        ),
        "ctc_loss": operation(
            lambda x, r=reduction: F.ctc_loss(
                x.log_softmax(-1),
                torch.tensor([[1, 2], [2, 1]]),
                torch.tensor([4, 4]),
                torch.tensor([2, 2]),
                reduction=r,
            ),
            draw(4, 2, 3),
        ),
        "gaussian_nll_loss": operation(
            lambda x, t, v, r=reduction: F.gaussian_nll_loss(x, t, v, reduction=r), X, X, POSITIVE
        ),
        "hinge_embedding_loss": operation(
            lambda x, r=reduction: F.hinge_embedding_loss(x, torch.tensor([1.0, -1.0, 1.0]), reduction=r), X
        ),
        "huber_loss": operation(lambda x, y, r=reduction: F.huber_loss(x, y, reduction=r), X, X),
        "kl_div": operation(lambda x, t, r=reduction: F.kl_div(x.log_softmax(-1), t, reduction=r), X, POSITIVE),
        "kl_div of logarithms": operation(lambda x, t, r=reduction: F.kl_div(x, t, log_target=True, reduction=r), X, X),
        "l1_loss": operation(lambda x, y, r=reduction: F.l1_loss(x, y, reduction=r), X, X),
        "margin_ranking_loss": operation(
            lambda x, y, r=reduction: F.margin_ranking_loss(x, y, torch.tensor([1.0, -1.0, 1.0]), 0.2, reduction=r),
            draw(3),
            draw(3),
        ),
        "mse_loss": operation(lambda x, y, r=reduction: F.mse_loss(x, y, reduction=r), X, X),
        "mse_loss weighted": operation(
            lambda x, y, w, r=reduction: F.mse_loss(x, y, reduction=r, weight=w), X, X, POSITIVE
        ),
        "multi_margin_loss": operation(lambda x, r=reduction: F.multi_margin_loss(x, CLASSES, reduction=r), X),
        "multilabel_margin_loss": operation(
            lambda x, r=reduction: F.multilabel_margin_loss(x, torch.tensor([[0, 2, -1], [1, -1, 0]]), reduction=r), X
        ),
        "multilabel_soft_margin_loss": operation(
            lambda x, r=reduction: F.multilabel_soft_margin_loss(
                x, torch.tensor([[1.0, 0, 1], [0, 1, 0]], dtype=x.dtype), reduction=r
            ),
            X,
        ),
        "nll_loss": operation(lambda x, r=reduction: F.nll_loss(x, CLASSES, reduction=r), X),
        "nll_loss 2d": operation(
            lambda x, r=reduction: F.nll_loss(x, torch.tensor([[0, 2], [1, 1]]), reduction=r), draw(2, 3, 2)
        ),
        "poisson_nll_loss": operation(
            lambda x, t, r=reduction: F.poisson_nll_loss(x, t, full=False, reduction=r), X, POSITIVE
        ),
        "poisson_nll_loss of rates": operation(
            lambda x, t, r=reduction: F.poisson_nll_loss(x, t, log_input=False, reduction=r), POSITIVE, POSITIVE
        ),
        "smooth_l1_loss": operation(lambda x, y, r=reduction: F.smooth_l1_loss(x, y, reduction=r, beta=0.7), X, X),
        "soft_margin_loss": operation(
            lambda x, r=reduction: F.soft_margin_loss(x, torch.tensor([1.0, -1.0, 1.0], dtype=x.dtype), reduction=r), X
        ),
        "triplet_margin_loss": operation(
            lambda a, p, n, r=reduction: F.triplet_margin_loss(a, p, n, 3.0, reduction=r), X, X, X
        ),
    }.items()
}

LAYERS: dict[str, Operation] = {
    "linear_cross_entropy": operation(lambda x, w: F.linear_cross_entropy(x, w, CLASSES), X, SQUARE),
    "linear_cross_entropy in chunks": operation(
        lambda x, w: F.linear_cross_entropy(x, w, CLASSES, options=nn.LinearCrossEntropyOptions(batch_chunk_size=1)),
        X,
        SQUARE,
    ),
    "linear": operation(F.linear, X, draw(4, 3), draw(4)),
    "bilinear": operation(F.bilinear, X, draw(2, 2), draw(3, 3, 2), draw(3)),
    "conv1d": operation(F.conv1d, draw(2, 2, 5), draw(3, 2, 3), draw(3)),
    "conv2d": operation(F.conv2d, draw(1, 2, 4, 4), draw(3, 2, 2, 2), draw(3)),
    "conv2d options": operation(
        lambda x, w: F.conv2d(x, w, stride=2, padding=1, dilation=2, groups=2), draw(1, 2, 5, 5), draw(2, 1, 2, 2)
    ),
    "conv2d same": operation(lambda x, w: F.conv2d(x, w, padding="same"), draw(1, 1, 3, 3), draw(2, 1, 2, 2)),
    "conv3d": operation(F.conv3d, draw(1, 1, 3, 3, 3), draw(2, 1, 2, 2, 2), draw(2)),
    "conv_transpose1d": operation(F.conv_transpose1d, draw(1, 2, 4), draw(2, 3, 2), draw(3)),
    "conv_transpose2d": operation(
        lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, padding=1), draw(1, 2, 3, 3), draw(2, 1, 3, 3), draw(1)
    ),
    "conv_transpose2d output_padding": operation(
        lambda x, w: F.conv_transpose2d(x, w, stride=2, output_padding=1), draw(1, 1, 2, 2), draw(1, 1, 2, 2)
    ),
    "conv_tbc": operation(torch.conv_tbc, draw(4, 2, 2), draw(3, 2, 2), draw(2)),
    "unfold": operation(lambda x: F.unfold(x, 2), draw(1, 2, 3, 3)),
    "fold": operation(lambda x: F.fold(x, (3, 3), 2), draw(1, 4, 4)),
    "avg_pool1d": operation(lambda x: F.avg_pool1d(x, 2), draw(1, 2, 5)),
    "avg_pool2d": operation(lambda x: F.avg_pool2d(x, 2, 1, 1, count_include_pad=False), draw(1, 2, 3, 3)),
    "avg_pool3d": operation(lambda x: F.avg_pool3d(x, 2), draw(1, 1, 2, 2, 4)),
    "max_pool1d": operation(lambda x: F.max_pool1d(x, 2), draw(1, 2, 6)),
    "max_pool2d": operation(lambda x: F.max_pool2d(x, 2, 1), draw(1, 1, 4, 4)),
    "max_pool3d": operation(lambda x: F.max_pool3d(x, 2), draw(1, 1, 2, 2, 4)),
    "max_unpool2d": operation(lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2), draw(1, 1, 4, 4)),
    "adaptive_avg_pool1d": operation(lambda x: F.adaptive_avg_pool1d(x, 3), draw(1, 2, 5)),
    "adaptive_avg_pool2d": operation(lambda x: F.adaptive_avg_pool2d(x, (2, 1)), draw(1, 2, 3, 3)),
    "adaptive_avg_pool3d": operation(lambda x: F.adaptive_avg_pool3d(x, 2), draw(1, 1, 3, 3, 3)),
    "adaptive_max_pool1d": operation(lambda x: F.adaptive_max_pool1d(x, 2), draw(1, 2, 6)),
    "adaptive_max_pool2d": operation(lambda x: F.adaptive_max_pool2d(x, 2), draw(1, 1, 4, 4)),
    "adaptive_max_pool3d": operation(lambda x: F.adaptive_max_pool3d(x, 2), draw(1, 1, 4, 4, 2)),
    "fractional_max_pool2d": operation(lambda x: F.fractional_max_pool2d(x, 2, output_size=2), draw(1, 1, 5, 5)),
    "lp_pool1d": operation(lambda x: F.lp_pool1d(x, 3, 2), draw(1, 2, 4, low=0.3)),
    "lp_pool2d": operation(lambda x: F.lp_pool2d(x, 2, 2), draw(1, 1, 4, 4, low=0.3)),
    **{
        f"interpolate {mode}": operation(
            lambda x, m=mode, a=align: F.interpolate(x, scale_factor=1.5, mode=m, align_corners=a), draw(*shape)
        )
        for mode, align, shape in (
            ("nearest", None, (1, 2, 4)),
            ("nearest-exact", None, (1, 2, 4)),
            ("linear", False, (1, 2, 4)),
            ("bilinear", True, (1, 1, 3, 3)),
            ("bicubic", False, (1, 1, 4, 4)),
            ("trilinear", False, (1, 1, 2, 2, 3)),
            ("area", None, (1, 1, 4, 4)),
        )
    },
    "interpolate antialias": operation(
        lambda x: F.interpolate(x, size=(2, 2), mode="bilinear", antialias=True), draw(1, 1, 4, 4)
    ),
    "grid_sample": operation(
        lambda x, g: F.grid_sample(x, g, align_corners=False), draw(1, 2, 4, 4), draw(1, 2, 2, 2, low=-0.7, high=0.7)
    ),
    "grid_sample border": operation(
        lambda x, g: F.grid_sample(x, g, padding_mode="border", align_corners=True),
        draw(1, 1, 4, 4),
        draw(1, 2, 2, 2, low=-0.7, high=0.7),
    ),
    "grid_sample bicubic": operation(
        lambda x, g: F.grid_sample(x, g, mode="bicubic", align_corners=False),
        draw(1, 1, 4, 4),
        draw(1, 2, 2, 2, low=-0.7, high=0.7),
    ),
    "grid_sample nearest": operation(
        lambda x, g: F.grid_sample(x, g, mode="nearest", align_corners=False),
        draw(1, 1, 4, 4),
        draw(1, 2, 2, 2, low=-0.7, high=0.7),
    ),
    "grid_sample 3d": operation(
        lambda x, g: F.grid_sample(x, g, align_corners=False),
        draw(1, 1, 3, 3, 3),
        draw(1, 1, 2, 2, 3, low=-0.6, high=0.6),
    ),
    "affine_grid": operation(lambda t: F.affine_grid(t, (1, 1, 3, 3), align_corners=False), draw(1, 2, 3)),
    "pixel_shuffle": operation(lambda x: F.pixel_shuffle(x, 2), draw(1, 4, 2, 2)),
    "pixel_unshuffle": operation(lambda x: F.pixel_unshuffle(x, 2), draw(1, 1, 4, 4)),
    "channel_shuffle": operation(lambda x: torch.channel_shuffle(x, 2), draw(1, 4, 2, 2)),
    **{
        f"pad {mode}": operation(lambda x, m=mode: F.pad(x, (1, 2), m), draw(1, 2, 4))
        for mode in ("constant", "reflect", "replicate", "circular")
    },
    "pad reflect 2d": operation(lambda x: F.pad(x, (1, 1, 1, 1), "reflect"), draw(1, 1, 3, 3)),
    "pad replicate 3d": operation(lambda x: F.pad(x, (1, 1, 1, 1, 1, 1), "replicate"), draw(1, 1, 2, 2, 2)),
    "embedding": operation(lambda w: F.embedding(torch.tensor([0, 2, 2]), w), draw(3, 2)),
    "embedding padding": operation(lambda w: F.embedding(torch.tensor([0, 2, 2]), w, 0), draw(3, 2)),
    "embedding scaled by frequency": operation(
        lambda w: F.embedding(torch.tensor([0, 2, 2]), w, scale_grad_by_freq=True), draw(3, 2)
    ),
    **{
        f"embedding_bag {mode}": operation(
            lambda w, m=mode: F.embedding_bag(torch.tensor([[0, 2], [2, 1]]), w, mode=m), draw(3, 2)
        )
        for mode in ("sum", "mean", "max")
    },
    "embedding_bag weighted": operation(
        lambda w, p: F.embedding_bag(torch.tensor([[0, 2], [2, 1]]), w, per_sample_weights=p, mode="sum"),
        draw(3, 2),
        draw(2, 2),
    ),
    "pairwise_distance": operation(F.pairwise_distance, X, X),
    "pairwise_distance 3": operation(lambda x, y: F.pairwise_distance(x, y, p=3.0), X, X),
    "cosine_similarity": operation(F.cosine_similarity, X, X),
    "dist": operation(lambda x, y: torch.dist(x, y, 2), X, X),
    "cdist": operation(torch.cdist, draw(3, 2), draw(2, 2)),
    "cdist by matmul": operation(
        lambda x, y: torch.cdist(x, y, compute_mode="use_mm_for_euclid_dist"), draw(3, 2), draw(2, 2)
    ),
    "cdist 1": operation(lambda x, y: torch.cdist(x, y, 1.0), draw(3, 2), draw(2, 2)),
    "pdist": operation(F.pdist, draw(3, 2)),
    "pdist 3": operation(lambda x: F.pdist(x, 3.0), draw(3, 2)),
    "attention": operation(attention(), draw(1, 3, 2), draw(1, 3, 2), draw(1, 3, 2)),
    "attention causal": operation(attention(is_causal=True), draw(1, 3, 2), draw(1, 3, 2), draw(1, 3, 2)),
    "attention masked": operation(
        attention(attn_mask=torch.tensor([[True, False], [True, True]])), draw(1, 2, 2), draw(1, 2, 2), draw(1, 2, 2)
    ),
    "MultiheadAttention": module(nn.MultiheadAttention(4, 2), draw(2, 1, 4), call=lambda x: (x, x, x)),
    "TransformerEncoderLayer": module(nn.TransformerEncoderLayer(4, 2, 3, dropout=0.0), draw(2, 1, 4)),
    "TransformerEncoderLayer in inference": module(nn.TransformerEncoderLayer(4, 2, 3).eval(), draw(2, 1, 4)),
    "TransformerDecoderLayer": module(nn.TransformerDecoderLayer(4, 2, 3, dropout=0.0), draw(2, 1, 4), draw(2, 1, 4)),
    "RNN": module(nn.RNN(2, 3), draw(3, 1, 2)),
    "RNN relu": module(nn.RNN(2, 3, nonlinearity="relu"), draw(3, 1, 2)),
    "LSTM": module(nn.LSTM(2, 2, 2, bidirectional=True), draw(3, 1, 2)),
    "LSTM projected": module(nn.LSTM(2, 3, proj_size=2), draw(3, 1, 2)),
    "GRU": module(nn.GRU(2, 2), draw(3, 1, 2)),
    "RNNCell": module(nn.RNNCell(2, 3), draw(2, 2), draw(2, 3)),
    "LSTMCell": module(nn.LSTMCell(2, 3), draw(2, 2), draw(2, 3), draw(2, 3), call=lambda x, h, c: (x, (h, c))),
    "GRUCell": module(nn.GRUCell(2, 3), draw(2, 2), draw(2, 3)),
    "AdaptiveLogSoftmax": module(
        nn.AdaptiveLogSoftmaxWithLoss(3, 5, [2], div_value=1.5), X, call=lambda x: (x, torch.tensor([0, 3]))
    ),
}

PLACES = torch.tensor([[0, 2, 2], [1, 0, 1]])
REDUCED: dict[str, Operation] = {
    **{
        name: operation(partial(getattr(torch, name), dim=-1), X)
        for name in words(
            "amax amin cummax cummin cumprod cumsum logcumsumexp logsumexp max median mean min mode nanmean "
            "nanmedian nansum prod sort std std_mean sum var var_mean"
        )
    },
    "aminmax": operation(lambda x: tuple(torch.aminmax(x, dim=-1)), X),
    "kthvalue": operation(lambda x: torch.kthvalue(x, 2), X),
    "cumprod at a zero": operation(lambda x: x.cumprod(-1), torch.tensor([0.7, 0.0, -1.2, 0.4])),
    "cumprod at two zeros": operation(lambda x: x.cumprod(-1), torch.tensor([0.7, 0.0, -1.2, 0.0])),
    "prod of all": operation(torch.prod, X),
    "prod at a zero": operation(torch.prod, torch.tensor([0.7, 0.0, -1.2])),
    "prod at two zeros": operation(torch.prod, torch.tensor([0.7, 0.0, -1.2, 0.0])),
    "prod along an axis at a zero": operation(lambda x: x.prod(-1), torch.tensor([[0.7, 0.0, -1.2], [1.0, 2.0, 0.5]])),
    "prod along an axis at two zeros": operation(
        lambda x: x.prod(-1), torch.tensor([[0.7, 0.0, 0.0], [1.0, 2.0, 0.5]])
    ),
    "quantile": operation(lambda x: torch.quantile(x, 0.3), X),
    "nanquantile": operation(lambda x: torch.nanquantile(x, 0.3), X),
    "topk": operation(lambda x: torch.topk(x, 2)[0], X),
    "msort": operation(torch.msort, X),
    "std biased": operation(lambda x: x.std(unbiased=False), X),
    "var of all": operation(torch.var, X),
    "logsumexp of equals": operation(lambda x: x.logsumexp(-1), torch.ones(3)),
    "amax of equals": operation(lambda x: x.square().amax(-1), torch.tensor([1.0, 2.0, 3.0])),
    "cov": operation(torch.cov, draw(2, 4)),
    "corrcoef": operation(torch.corrcoef, draw(2, 4)),
    "diff": operation(torch.diff, X),
    "gradient": operation(lambda x: torch.gradient(x, dim=-1), X),
    "trapezoid": operation(torch.trapezoid, X, draw(2, 3)),
    "cumulative_trapezoid": operation(torch.cumulative_trapezoid, X, draw(2, 3)),
    "softmax masked": operation(
        lambda x: x.masked_fill(torch.tensor([False, True, False]), -float("inf")).softmax(-1), X
    ),
    "segment_reduce": operation(
        lambda x: torch.segment_reduce(x, "mean", lengths=torch.tensor([2, 1]), axis=0), draw(3, 2)
    ),
    "gather": operation(lambda x: x.gather(1, PLACES), X),
    "take_along_dim": operation(lambda x: torch.take_along_dim(x, PLACES, 1), X),
    "take": operation(lambda x: x.take(PLACES), X),
    "index": operation(lambda x: x[:, torch.tensor([0, 2, 2])], X),
    "index_select": operation(lambda x: x.index_select(1, torch.tensor([2, 0])), X),
    "index_add": operation(lambda x, y: x.index_add(1, torch.tensor([2, 0, 2]), y, alpha=0.5), X, X),
    "index_copy": operation(lambda x, y: x.index_copy(1, torch.tensor([2, 0, 1]), y), X, X),
    "index_fill": operation(lambda x, y: x.index_fill(1, torch.tensor([1]), y), X, draw()),
    "index_put": operation(lambda x, y: x.index_put((torch.tensor([0, 1]), torch.tensor([2, 1])), y), X, draw(2)),
    "index_put accumulated": operation(
        lambda x, y: x.index_put((torch.tensor([0, 0]), torch.tensor([1, 1])), y, accumulate=True), X, draw(2)
    ),
    "index_reduce prod": operation(lambda x, y: x.index_reduce(1, torch.tensor([2, 0, 2]), y, "prod"), X, X),
    "index_reduce mean": operation(lambda x, y: x.index_reduce(1, torch.tensor([2, 0, 2]), y, "mean"), X, X),
    "scatter": operation(lambda x, y: x.scatter(1, torch.tensor([[2, 0, 1], [1, 0, 2]]), y), X, X),
    "scatter_add": operation(lambda x, y: x.scatter_add(1, PLACES, y), X, X),
    **{
        f"scatter_reduce {reduction}": operation(lambda x, y, r=reduction: x.scatter_reduce(1, PLACES, y, r), X, X)
        for reduction in ("sum", "prod", "mean", "amax", "amin")
    },
    "masked_select": operation(lambda x: x.masked_select(torch.tensor([True, False, True])), X),
    "masked_scatter": operation(lambda x, y: x.masked_scatter(torch.tensor([True, False, True]), y), X, X),
    "roll": operation(lambda x: x.roll(1, -1), X),
    "flip": operation(lambda x: x.flip(0, 1), X),
    "rot90": operation(torch.rot90, X),
    "tril": operation(torch.tril, SQUARE),
    "diag_embed": operation(torch.diag_embed, X),
    "diagonal": operation(torch.diagonal, SQUARE),
    "diagonal_scatter": operation(torch.diagonal_scatter, SQUARE, draw(3)),
    "select_scatter": operation(lambda x, y: x.select_scatter(y, 1, 0), X, draw(2)),
    "slice_scatter": operation(lambda x, y: x.slice_scatter(y, 1, 1), X, draw(2, 2)),
    "as_strided": operation(lambda x: x.square().as_strided((2, 2), (3, 1), 1), X),
    "unfold tensor": operation(lambda x: x.unfold(1, 2, 1), X),
    "repeat": operation(lambda x: x.repeat(2, 1), X),
    "repeat_interleave": operation(lambda x: x.repeat_interleave(2, 0), X),
    "tile": operation(lambda x: x.tile(2), X),
    "expand": operation(lambda x: x.expand(2, 2, 3), X),
    "cat": operation(lambda x, y: torch.cat([x, y], 1), X, X),
    "stack": operation(lambda x, y: torch.stack([x, y]), X, X),
    "block_diag": operation(torch.block_diag, X, X),
    "cartesian_prod": operation(torch.cartesian_prod, draw(2), draw(2)),
    "combinations": operation(torch.combinations, draw(3)),
    "meshgrid": operation(lambda x, y: torch.meshgrid(x, y, indexing="ij"), draw(2), draw(2)),
    "in place": operation(lambda x: x.square().mul_(x).sin_().add_(1).exp_(), X),
    "written into": operation(lambda x: _written(x), X),
    "to float and back": operation(lambda x: x.to(torch.complex128).real, X),
    "complex parts": operation(lambda x, y: torch.complex(x, y).square().conj().imag, X, X),
}


def _written(x: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    out[:, 1:] = x[:, 1:] * x[:, :-1]
    out[0] += x[1]
    return out


ALGEBRA: dict[str, Operation] = {
    "matmul": operation(torch.matmul, draw(2, 3), draw(3, 2)),
    "bmm": operation(torch.bmm, draw(2, 2, 3), draw(2, 3, 2)),
    "baddbmm": operation(
        lambda a, x, y: torch.baddbmm(a, x, y, beta=0.5, alpha=2), draw(2, 2, 2), draw(2, 2, 3), draw(2, 3, 2)
    ),
    "addbmm": operation(torch.addbmm, draw(2, 2), draw(2, 2, 3), draw(2, 3, 2)),
    "addmm": operation(lambda a, x, y: torch.addmm(a, x, y, beta=0.5, alpha=2), draw(2), draw(2, 3), draw(3, 2)),
    "addmv": operation(torch.addmv, draw(2), draw(2, 3), draw(3)),
    "addr": operation(torch.addr, draw(2, 3), draw(2), draw(3)),
    "mv": operation(torch.mv, draw(2, 3), draw(3)),
    "dot": operation(torch.dot, draw(3), draw(3)),
    "vdot": operation(torch.vdot, draw(3), draw(3)),
    "inner": operation(torch.inner, X, X),
    "outer": operation(torch.outer, draw(2), draw(3)),
    "kron": operation(torch.kron, draw(2, 2), draw(2, 2)),
    "cross": operation(linalg.cross, X, X),
    "einsum": operation(lambda x, y, z: torch.einsum("ij,kj,k->i", x, y, z), X, X, draw(2)),
    "tensordot": operation(lambda x, y: torch.tensordot(x, y, 1), X, draw(3, 2)),
    "chain_matmul": operation(lambda x, y, z: linalg.multi_dot([x, y, z]), X, SQUARE, draw(3, 2)),
    "trace": operation(torch.trace, SQUARE),
    "det": operation(lambda x: torch.det(regular(x)), SQUARE),
    "det of a stack": operation(lambda x: linalg.det(regular(x)), draw(2, 2, 2)),
    "det of four rows": operation(lambda x: regular(x).det(), draw(4, 4)),
    "det of a singular matrix": operation(torch.det, torch.tensor([[1.0, 2, 3], [2, 4, 6], [1, 0, 1]])),
    "logdet": operation(lambda x: torch.logdet(positive(x)), SQUARE),
    "slogdet of complex numbers": operation(
        lambda x, y: tuple(linalg.slogdet(torch.complex(regular(x), y))), SQUARE, SQUARE
    ),
    "slogdet": operation(lambda x: linalg.slogdet(regular(x))[1], SQUARE),
    "inv": operation(lambda x: linalg.inv(regular(x)), SQUARE),
    "inv_ex": operation(lambda x: linalg.inv_ex(regular(x))[0], SQUARE),
    "pinv": operation(linalg.pinv, draw(3, 2)),
    "pinv hermitian": operation(lambda x: linalg.pinv(positive(x), hermitian=True), SQUARE),
    "solve": operation(lambda x, y: linalg.solve(regular(x), y), SQUARE, draw(3, 2)),
    "solve left": operation(lambda x, y: linalg.solve(regular(x), y, left=False), SQUARE, draw(2, 3)),
    "solve_ex": operation(lambda x, y: linalg.solve_ex(regular(x), y)[0], SQUARE, draw(3, 2)),
    "solve_triangular": operation(
        lambda x, y: linalg.solve_triangular(regular(x).triu(), y, upper=True), SQUARE, draw(3, 2)
    ),
    "tensorsolve": operation(lambda x, y: linalg.tensorsolve(regular(x).reshape(3, 3), y), SQUARE, draw(3)),
    "tensorinv": operation(lambda x: linalg.tensorinv(regular(x), 1), SQUARE),
    "cholesky": operation(lambda x: linalg.cholesky(positive(x)), SQUARE),
    "cholesky_ex": operation(lambda x: linalg.cholesky_ex(positive(x))[0], SQUARE),
    "cholesky_solve": operation(lambda x, y: torch.cholesky_solve(y, linalg.cholesky(positive(x))), SQUARE, draw(3, 2)),
    "cholesky_inverse": operation(lambda x: torch.cholesky_inverse(linalg.cholesky(positive(x))), SQUARE),
    "qr": operation(lambda x: tuple(linalg.qr(x)), draw(3, 2)),
    "lu": operation(lambda x: linalg.lu(regular(x))[1:], SQUARE),
    "lu_factor": operation(lambda x: linalg.lu_factor(regular(x))[0], SQUARE),
    "lu_solve": operation(lambda x, y: linalg.lu_solve(*linalg.lu_factor(regular(x)), y), SQUARE, draw(3, 2)),
    "ldl": operation(lambda x: linalg.ldl_factor(positive(x))[0], SQUARE),
    "eigh values": operation(lambda x: linalg.eigh(x + x.mT)[0], SQUARE),
    "eigvalsh": operation(lambda x: linalg.eigvalsh(x + x.mT), SQUARE),
    "eigh projector": operation(lambda x: _projector(linalg.eigh(x + x.mT)[1]), SQUARE),
    "eigvals": operation(lambda x: linalg.eigvals(positive(x) + 0.1 * x).real, SQUARE),
    "eig projector": operation(lambda x: _projector(linalg.eig(positive(x) + 0.1 * x)[1]).real, SQUARE),
    "svdvals": operation(linalg.svdvals, draw(3, 2)),
    "svd values": operation(lambda x: linalg.svd(x, full_matrices=False)[1], draw(3, 2)),
    "svd projector": operation(lambda x: _projector(linalg.svd(x, full_matrices=False)[0]), draw(3, 2)),
    "lstsq": operation(lambda x, y: linalg.lstsq(x, y)[0], draw(3, 2), draw(3, 1)),
    "matrix_exp": operation(linalg.matrix_exp, SQUARE),
    "matrix_power 3": operation(lambda x: linalg.matrix_power(x, 3), SQUARE),
    "matrix_power -2": operation(lambda x: linalg.matrix_power(regular(x), -2), SQUARE),
    "matrix_norm": operation(linalg.matrix_norm, SQUARE),
    "matrix_norm nuclear": operation(lambda x: linalg.matrix_norm(x, "nuc"), SQUARE),
    "matrix_norm 2": operation(lambda x: linalg.matrix_norm(x, 2), SQUARE),
    "matrix_norm 1": operation(lambda x: linalg.matrix_norm(x, 1), SQUARE),
    "cond": operation(lambda x: linalg.cond(regular(x)), SQUARE),
    "vander": operation(linalg.vander, draw(3)),
    "householder_product": operation(linalg.householder_product, draw(3, 2), draw(2)),
    "fft": operation(torch.fft.fft, draw(4)),
    "ifft": operation(torch.fft.ifft, draw(4)),
    "rfft": operation(torch.fft.rfft, draw(5)),
    "irfft": operation(lambda x: torch.fft.irfft(torch.view_as_complex(x)), draw(3, 2)),
    "fft2": operation(torch.fft.fft2, SQUARE),
    "rfftn": operation(torch.fft.rfftn, SQUARE),
    "hfft": operation(lambda x: torch.fft.hfft(torch.view_as_complex(x)), draw(3, 2)),
    "fftshift": operation(torch.fft.fftshift, draw(4)),
    "stft": operation(lambda x: torch.stft(x, 4, window=torch.ones(4, dtype=x.dtype), return_complex=True), draw(8)),
    "istft": operation(
        lambda x: torch.istft(
            torch.stft(x, 4, window=torch.ones(4, dtype=x.dtype), return_complex=True) ** 2,
            4,
            window=torch.ones(4, dtype=x.dtype),
        ),
        draw(8),
    ),
    "conv by fft": operation(
        lambda x, y: torch.fft.irfft(torch.fft.rfft(x) * torch.fft.rfft(y), n=5), draw(5), draw(5)
    ),
}


def _projector(vectors: Tensor) -> Tensor:
    """Onto the first of some orthonormal vectors, whose own sign is arbitrary."""
    first = vectors[..., :1]
    return first @ first.mH / (first.mH @ first)


OPERATIONS: dict[str, Operation] = ELEMENTWISE | ACTIVATIONS | NORMALIZATIONS | LOSSES | LAYERS | REDUCED | ALGEBRA
