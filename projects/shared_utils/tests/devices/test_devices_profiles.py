"""Figures of known machines, and the facts of this one."""

from __future__ import annotations

import json
import platform
import socket
from pathlib import Path

import pytest
import yaml

from shared_utils.devices import (
    MachineProfile,
    find_profile,
    load_machine_profiles,
    machine_profile,
    save_machine_profiles,
    write_machine_profile,
)
from shared_utils.errors import ConfigError, DeviceError

MACHINES = Path(__file__).parents[4] / "config" / "machines.yml"


@pytest.fixture(scope="module")
def profiles() -> dict[str, MachineProfile]:
    return load_machine_profiles(MACHINES)


def test_the_machines_we_speak_of_are_there(profiles):
    assert {"rtx-5070-ti", "rtx-4070-laptop", "rtx-3070-ti", "h100-sxm", "l4", "t4", "jetson-agx-orin-64gb", "apple-m1"} <= set(profiles)
    assert {p.kind for p in profiles.values()} == {"cpu", "cuda", "mps"}


@pytest.mark.parametrize(
    ("name", "cores", "boost_ghz", "bus_bits", "gbit_per_s"),
    [
        ("rtx-5070-ti", 8960, 2.452, 256, 28),
        ("rtx-4070-ti", 7680, 2.61, 192, 21),
        ("rtx-4070-laptop", 4608, 2.175, 128, 16),
        ("rtx-3070-ti", 6144, 1.77, 256, 19),
        ("rtx-3090", 10496, 1.695, 384, 19.5),
        ("rtx-4090", 16384, 2.52, 384, 21),
        ("rtx-5090", 21760, 2.407, 512, 28),
        ("rtx-a6000", 10752, 1.8, 384, 16),
        ("rtx-6000-ada", 18176, 2.505, 384, 20),
        ("a100-sxm-40gb", 6912, 1.41, 5120, 2.43),
        ("a100-pcie-40gb", 6912, 1.41, 5120, 2.43),
        ("a40", 10752, 1.74, 384, 14.5),
        ("a10", 9216, 1.695, 384, 12.5),
        ("l40s", 18176, 2.52, 384, 18),
        ("l40", 18176, 2.49, 384, 18),
        ("v100-sxm2-16gb", 5120, 1.53, 4096, 1.754),
        ("v100-pcie-32gb", 5120, 1.38, 4096, 1.754),
        ("t4", 2560, 1.59, 256, 10),
        ("jetson-agx-orin-64gb", 2048, 1.3, 256, 6.4),
        ("jetson-orin-nano-super-8gb", 1024, 1.02, 128, 6.4),
    ],
)
def test_figures_follow_from_cores_clock_and_bus(profiles, name, cores, boost_ghz, bus_bits, gbit_per_s):
    """A core does one fused multiply-add per cycle; a bus moves its width at its rate."""
    profile = profiles[name]
    assert profile.fp32_tflops == pytest.approx(2 * cores * boost_ghz / 1000, rel=0.02)
    assert profile.bandwidth_gb_per_s == pytest.approx(bus_bits / 8 * gbit_per_s, rel=0.01)


def test_matrix_units_follow_their_generation_s_ratios(profiles):
    """int8 runs at twice fp16 with fp16 accumulation; GeForce halves fp16 with fp32 accumulation again."""
    for profile in profiles.values():
        if profile.kind == "cuda" and profile.fp16_tflops and profile.int8_tops:
            ratio = profile.int8_tops / profile.fp16_tflops
            assert ratio == pytest.approx(4 if "GeForce" in profile.name else 2, rel=0.02), profile.name


def test_formats_of_the_matrix_units_keep_their_ratios(profiles):
    """Since Ampere bf16 runs as fast as fp16, and at twice the rate of tf32, which is never slower than plain fp32."""
    with_tf32 = {name: profile for name, profile in profiles.items() if profile.tf32_tflops}
    assert len(with_tf32) >= 20
    for name, profile in with_tf32.items():
        assert profile.bf16_tflops == profile.fp16_tflops, name
        assert profile.bf16_tflops == pytest.approx(2 * profile.tf32_tflops, rel=0.025), name
        assert profile.tf32_tflops >= profile.fp32_tflops, name


def test_what_came_before_ampere_has_neither_bf16_nor_tf32(profiles):
    for name in ("t4", "v100-sxm2-16gb", "v100-pcie-32gb"):
        assert profiles[name].fp16_tflops > profiles[name].fp32_tflops
        assert (profiles[name].tf32_tflops, profiles[name].bf16_tflops) == (None, None)


def test_every_row_tells_its_source_and_the_day(profiles):
    for name, profile in profiles.items():
        assert len(profile.source) > 15, name
        assert profile.looked_up is not None, name


def test_sizes_and_forms_of_one_gpu_compute_alike(profiles):
    for family in (
        ("a100-sxm-40gb", "a100-sxm-80gb", "a100-pcie-40gb", "a100-pcie-80gb"),
        ("h100-sxm", "h200-sxm"),
        ("h100-nvl", "h200-nvl"),
    ):
        assert (
            len({(profiles[n].fp32_tflops, profiles[n].tf32_tflops, profiles[n].bf16_tflops, profiles[n].int8_tops) for n in family}) == 1
        )


