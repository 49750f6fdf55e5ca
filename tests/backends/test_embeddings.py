"""Embeddings: segments, selection, and the file that keeps them."""

import dataclasses

import numpy as np
import pytest

from asd_jax.backends.embeddings import Embeddings
from asd_jax.base.errors import UserError
from asd_jax.methods.segments import segment_starts
from tests.embeddings import join, make, normal


@pytest.mark.parametrize(
    ("frames", "window", "segments", "starts"),
    [
        (160_000, 32_000, 10, [0, 14_222, 28_444, 42_666, 56_888, 71_110, 85_332, 99_554, 113_776, 128_000]),
        (626, 126, 10, [0, 55, 110, 165, 220, 275, 330, 385, 440, 500]),
        (19, 10, 10, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (14, 10, 10, [0, 0, 0, 0, 0, 0, 0, 0, 0, 4]),
        (10, 10, 10, [0] * 10),
        (15, 4, 3, [0, 5, 11]),
    ],
)
def test_segments_are_evenly_spaced_and_the_last_ends_with_the_clip(frames, window, segments, starts):
    assert segment_starts(frames, window, segments).tolist() == starts
    assert segments != 10 or segment_starts(frames, window).tolist() == starts


def test_rows_are_selected_together():
    both = join(make(normal((2, 3, 4)), "03"), make(normal((1, 3, 4), seed=1), "00", label=1, name="other"))
    assert both.machines() == [("fan", "00"), ("fan", "03")]
    second = both.select(both.segment == 1)
    assert second.clip.tolist() == ["clip_0", "clip_1", "other_0"]
    assert second.label.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(second.embedding, both.embedding[[1, 4, 7]])


def test_clips_are_counted_by_machine_id_and_name_in_the_order_of_their_first_rows():
    both = join(make(normal((2, 2, 4)), "03"), make(normal((2, 2, 4)), "00")).select(np.array([6, 2, 0, 7, 4, 3, 1, 5]))
    first_rows, clip_of_row = both.clips()  # clip_0 and clip_1 of 03 and of 00 are four clips
    assert first_rows.tolist() == [0, 1, 2, 4]
    assert clip_of_row.tolist() == [0, 1, 2, 0, 3, 1, 2, 3]


def test_ids_of_several_machine_types_are_not_mixed_up():
    fan = make(normal((1, 1, 4)))
    pump = dataclasses.replace(fan, machine_type=np.array(["pump"]))
    both = join(fan, pump)
    assert both.machines() == [("fan", "00"), ("pump", "00")]
    assert both.rows_of(("pump", "00")).tolist() == [False, True]
    assert both.clips()[0].tolist() == [0, 1]  # clips of one name and ID, and yet two


def test_a_stored_file_comes_back_as_it_was(tmp_path):
    stored = join(
        make(normal((2, 3, 4)), "03"), make(normal((1, 3, 4)), "ID with ü", 1, "longer name", "target", "eval")
    )
    stored.save(tmp_path / "folder" / "embeddings.npz")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["embeddings.npz"]
    loaded = Embeddings.load(tmp_path / "folder" / "embeddings.npz")
    for field in dataclasses.fields(Embeddings):
        before, after = getattr(stored, field.name), getattr(loaded, field.name)
        np.testing.assert_array_equal(before, after)
        assert np.asarray(before).dtype == np.asarray(after).dtype


def test_objects_are_neither_written_nor_read(tmp_path):
    names = np.array(["clip_0"], dtype=object)
    with pytest.raises(ValueError, match="Object"):
        dataclasses.replace(make(normal((1, 1, 4))), clip=names).save(tmp_path / "embeddings.npz")
    np.savez(tmp_path / "pickled.npz", **(vars(make(normal((1, 1, 4)))) | {"clip": names}))
    with pytest.raises(UserError, match=r"pickled\.npz holds no embeddings"):
        Embeddings.load(tmp_path / "pickled.npz")


def test_damaged_and_foreign_files_are_told(tmp_path):
    path = tmp_path / "embeddings.npz"
    with pytest.raises(UserError, match=r"no file of embeddings .*embeddings\.npz"):
        Embeddings.load(path)
    make(normal((2, 3, 4))).save(path)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(b"NUMPY") + 150] ^= 1  # within the numbers
    foreign = {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "flipped": bytes(flipped),
        "text": b"clip,score\n",
    }
    for name, content in foreign.items():
        (tmp_path / name).write_bytes(content)
    with open(tmp_path / "array", "wb") as file:
        np.save(file, np.zeros(3))
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    np.savez(tmp_path / "uneven.npz", **(vars(make(normal((2, 3, 4)))) | {"label": np.zeros(5)}))
    for name in [*foreign, "array", "other.npz", "uneven.npz"]:
        with pytest.raises(UserError, match=f"{name} holds no embeddings or is damaged"):
            Embeddings.load(tmp_path / name)
