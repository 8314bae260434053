"""Architectures build with exactly their stated parameter count."""

import pytest

from edgecnn import zoo
from edgecnn.errors import ConfigError

PARAMETERS = {"edge35k": 35_030, "edge12k": 12_842, "edge4k": 4_458, "edge1k": 1_322, "vgg4": 198_762}


@pytest.mark.parametrize("arch", zoo.ARCHITECTURES)
def test_parameter_count_is_exact(arch: str) -> None:
    model = zoo.build(arch, input_shape=(28, 28, 1), classes=10)
    assert model.count_params() == PARAMETERS[arch]
    assert model.output_shape == (None, 10)


def test_layer_names_do_not_depend_on_earlier_models() -> None:
    first, second = (zoo.build("edge35k", input_shape=(28, 28, 1), classes=10) for _ in range(2))
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]


def test_an_unknown_architecture_lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"arch: 'resnet' is unknown; expected one of: .*edge35k"):
        zoo.build("resnet", input_shape=(28, 28, 1), classes=10)
