"""Any model + loss + data as a function L(θ) of one flat parameter vector.

`layout` places parameters in θ; `batches` holds the data with sample counts; `structure` recognises networks with exact
formulas; `program` evaluates many θ at once; `derivatives` sums values, gradients and products over the data;
`objective` joins them; `sharding` spreads the data of one over the processes of `torch.distributed`.
"""

from thalweg.objective.layout import ParameterLayout
from thalweg.objective.objective import Objective
from thalweg.objective.ondemand import OnDemand
from thalweg.objective.seeds import replica_seed
from thalweg.objective.sharding import sharded

__all__ = ["Objective", "OnDemand", "ParameterLayout", "replica_seed", "sharded"]
