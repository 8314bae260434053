"""A run's configuration written as TOML, read back, and compared with another."""

import re

import pytest

from edgecnn.config import configure
from edgecnn.config.dicts import differences
from edgecnn.config.recipes import RECIPES
from edgecnn.config.toml import from_toml, to_toml
from edgecnn.errors import ConfigError


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_configuration_survives_toml(recipe: str) -> None:
    config = configure(data="mnist", recipe=recipe, epochs=7, sparsity=0.5, seed=3, max_drop_pp=1)
    assert from_toml(to_toml(config), where="config.toml") == config


def test_toml_writes_the_defaults_out() -> None:
    text = to_toml(configure())
    for key in (
        "validation_fraction",
        "learning_rate",
        "final_sparsity",
        "calibration_images",
        "max_drop_pp",
    ):
        assert f"{key} = " in text


def test_an_unknown_key_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"config.toml: key: 'epoch' is unknown; expected one of: .*arch.*data"):
        from_toml(to_toml(configure()).replace("seed =", "epoch ="), where="config.toml")


def test_a_run_of_the_time_before_clustering_is_read_with_its_recipe_s() -> None:
    config = configure(recipe="quick")
    tables = to_toml(config).split("\n\n")
    old = "\n\n".join(table for table in tables if not table.startswith("[clustering"))
    old = old.replace('method = "magnitude"\nrounds = 1\n', "")
    assert old != to_toml(config)
    assert from_toml(old, where="config.toml") == config


def test_a_wrong_type_in_the_file_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"seed: got 'one'; expected int"):
        from_toml(to_toml(configure()).replace("seed = 0", 'seed = "one"'), where="config.toml")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("batch_size = 32", "batch_size: 0; expected at least 1"),
        ("seed = 0", "seed: -1; expected 0 to"),
        ("max_drop_pp = 0.5", "max-drop: nan; expected at least 0"),
        ("data = ", "key 'data' is missing from RunConfig"),
    ],
)
def test_a_bad_value_in_the_file_is_refused(line: str, message: str) -> None:
    key = line.split(" = ")[0]
    bad = {"batch_size": "batch_size = 0", "seed": "seed = -1", "max_drop_pp": "max_drop_pp = nan", "data": ""}[key]
    text = re.sub(rf"^{key} = .*$", bad, to_toml(configure()), count=1, flags=re.MULTILINE)
    with pytest.raises(ConfigError, match=message):
        from_toml(text, where="config.toml")


def test_an_empty_file_is_no_configuration() -> None:
    with pytest.raises(ConfigError, match="key 'data' is missing"):
        from_toml("", where="config.toml")


def test_differences_names_each_value() -> None:
    assert differences(configure(epochs=5), configure(epochs=6, seed=1)) == [
        "seed: 1 there, 0 asked",
        "training.epochs: 6 there, 5 asked",
    ]
