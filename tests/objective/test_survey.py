"""Which derivatives of torch are wrong, and which it refuses: shows what a new version of torch breaks or mends.

An operation that is wrong needs a composition in `thalweg.objective` (`EXACT` in kernels.py), or a refusal.
"""

from __future__ import annotations

import pytest
import torch

from tests.objective import operations
from tests.objective.survey import FORWARD, FUNCTIONAL, OVER, REVERSE, UNDER, survey
from thalweg.objective.kernels import exact_kernels

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

FUSED = {REVERSE: 3, FUNCTIONAL: 3, OVER: 3, UNDER: 2, FORWARD: 2}
OUTPUTS = {REVERSE: 1, FUNCTIONAL: 1, OVER: 1, FORWARD: 1}
INSIDE = {UNDER: 2, FORWARD: 2}
FIRST_FORWARD = {OVER: 1, FORWARD: 1, UNDER: 2}
NO_FORWARD = {OVER: 1, FORWARD: 1, UNDER: 2}
NO_SECOND = {**NO_FORWARD, REVERSE: 2, FUNCTIONAL: 2}

# Operation -> the first order that is wrong by each way, without an error.
KNOWN_WRONG: dict[str, dict[str, int]] = {
    "layer_norm": FUSED,
    "layer_norm affine": FUSED,
    "native_layer_norm": OUTPUTS,  # through the mean and the scale, which it returns as well
    "batch_norm": FUSED,
    "batch_norm affine": FUSED,
    "native_batch_norm": OUTPUTS,
    "instance_norm": FUSED,
    "instance_norm affine": FUSED,
    "weight_norm": {REVERSE: 2, FUNCTIONAL: 2},
    "TransformerEncoderLayer": FUSED,
    "TransformerEncoderLayer in inference": FUSED,
    "TransformerDecoderLayer": FUSED,
    "linear_cross_entropy in chunks": {OVER: 1, FORWARD: 1},
    "orthogonal by cayley": INSIDE,
    "solve": INSIDE,
    "solve left": INSIDE,
    "solve_ex": INSIDE,
    "tensorsolve": INSIDE,
    "det": INSIDE,
    "det of a stack": INSIDE,
    "det of four rows": INSIDE,
    "det of a singular matrix": {OVER: 1, FORWARD: 1, UNDER: 2, REVERSE: 3},
    "logdet": INSIDE,
    "slogdet": INSIDE,
    "slogdet of complex numbers": INSIDE,
    "householder_product": INSIDE,
    "cholesky_inverse": FIRST_FORWARD,
    "scatter_reduce prod": FIRST_FORWARD,
    "eigvals": {FORWARD: 3},
    "eig projector": {FORWARD: 3},
    "cumprod at a zero": {FORWARD: 2},
    "cumprod at two zeros": {FORWARD: 2},
    "prod at a zero": {FORWARD: 3},
    "prod at two zeros": {FORWARD: 3},
    "prod along an axis at a zero": {FORWARD: 3},
    "prod along an axis at two zeros": {FORWARD: 3},
    "sinc at 0": {OVER: 2, FORWARD: 2},
    "i0 at 0": dict.fromkeys((REVERSE, FUNCTIONAL, OVER, UNDER, FORWARD), 4),
    "special.i1 at 0": dict.fromkeys((REVERSE, FUNCTIONAL, OVER, UNDER, FORWARD), 3),
    # These two promise another number than the derivative.
    "embedding padding": {REVERSE: 1, FUNCTIONAL: 1},
    "embedding scaled by frequency": {REVERSE: 1, FUNCTIONAL: 1},
}

