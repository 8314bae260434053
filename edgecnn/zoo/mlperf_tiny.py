"""The convolutional networks of MLPerf Tiny for images and keywords, by their published structure.

C. Banbury et al., "MLPerf Tiny Benchmark" (2021); the models are those of its reference implementation,
github.com/mlcommons/tiny: benchmark/training/image_classification/keras_model.py (with 16 filters, as its pretrained
model has) and benchmark/training/keyword_spotting/keras_model.py. There their last pooling is as large as what it
pools, which is the mean. The counts follow from that structure, convolutions with a bias before batch normalization.
"""

from edgecnn.zoo.architecture import Architecture

_SEPARABLE = "W3snb C64@1nb"

ARCHITECTURES = {
    "resnet8": Architecture(
        layers="C16@3snb R16@3b R32@3/2b R64@3/2b G", parameters=78_666, macs=12_501_632, shape=(32, 32, 3)
    ),
    "ds-cnn": Architecture(
        layers=f"C64@10x4s/2nb D.2 {' '.join([_SEPARABLE] * 4)} D.4 G",
        parameters=24_908,
        macs=2_656_768,
        shape=(49, 10, 1),
        classes=12,
    ),
}
