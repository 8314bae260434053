"""Weight clustering: every kernel is left with a few distinct values, which gzip then stores in a few bits each.

tensorflow-model-optimization's clustering, after S. Han et al., "Deep Compression" (2016): centroids from k-means++,
each weight bound to the nearest, and the centroids trained with the gradients of their members.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn._tf import clone, keras, tfmot
from edgecnn.compress.kernels import kernels
from edgecnn.config.settings import Clustering
from edgecnn.errors import ConfigError


def cluster(model: Any, *, clustering: Clustering, fit: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Return (a copy of `model` without wrappers, what `fit` returned); `model` itself is left alone.

    Each kernel of the copy holds at most `clustering.clusters` distinct values. In a kernel that has zeros one of them
    is zero, and what was zero stays so. Raises `ConfigError`, before anything is trained, when that leaves fewer than
    two values for the others.
    """
    weights = kernels(model)
    numbers = {name: _clusters_of(name, kernel, clustering.clusters) for name, kernel in weights.items()}

    def wrap(layer: Any) -> Any:
        if layer.name not in weights or weights[layer.name].size <= clustering.clusters:
            return layer  # no kernel, or one that holds no more values than asked for
        return tfmot.clustering.keras.cluster_weights(
            layer,
            number_of_clusters=numbers[layer.name],
            cluster_centroids_init=tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS,
            preserve_sparsity=not weights[layer.name].all(),
        )

    wrapped = keras.models.clone_model(clone(model), clone_function=wrap)
    fitted = fit(wrapped)
    # Strip first: clustering wrappers neither convert nor compress.
    return clone(tfmot.clustering.keras.strip_clustering(wrapped)), fitted


def _clusters_of(name: str, kernel: NDArray[np.float32], clusters: int) -> int:
    """Return how many clusters `kernel` gets: no more than it has weights to begin them with."""
    if kernel.all():
        return clusters
    nonzero = int(np.count_nonzero(kernel))
    if clusters < 3 or nonzero < 2:
        raise ConfigError(
            f"cluster: {clusters} clusters, one of them zero, for the {nonzero} nonzero weights of {name}; "
            f"needs at least 3 clusters and 2 weights; give more --clusters or a parent of lower sparsity"
        )
    return min(clusters, nonzero + 1)
