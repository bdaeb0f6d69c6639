"""A version stays until the last request that was accepted with it is answered."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.small_server import backbone, saved

from vpt.errors import ArtifactError, OptionError
from vpt.serving import Predictor

pytest.importorskip("fastapi", reason="needs an extra: pip install 'vpt[serve]'")

from vpt.serving.http.catalogue import Catalogue


def test_a_replaced_version_serves_who_came_before(predictor: Predictor, tmp_path: Path) -> None:
    catalogue = Catalogue(predictor)
    before = catalogue.get("pets")
    with catalogue.lease(["pets"]) as held:
        assert not catalogue.put("pets", saved(tmp_path, "pets", seed=2), 2)
        after = catalogue.get("pets")
        assert held["pets"] == before
        assert predictor.task(before.key).digest == before.task.digest != after.task.digest
        with catalogue.lease(["pets"]) as again:
            assert again["pets"] == after
    assert before.key not in predictor.tasks
    assert after.key in predictor.tasks
    assert (after.version, catalogue.names) == (2, ["flowers", "pets", "team-cars"])


def test_a_dropped_task_serves_who_came_before(predictor: Predictor) -> None:
    catalogue = Catalogue(predictor)
    with catalogue.lease(["pets", "flowers"]) as held:
        catalogue.drop("pets")
        with pytest.raises(OptionError, match="unknown task 'pets'"):
            catalogue.get("pets")
        assert held["pets"].key in predictor.tasks
    assert predictor.tasks == ["flowers", "team-cars"]
    with pytest.raises(OptionError, match="unknown task 'pets'"), catalogue.lease(["flowers", "pets"]):
        pass
    catalogue.drop("flowers")
    assert predictor.tasks == ["team-cars"]


def test_what_does_not_load_replaces_nothing(predictor: Predictor, tmp_path: Path) -> None:
    catalogue = Catalogue(predictor)
    before = catalogue.get("pets")
    with pytest.raises(OptionError, match="is not a run or an artefact"):
        catalogue.put("pets", tmp_path)
    with pytest.raises(ArtifactError, match="bound to the backbone"):
        catalogue.put("pets", saved(tmp_path, "pets", on=5), 2)
    assert catalogue.get("pets") == before
    assert len(predictor.tasks) == 3


@pytest.mark.parametrize("name", ["a,b", " a", "a ", "", "x" * 201, "\udcff"])
def test_names_that_no_request_could_ask_for_are_refused(predictor: Predictor, folder: Path, name: str) -> None:
    with pytest.raises(OptionError, match=r"task name .*; accepted: "):
        Catalogue(predictor).put(name, folder / "pets")
    predictor.add(folder / "pets", name=name or ",")
    with pytest.raises(OptionError, match=r"task name .*; accepted: "):
        Catalogue(predictor)


STEPS = st.lists(st.tuples(st.sampled_from(["put", "drop", "take", "give"]), st.sampled_from(["a", "b"])), max_size=30)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_the_predictor_has_what_is_served_or_held_and_no_more(folder: Path, steps: list[tuple[str, str]]) -> None:
    predictor = Predictor(_BACKBONE)
    catalogue, held = Catalogue(predictor), []
    for step, name in steps:
        if step == "put":
            catalogue.put(name, folder / "pets")
        elif step == "drop" and name in catalogue.names:
            catalogue.drop(name)
        elif step == "take" and name in catalogue.names:
            lease = catalogue.lease([name])
            held.append((lease, lease.__enter__()[name].key))
        elif step == "give" and held:
            held.pop(0)[0].__exit__(None, None, None)
        served = [one.key for one in catalogue.all()]
        assert set(predictor.tasks) == {*served, *(key for _, key in held)}
    for lease, _ in held:
        lease.__exit__(None, None, None)
    assert set(predictor.tasks) == {one.key for one in catalogue.all()}


_BACKBONE = backbone()


def test_threads_that_replace_and_lease_at_once_lose_nothing(predictor: Predictor, folder: Path) -> None:
    catalogue, faults = Catalogue(predictor), []

    def use() -> None:
        try:
            for _ in range(200):
                with catalogue.lease(["pets", "flowers"]) as held:
                    for one in held.values():
                        predictor.task(one.key)
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        catalogue.put("pets", folder / "pets")
    for thread in threads:
        thread.join()
    assert not faults
    assert len(predictor.tasks) == 3
