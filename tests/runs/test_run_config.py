"""Configurations: from files and overrides, with every mistake in one message."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpt.cli.train import overrides, split
from vpt.errors import OptionError
from vpt.runs.config import differences, to_yaml
from vpt.runs.reading import from_dict, load_config

BASE = ["data.name=digits"]


def faults(*given: str, file: Path | None = None) -> str:
    with pytest.raises(OptionError) as caught:
        load_config(file, given)
    return str(caught.value)


def test_every_mistake_is_listed_at_once_with_the_nearest_name() -> None:
    said = faults(
        "backbone.nam=x", "train.epoch=3", "train.lr=fast", "train.optimizer=adam", "method.name=depe", "sedes=[1]",
        "data.source=embeded", "train.batch_size=0", "data.augment=strnog", "no_equals_sign",
        "backbone.image_size=big", "search=5",
    )  # fmt: skip
    expected = (
        "backbone.nam: no such field (did you mean 'name'?)",
        "train.epoch: no such field (did you mean 'epochs'?)",
        "train.lr: 'fast' given",
        "sedes: no such field (did you mean 'seeds'?)",
        "'no_equals_sign' is no override",
        "backbone.image_size: 'big' given",
        "search: 5 given; accepted: fields of its own",
        "train.optimizer: 'adam' given (did you mean 'adamw'?)",
        "unknown method 'depe' (did you mean 'deep'?)",
        "data.augment: 'strnog' given (did you mean 'strong'?)",
    )
    for part in expected:
        assert part in said


def test_values_that_fit_their_type_but_not_their_meaning_are_listed_too() -> None:
    said = faults(
        *BASE, "train.optimizer=adam", "method.name=depe", "search.lr=[1,-1]", "data.augment=strnog", "seeds=[1,1]",
        "train.batch_size=0", "backbone.name=vit_tiny_patch16_244", "backbone.mean=[1,2]", "data.fit_on=all",
        "train.seed=4", "preprocessing.interpolation=cubic", "method.head_init=zero",
    )  # fmt: skip
    for part in (
        "train.optimizer: 'adam' given (did you mean 'adamw'?)", "unknown method 'depe' (did you mean 'deep'?)",
        "search.lr: [1.0, -1.0]", "data.augment: 'strnog' given (did you mean 'strong'?)", "seeds: [1, 1]",
        "train.batch_size: 0", "did you mean 'vit_tiny_patch16_224'?", "backbone.mean: [1.0, 2.0]",
        "data.fit_on: 'all'", "train.seed: 4", "did you mean 'bicubic'?", "did you mean 'zeros'?",
    ):  # fmt: skip
        assert part in said
    assert "no option 'lenght' (did you mean 'length'?)" in faults(*BASE, "method.options.lenght=3")


def test_wrong_options_names_and_rates_stand_in_the_same_list() -> None:
    said = faults(
        "data={source: folder, options: {shot: 5, val_fraction: a, split_seed: 2.5, ignore: 3}}", "data.root=x",
        "search.lr=[.nan]", "method.head_init=keep", "train.epochs=0",
    )  # fmt: skip
    for part in (
        "has no option 'shot' (did you mean 'shots'?)", "val_fraction='a' given; accepted: a number between 0 and 1",
        "split_seed=2.5 given", "ignore=3 given", "search.lr: [nan]", "train.epochs: 0",
        "method.head_init: 'keep' given; a run loads its backbone without a head",
    ):  # fmt: skip
        assert part in said
    said = faults("data.name=digit", "data.options.shots=0", "train.epochs=0")
    for part in ("unknown embedded task 'digit' (did you mean 'digits'?)", "shots=0 given", "train.epochs: 0"):
        assert part in said
    assert "'CIFAR_10' (did you mean 'CIFAR10'?)" in faults("data.source=torchvision", "data.name=CIFAR_10")


def test_weight_decays_are_searched_with_learning_rates() -> None:
    found = load_config(None, [*BASE, "search.lr=[0.1,0.2]", "search.weight_decay=[0,1e-2]"]).search
    assert (found.lr, found.weight_decay) == ([0.1, 0.2], [0.0, 0.01])
    assert "search.weight_decay: [0.1] given; accepted: together with search.lr" in faults("search.weight_decay=[0.1]")
    for wrong in ("[-1]", "[.inf]", "[0.1,0.1]"):
        said = faults("search.lr=[0.1]", f"search.weight_decay={wrong}")
        assert "search.weight_decay: " in said
        assert "accepted: different numbers from 0" in said


def test_a_search_may_end_in_training_on_train_alone() -> None:
    assert load_config(None, [*BASE, "search.lr=[0.1,0.2]", "data.fit_on=train"]).data.fit_on == "train"


def test_a_file_then_overrides_on_top(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("data: {name: count}\ntrain: {epochs: 7, lr: 1e-2}\nmethod: {name: deep, options: {length: 5}}\n")
    config = load_config(file, ["train.epochs=9", "method.options.dropout=0.1"])
    assert (config.train.epochs, config.train.lr, config.data.name) == (9, 0.01, "count")
    assert config.method.options == {"length": 5, "dropout": 0.1}


def test_options_in_a_file_go_with_the_method_and_source_they_belong_to(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("data: {name: count, options: {train: 50}}\nmethod: {name: deep, options: {length: 5}}\n")
    other = load_config(file, ["method.name=linear"])
    assert other.method.options == {}
    assert other.data.options == {"train": 50}
    assert load_config(file, ["method.name=deep"]).method.options == {"length": 5}
    moved = load_config(file, ["data.source=folder", "data.options.shots=2"])
    assert moved.data.options == {"shots": 2}


@pytest.mark.parametrize("written", ["method: deep\n", "method: null\n", "method: [deep]\n"])
def test_a_section_without_fields_is_named_also_under_an_override(tmp_path: Path, written: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("data: {name: digits}\n" + written)
    for overriding in ([], ["method.name=shallow"]):
        said = faults(*overriding, file=file)
        assert "given; accepted: fields of its own (name, path, head_init, options)" in said
        assert said.count("method") == 1
    file.write_text("data: {name: digits}\nmethod: {name: '${nowhere}'}\n")
    assert "nowhere" in faults("method.path=hooks", file=file)


def test_a_value_that_must_be_given_is_named(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("data:\n  source: folder\n  root: ???\n")
    assert "data.root: must be given" in faults(file=file)
    assert load_config(file, ["data.root=pictures"]).data.root == Path("pictures")
    assert "needs name: one of count, digits, location, orientation" in faults()


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [1\n", "train: ${nowhere}\n"])
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.yaml").write_text(content)
    with pytest.raises(OptionError):
        load_config(tmp_path / "run.yaml")
    with pytest.raises(OptionError, match="no configuration file"):
        load_config(tmp_path / "absent.yaml")


@settings(max_examples=25, deadline=None)
@given(
    lr=st.floats(1e-8, 10),
    seeds=st.lists(st.integers(0, 2**31), min_size=1, max_size=4, unique=True),
    root=st.none() | st.just(Path("a/b c")),
    options=st.dictionaries(st.sampled_from(["shots", "seed"]), st.integers(1, 9)),
)
def test_the_full_yaml_reads_back_as_the_same_configuration(
    tmp_path_factory: pytest.TempPathFactory, lr: float, seeds: list[int], root: Path | None, options: dict[str, int]
) -> None:
    config = load_config(None, [*BASE, f"train.lr={lr!r}", f"seeds={seeds}"])
    config.data.root, config.data.options = root, options
    file = tmp_path_factory.mktemp("yaml") / "config.yaml"
    file.write_text(to_yaml(config))
    assert load_config(file) == config == from_dict(config.to_dict())


def test_differences_name_fields_and_leave_the_folder_aside() -> None:
    a = load_config(None, [*BASE, "out=a"])
    b = load_config(None, [*BASE, "out=b", "train.lr=0.5", "method.options.length=3"])
    assert differences(a, b) == ["method.options.length (None, now 3)", "train.lr (0.001, now 0.5)"]


def test_what_changes_no_result_makes_no_difference() -> None:
    a = load_config(None, BASE)
    free = ["train.workers=2", "train.log_every=3", "train.checkpoint_every=4", "train.tensorboard=false"]
    assert differences(a, load_config(None, [*BASE, *free, "data.cache=x"])) == []


@pytest.mark.parametrize("path", ["data #1", "2024", "on", "a: b", "1e3", "'q\"\\", "é/ü", " x ", "null", "[a]", "~"])
def test_paths_given_as_shorthands_are_taken_as_they_are(path: str) -> None:
    config = load_config(None, [*BASE, *overrides({"data.root": Path(path), "out": Path(path), "train.epochs": 3})])
    assert (config.data.root, config.out, config.train.epochs) == (Path(path), Path(path), 3)


def test_the_commands_shorthands_are_overrides() -> None:
    assert overrides({"backbone.name": "x", "out": None}) == ['backbone.name="x"']
    assert overrides({}, data="digits") == ['data.source="embedded"', 'data.name="digits"']
    assert overrides({}, data="torchvision:CIFAR10") == ['data.source="torchvision"', 'data.name="CIFAR10"']
    assert overrides({}, data="folder") == ['data.source="folder"']
    assert overrides({}, lr="1e-3") == ["train.lr=1e-3"]
    assert overrides({}, lr="1e-3,1e-2", seeds="0,1") == ["search.lr=[1e-3,1e-2]", "seeds=[0,1]"]
    with pytest.raises(OptionError, match="did you mean 'digits'"):
        overrides({}, data="digit")
    assert split(["a.yaml", "x=1"]) == (Path("a.yaml"), ["x=1"])
    assert split(["x=1"]) == (None, ["x=1"])