# Operation -> the first order that torch refuses by an error, or answers with NaN.
REFUSED: dict[str, dict[str, int]] = {
    "special.zeta": OUTPUTS,
    "ldl": OUTPUTS,
    "igamma": NO_FORWARD,
    "igammac": NO_FORWARD,
    "weight_norm": NO_FORWARD,
    "weight_norm over all": NO_FORWARD,
    "conv_tbc": NO_FORWARD,
    "cdist by matmul": NO_FORWARD,
    "index_reduce prod": NO_FORWARD,
    "index_reduce mean": NO_FORWARD,
    **{f"grid_sample{kind}": NO_FORWARD for kind in ("", " border", " bicubic", " nearest", " 3d")},
    "hardsigmoid": dict.fromkeys((REVERSE, FUNCTIONAL, OVER, UNDER, FORWARD), 2),
    **{
        f"{name} {reduction}": NO_SECOND
        for name in ("ctc_loss", "multi_margin_loss", "multilabel_margin_loss")
        for reduction in operations.REDUCTIONS
    },
    **{
        f"{name} {reduction}": {OVER: 2, FORWARD: 2}
        for name in ("huber_loss", "soft_margin_loss")
        for reduction in operations.REDUCTIONS
    },
    **{f"embedding_bag {mode}": NO_SECOND for mode in ("sum", "mean", "max", "weighted")},
    "cdist": NO_SECOND,
    "cdist 1": NO_SECOND,
    "pdist": NO_SECOND,
    "pdist 3": NO_SECOND,
    "segment_reduce": NO_SECOND,
    "linear_cross_entropy in chunks": {FUNCTIONAL: 1, REVERSE: 2, UNDER: 2},
    "conv_transpose2d output_padding": {REVERSE: 3, FUNCTIONAL: 3},
    "glu": INSIDE,
    "logcumsumexp": {REVERSE: 3, FUNCTIONAL: 3},
    "sinc at 0": {REVERSE: 2, FUNCTIONAL: 2, UNDER: 2},
    "pow tensor 3 at 0": {UNDER: 2},
    "cumprod at a zero": {UNDER: 2},
    "cumprod at two zeros": {UNDER: 2},
    "det": {FUNCTIONAL: 3, OVER: 3},
    "det of a stack": {FUNCTIONAL: 3, OVER: 3},
    "det of four rows": {FUNCTIONAL: 3, OVER: 3},
    "det of a singular matrix": {FUNCTIONAL: 3},
    "eigh projector": {UNDER: 2},
    "eig projector": {UNDER: 2},
}

# Without a composition: by forward mode inside of forward mode only, or no derivative on purpose.
UNSUPPORTED = {"eigvals", "eig projector", "embedding padding", "embedding scaled by frequency"}
GROUPS = {
    name: getattr(operations, name)
    for name in ("ELEMENTWISE", "ACTIVATIONS", "NORMALIZATIONS", "LOSSES", "LAYERS", "REDUCED", "ALGEBRA")
}


def sentences(name, kind, found, known):
    """What differs between the derivatives of this torch and those that are known."""
    for way in sorted({*found, *known}):
        before, now = known.get(way), found.get(way)
        if before != now:
            was, is_now = ("right to order 4" if one is None else f"{kind} from order {one}" for one in (before, now))
            yield f"{name}, {way}: known to be {was}, found {is_now} in torch {torch.__version__}"


@pytest.mark.parametrize("group", GROUPS)
def test_the_derivatives_of_torch_are_as_wrong_as_known(group):
    changed = []
    for name, operation in GROUPS[group].items():
        wrong, refused = survey(operation)
        changed += sentences(name, "wrong", wrong, KNOWN_WRONG.get(name, {}))
        changed += sentences(name, "refused", refused, REFUSED.get(name, {}))
    assert not changed, "\n".join(changed)


@pytest.mark.parametrize("group", GROUPS)
def test_no_derivative_is_wrong_with_exact_kernels(group):
    changed = []
    for name, operation in GROUPS[group].items():
        known = KNOWN_WRONG.get(name, {}) if name in UNSUPPORTED else {}
        with exact_kernels():
            wrong, _ = survey(operation)
        changed += sentences(name, "wrong", wrong, known)
    assert not changed, "\n".join(changed)


def test_the_tables_name_operations():
    assert {*KNOWN_WRONG, *REFUSED, *UNSUPPORTED} <= {*operations.OPERATIONS}
