"""Which machines a study measures."""

import os
import shutil

import pytest

from asd_jax.base.errors import UserError
from asd_jax.datasets import DATASETS, synthetic
from asd_jax.records.prepare import prepare
from asd_jax.records.store import open_store
from asd_jax.studies.targets import find_test_ids


def prepared(folder, labelled):
    """Machines 00 and 01 of the development part, 03 of the evaluation part."""
    sizes = {"machine_ids": ["00", "01", "03"], "train_clips": 1, "test_clips": 1, "seconds": 3}
    synthetic.generate(folder / "raw", layout="dcase2021", machine_types=["belt", "rotor"], **sizes)
    if not labelled:
        os.remove(folder / "raw/eval_data_list.csv")
        shutil.rmtree(folder / "raw/ground_truth_data")
    prepare(DATASETS["dcase2021"].list_clips(str(folder / "raw")), str(folder / "data"), "dcase2021", "paper2")
    return open_store(str(folder / "data"), "paper2")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("labelled"), labelled=True)


@pytest.mark.parametrize(
    ("part", "ids", "why"), [("dev", ("00", "01"), "development part"), ("eval", ("03",), "evaluation part")]
)
def test_the_ids_of_the_part_are_measured(store, capsys, part, ids, why):
    assert find_test_ids(store, part) == {"belt": ids, "rotor": ids}
    assert f"rotor: measured on {', '.join(ids)} ({why})" in capsys.readouterr().out


def test_types_and_ids_can_be_named_whatever_their_part(store):
    assert find_test_ids(store, "dev", ["rotor"]) == {"rotor": ("00", "01")}
    assert find_test_ids(store, "dev", ["rotor"], ["03", "00"]) == {"rotor": ("00", "03")}
    with pytest.raises(UserError, match="no test clips of fan labelled"):
        find_test_ids(store, "dev", ["fan"])
    with pytest.raises(UserError, match="no test clips of machine ID 07 labelled"):
        find_test_ids(store, "dev", (), ["00", "07"])


def test_without_labels_in_the_part_all_labelled_ids_are_measured(tmp_path, capsys):
    store = prepared(tmp_path, labelled=False)
    assert find_test_ids(store, "eval") == {"belt": ("00", "01"), "rotor": ("00", "01")}
    assert "rotor: measured on 00, 01 (all that are labelled)" in capsys.readouterr().out
