"""Architectures of edgecnn itself.

Names say the parameters in thousands, once batch normalization is folded, or the bytes of the int8 file as well.
"""

from edgecnn.zoo.architecture import Architecture
from edgecnn.zoo.compact import TRAINING

ARCHITECTURES = {
    # For less flash than edge35k takes: 12,194, 4,110 and 1,154 parameters, once batch normalization is folded. A
    # depthwise-separable convolution costs a fraction of the weights of a full one, and the mean over the last pixels
    # leaves the classifier small. edge12k is also trained as edge35k was, so that they can be compared.
    "edge12k": Architecture(
        layers="C24@5n P2 S48@3 S64@3 P2 S80@3 G", parameters=12_842, macs=730_240, training=TRAINING
    ),
    "edge4k": Architecture(layers="C12@5n P2 S24@3 S32@3 P2 S48@3 G", parameters=4_458, macs=283_152),
    "edge1k": Architecture(layers="C8@3n S8@3 P2 S12@3 S12@3 P2 S16@3 G", parameters=1_322, macs=161_296),
    # The best that we found for 8,000 bytes, with one scale a kernel (`export --per-tensor`): 4,078 parameters in two
    # blocks instead of three, for in a file each layer costs 300 bytes beside its weights.
    "edge4k-8kb": Architecture(layers="C12@5n P2 S32@5 P2 S64@3 G", parameters=4_402, macs=226_560),
    # Beside edge35k and trained as that, so that they can be compared: fewer multiply-accumulates than its 1.7 million,
    # and fewer parameters.
    "edge25k": Architecture(
        layers="C32@5n P2 S64@3 S96@3 P2 S128@3 G", parameters=25_578, macs=1_178_368, training=TRAINING
    ),
    # Residual blocks, with fewer parameters than edge35k and more work.
    "residual31k": Architecture(
        layers="C16@3sn R16@3 R24@3/2 R32@3/2 G", parameters=31_698, macs=6_322_496, training=TRAINING
    ),
    # A teacher for the small ones, six times the multiply-accumulates of edge35k.
    "vgg4": Architecture(
        layers="C32@3 BN C32@3 BN P2 D.2 C64@3 BN C64@3 BN P2 D.2 F128 BN D.4", parameters=198_762, macs=9_837_952
    ),
}