@pytest.mark.parametrize(
    ("reported", "name"),
    [
        ("NVIDIA GeForce RTX 5070 Ti", "NVIDIA GeForce RTX 5070 Ti"),
        ("NVIDIA GeForce RTX 4070 Laptop GPU", "NVIDIA GeForce RTX 4070 Laptop GPU"),
        ("NVIDIA GeForce RTX 4070 Ti Mobile", "NVIDIA GeForce RTX 4070 Laptop GPU"),
        ("Tesla T4", "NVIDIA T4"),
        ("NVIDIA L4", "NVIDIA L4"),
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100 SXM5 80 GB"),
        ("NVIDIA H200", "NVIDIA H200 SXM"),
        ("NVIDIA H200 NVL", "NVIDIA H200 NVL"),
        ("NVIDIA H100 NVL", "NVIDIA H100 NVL 94 GB"),
        ("NVIDIA A100-SXM4-80GB", "NVIDIA A100 SXM4 80 GB"),
        ("NVIDIA A100 80GB PCIe", "NVIDIA A100 PCIe 80 GB"),
        ("NVIDIA A10", "NVIDIA A10"),
        ("NVIDIA A10G", "NVIDIA A10G"),
        ("NVIDIA L40S", "NVIDIA L40S"),
        ("NVIDIA L40", "NVIDIA L40"),
        ("NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 4090"),
        ("NVIDIA RTX A6000", "NVIDIA RTX A6000"),
        ("Tesla V100-SXM2-16GB", "NVIDIA V100 SXM2 16 GB"),
        ("Apple M1 GPU", "Apple M1, 8-core GPU"),
        ("Apple M1 Max GPU", "Apple M1 Max, 32-core GPU"),
        ("11th Gen Intel(R) Core(TM) i7-1165G7 @ 2.80GHz", "Intel Core i7-1165G7"),
    ],
)
def test_a_device_is_known_by_what_its_driver_calls_it(profiles, reported, name):
    found = find_profile(reported, profiles)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize(
    "reported",
    [
        "NVIDIA A30",
        "NVIDIA A10M",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA GeForce RTX 3090 Ti",
        "NVIDIA GeForce RTX 5070 Ti Laptop GPU",
        "NVIDIA GeForce RTX 4070 Ti SUPER",
        "Apple M1 Pro GPU",
        "",
    ],
)
def test_a_similar_name_is_another_device(profiles, reported):
    assert find_profile(reported, profiles) is None


def test_units_are_bytes(profiles):
    assert profiles["t4"].memory_bytes == 16 * 2**30
    assert profiles["t4"].bandwidth_bytes_per_s == 320e9


def test_profiles_are_read_back_as_written(profiles, tmp_path):
    path = tmp_path / "new" / "machines.yml"
    save_machine_profiles(profiles, path)
    assert load_machine_profiles(path) == profiles


GOOD = "{name: X, kind: cuda, memory_gib: 1, bandwidth_gb_per_s: 1, source: s"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("machines: [", "cannot read"),
        ("- a", "expected a mapping `machines:`"),
        ("machines: {x: 3}", "x: expected a mapping of figures, got int"),
        ("machines: {x: " + GOOD + ", memory_gb: 3}}", "x: memory_gb: Extra inputs"),
        ("machines: {x: {name: X}}", "x: kind: Field required"),
        ("machines: {x: " + GOOD + ", fp32_tflops: -1}}", "x: fp32_tflops: Input should be greater than 0, got -1"),
        ("machines: {x: " + GOOD + ", matches: ['(']}}", "x: matches: .*no regular expression"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, text, message):
    path = tmp_path / "machines.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_machine_profiles(path)


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write"):
        save_machine_profiles({}, tmp_path / "file" / "x.yml")
    with pytest.raises(DeviceError, match="cannot write"):
        write_machine_profile(tmp_path / "file" / "x.yml")


def test_this_machine_is_described_without_its_name(tmp_path):
    path = tmp_path / "out" / "machine.yml"
    written = write_machine_profile(path)
    assert yaml.safe_load(path.read_text()) == written
    assert written == machine_profile()
    json.dumps(written)
    assert written["cpu"]["cores_usable"] >= 1
    assert written["memory_bytes"] > 1 << 20
    assert written["python"] == platform.python_version()
    host = socket.gethostname()
    if len(host) > 4:
        assert host not in path.read_text()


def test_an_accelerator_is_described(monkeypatch):
    from shared_utils.devices import Device, DeviceKind, machine

    device = Device(DeviceKind.CUDA, 0, "NVIDIA L4", 24 << 30, compute_capability=(8, 9))
    monkeypatch.setattr(machine, "detect_devices", lambda: [device])
    assert machine_profile()["accelerators"] == [
        {"device": "cuda:0", "name": "NVIDIA L4", "memory_bytes": 24 << 30, "compute_capability": "8.9", "precisions": ["fp32"]}
    ]
