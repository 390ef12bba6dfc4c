"""The folder of compiled networks: used when sound, harmless when not."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pose_analyzer.detection.blazepose.cache import open_cache, seal
from pose_analyzer.detection.blazepose.network import Network, Output, Runtime
from pose_analyzer.detection.blazepose.weights import find_weights


def _network(folder: Path | None) -> Network:
    outputs = [Output(name="score", shape=(1,)), Output(name="world", shape=(117,))]
    return Network(find_weights().landmarks, outputs, mean=0, scale=255, runtime=Runtime(threads=1, cache_dir=folder))


def _answer(network: Network) -> np.ndarray:
    def fill(_: int, picture: np.ndarray) -> None:
        picture[:] = np.random.default_rng(5).integers(0, 256, picture.shape)

    [answer] = network.map([0], fill, lambda _, outputs: outputs["world"].copy())
    return answer


def test_a_cached_network_answers_like_a_fresh_one(tmp_path):
    expected = _answer(_network(None))
    for _ in range(2):
        np.testing.assert_array_equal(_answer(_network(open_cache(tmp_path / "cache"))), expected)
    assert len(list(tmp_path.glob("cache/*.blob"))) == len(list(tmp_path.glob("cache/*.sha256"))) == 1


def test_a_damaged_blob_is_made_anew(tmp_path):
    expected = _answer(_network(open_cache(tmp_path)))
    [blob] = tmp_path.glob("*.blob")
    damaged = bytearray(blob.read_bytes())
    middle = len(damaged) // 2
    damaged[middle : middle + 4000] = bytes(b ^ 0x5A for b in damaged[middle : middle + 4000])
    blob.chmod(0o600)
    blob.write_bytes(damaged)
    np.testing.assert_array_equal(_answer(_network(open_cache(tmp_path))), expected)
    assert blob.read_bytes() != bytes(damaged)


def test_a_blob_that_nobody_vouches_for_is_thrown_away(tmp_path):
    (tmp_path / "1.blob").write_bytes(b"from elsewhere")
    assert open_cache(tmp_path) == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_a_sealed_blob_stays(tmp_path):
    (tmp_path / "1.blob").write_bytes(b"compiled here")
    seal(tmp_path)
    open_cache(tmp_path)
    assert (tmp_path / "1.blob").exists()


def test_without_a_folder_to_write_there_is_no_cache(tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert open_cache(tmp_path / "file" / "cache") is None
    assert open_cache(None) is None
