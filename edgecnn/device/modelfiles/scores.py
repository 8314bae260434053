"""What the last operators make of the scores."""

from edgecnn.device.contract import LOGITS, PROBABILITIES
from edgecnn.device.modelfiles.graph import Graph

# They leave probabilities probabilities and logits logits; a mean over places does too.
_PASSED = (
    "QuantizeLinear", "DequantizeLinear", "Cast", "Identity", "Dropout", "Reshape", "Squeeze", "Unsqueeze", "Flatten",
    "ReduceMean", "AveragePool", "GlobalAveragePool",
)  # fmt: skip
# The softmax of log-probabilities are the probabilities again.
_MADE = {
    "Softmax": PROBABILITIES,
    "QLinearSoftmax": PROBABILITIES,
    **dict.fromkeys(("LogSoftmax", "Gemm", "MatMul", "Conv", "QLinearConv", "QGemm", "QLinearMatMul"), LOGITS),
}
_MOST_OPERATORS = 16


def scores_of(graph: Graph) -> str | None:
    """Return whether the first output holds probabilities or logits, None where its last operators do not say.

    A sigmoid does not: of several classes its scores need not add up to 1.
    """
    tensor = graph.output
    for _ in range(_MOST_OPERATORS):
        operator = graph.producer(tensor)
        if operator is None or operator.is_followed or not operator.inputs:
            return None
        if operator.kind in _MADE:
            return _MADE[operator.kind]
        taken = [operator.inputs[0]] if operator.kind in _PASSED else []
        if operator.kind == "Add":  # of a bias
            taken = [one for one in operator.inputs if graph.constant(one) is None]
        if len(taken) != 1:
            return None
        tensor = taken[0]
    return None
