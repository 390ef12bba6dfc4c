"""Which devices are found and chosen, on machines that are imitated by their drivers' answers."""

from __future__ import annotations

import platform
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import psutil
import pynvml
import pytest

from shared_utils.devices import (
    Device,
    DeviceKind,
    Precision,
    detect_devices,
    free_memory_bytes,
    peak_memory_bytes,
    select_device,
    torch_device,
    usable_cores,
)
from shared_utils.devices import cpu as cpu_room
from shared_utils.devices.device import cuda_precisions
from shared_utils.devices.nvml import driver_version
from shared_utils.errors import DeviceError

GIB = 1 << 30


class Gpu:
    def __init__(self, name: str, memory_gib: int | None, capability: tuple[int, int], uuid: str, mig: tuple[str, ...] = ()) -> None:
        self.name, self.memory_gib, self.capability, self.uuid, self.mig = name, memory_gib, capability, uuid, mig


L4 = Gpu("NVIDIA L4", 24, (8, 9), "GPU-1111-aaaa")
T4 = Gpu("Tesla T4", 16, (7, 5), "GPU-2222-bbbb")
THOR = Gpu("NVIDIA Thor", None, (11, 0), "GPU-3333-cccc")
SPLIT = Gpu("NVIDIA H100 80GB HBM3", 80, (9, 0), "GPU-4444-dddd", ("MIG-5555-eeee",))


@pytest.fixture
def gpus(monkeypatch):
    """Let the real NVML binding answer for a list of GPUs."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")

    def install(*present: Gpu) -> None:
        def memory(gpu: Gpu):
            if gpu.memory_gib is None:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            return types.SimpleNamespace(total=gpu.memory_gib * GIB, free=gpu.memory_gib * GIB // 2)

        def mig_handle(gpu: Gpu, slot: int):
            if slot >= len(gpu.mig):
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
            return types.SimpleNamespace(uuid=gpu.mig[slot])

        answers = {
            "nvmlInit": lambda: None,
            "nvmlShutdown": lambda: None,
            "nvmlDeviceGetCount": lambda: len(present),
            "nvmlDeviceGetHandleByIndex": lambda i: present[i],
            "nvmlDeviceGetName": lambda gpu: gpu.name.encode(),
            "nvmlDeviceGetMemoryInfo": memory,
            "nvmlDeviceGetCudaComputeCapability": lambda gpu: gpu.capability,
            "nvmlDeviceGetUUID": lambda gpu: gpu.uuid,
            "nvmlDeviceGetMaxMigDeviceCount": lambda gpu: 7 if gpu.mig else 0,
            "nvmlDeviceGetMigDeviceHandleByIndex": mig_handle,
            "nvmlSystemGetDriverVersion": lambda: "580.12",
        }
        for name, answer in answers.items():
            monkeypatch.setattr(pynvml, name, answer)

    return install


@pytest.fixture
def no_driver(monkeypatch):
    def missing() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", missing)
    monkeypatch.setattr(sys, "platform", "linux")


@pytest.fixture
def mac(monkeypatch, no_driver):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setattr(platform, "mac_ver", lambda: ("15.1", ("", "", ""), "arm64"))
    answers = {"machdep.cpu.brand_string": "Apple M2", "hw.optional.arm.FEAT_BF16": "1", "hw.optional.arm.FEAT_DotProd": "1"}
    monkeypatch.setattr(cpu_room, "_sysctl", lambda name: answers.get(name, ""))


def test_accelerators_come_first_and_the_cpu_last(gpus):
    gpus(L4, T4)
    devices = detect_devices()
    assert [str(d) for d in devices] == ["cuda:0", "cuda:1", "cpu"]
    assert [d.name for d in devices[:2]] == ["NVIDIA L4", "Tesla T4"]
    assert devices[0].memory_bytes == 24 * GIB
    assert devices[0].compute_capability == (8, 9)


def test_auto_takes_the_first_there_is(gpus):
    gpus(T4)
    assert str(select_device()) == "cuda:0"


def test_auto_is_the_cpu_where_there_is_nothing_else(no_driver):
    assert select_device("auto").kind == DeviceKind.CPU


@pytest.mark.parametrize(("wish", "expected"), [("cuda", "cuda:0"), ("cuda:1", "cuda:1"), (" CUDA:0 ", "cuda:0"), ("cpu", "cpu")])
def test_what_is_there_is_given(gpus, wish, expected):
    gpus(L4, T4)
    assert str(select_device(wish)) == expected


def test_a_missing_gpu_is_an_error_that_lists_what_is_there(gpus):
    gpus(L4)
    with pytest.raises(DeviceError, match=r"no cuda:1 here: only 1 of its kind.*cuda:0 NVIDIA L4, 24\.0 GiB; cpu "):
        select_device("cuda:1")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "no NVIDIA driver is installed"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "not loaded"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "not restarted since"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "may not talk"),
        (pynvml.NVML_ERROR_GPU_IS_LOST, "the NVIDIA driver says: "),
    ],
)
def test_a_missing_driver_is_told_never_replaced_by_the_cpu(monkeypatch, code, reason):
    def broken() -> None:
        raise pynvml.NVMLError(code)

    monkeypatch.setattr(pynvml, "nvmlInit", broken)
    with pytest.raises(DeviceError, match=rf"there is no cuda here: .*{reason}.*There is: cpu"):
        select_device("cuda")
    assert driver_version() is None


def test_a_driver_that_fails_half_way_counts_as_no_gpu(gpus, monkeypatch):
    gpus(L4)

    def lost(index: int) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lost)
    assert [d.kind for d in detect_devices()] == ["cpu"]


def test_no_gpu_behind_a_driver_says_so(gpus):
    gpus()
    with pytest.raises(DeviceError, match="sees no GPU"):
        select_device("cuda")


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        ("1", ["Tesla T4"]),
        ("1,0", ["Tesla T4", "NVIDIA L4"]),
        ("GPU-2222", ["Tesla T4"]),
        ("MIG-5555", ["NVIDIA H100 80GB HBM3"]),
        ("0,7,1", ["NVIDIA L4"]),  # a wrong entry hides what follows, as in CUDA
        ("0,0", ["NVIDIA L4"]),
        ("GPU-9999", []),
        ("-1", []),
        ("", []),
    ],
)
def test_hidden_gpus_are_not_there(gpus, monkeypatch, visible, names):
    gpus(L4, T4, SPLIT)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    devices = [d for d in detect_devices() if d.kind == DeviceKind.CUDA]
    assert [d.name for d in devices] == names
    assert [d.index for d in devices] == list(range(len(names)))
    if not names:
        with pytest.raises(DeviceError, match="CUDA_VISIBLE_DEVICES hides all 3"):
            select_device("cuda")


def test_memory_the_driver_does_not_know_is_none(gpus):
    gpus(THOR)
    device = select_device("cuda")
    assert device.memory_bytes is None
    assert device.description == "cuda:0 NVIDIA Thor"
    with pytest.raises(DeviceError, match="does not say"):
        free_memory_bytes(device)


def test_free_memory_is_asked_of_the_right_gpu(gpus, monkeypatch):
    gpus(L4, T4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert free_memory_bytes(select_device("cuda:0")) == 8 * GIB


def test_the_driver_s_version_is_known(gpus):
    gpus(L4)
    assert driver_version() == "580.12"


@pytest.mark.parametrize("wish", ["gpu", "cuda:", "cuda:-1", "cpu:0", "auto:1", "", "cuda:1:2", "tpu"])
def test_what_is_no_device_is_refused(wish):
    with pytest.raises(DeviceError, match="write auto, cpu, cuda, cuda:N or mps"):
        select_device(wish)


def test_a_mac_has_its_gpu(mac):
    device = select_device("mps")
    assert (str(device), device.name) == ("mps", "Apple M2 GPU")
    assert device.memory_bytes == psutil.virtual_memory().total
    assert device.supports("bf16")
    assert [str(d) for d in detect_devices()] == ["mps", "cpu"]
    assert detect_devices()[1].supports(Precision.INT8)
    assert free_memory_bytes(device) > 0


def test_a_mac_without_a_usable_gpu_says_why(mac, monkeypatch):
    monkeypatch.setattr(platform, "mac_ver", lambda: ("12.3", ("", "", ""), "arm64"))
    with pytest.raises(DeviceError, match=r"no mps here: it needs macOS 14\.0, this is 12\.3"):
        select_device("mps")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    with pytest.raises(DeviceError, match="needs Apple silicon"):
        select_device("mps")


def test_other_systems_have_no_mps(no_driver):
    with pytest.raises(DeviceError, match="no mps here: it needs macOS"):
        select_device("mps")


# CUDA C++ Programming Guide, "Arithmetic Instructions" and "Compute Capabilities".
@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ((5, 2), {"fp32"}),
        ((6, 1), {"fp32", "int8"}),
        ((7, 0), {"fp32", "fp16", "int8"}),
        ((7, 5), {"fp32", "fp16", "int8"}),
        ((8, 6), {"fp32", "fp16", "int8", "bf16", "tf32"}),
        ((8, 9), {"fp32", "fp16", "int8", "bf16", "tf32", "fp8"}),
        ((12, 0), {"fp32", "fp16", "int8", "bf16", "tf32", "fp8"}),
        (None, {"fp32"}),
    ],
)
def test_a_gpu_s_number_formats_follow_from_its_generation(capability, expected):
    assert {str(p) for p in cuda_precisions(capability)} == expected


def test_an_unknown_number_format_is_an_error():
    with pytest.raises(ValueError, match="fp12"):
        Device(DeviceKind.CPU, 0, "x", None).supports("fp12")


def cpuinfo(folder: Path, text: str) -> Path:
    path = folder / "cpuinfo"
    path.write_text(text)
    return path


def test_linux_x86_facts_are_read(tmp_path):
    path = cpuinfo(tmp_path, "model name\t: Intel(R)  Xeon(R) CPU\nflags\t\t: fpu avx2 fma avx512f avx512_vnni amx_tile amx_int8\n")
    assert cpu_room.cpu_model(path) == "Intel(R) Xeon(R) CPU"
    assert cpu_room.cpu_flags(path) == {"avx2", "fma", "avx512", "avx512_vnni", "amx", "amx_int8"}


def test_linux_arm_facts_are_read(tmp_path):
    path = cpuinfo(tmp_path, "processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp i8mm bf16\nModel\t\t: Raspberry Pi 5\n")
    assert cpu_room.cpu_model(path) == "Raspberry Pi 5"
    assert cpu_room.cpu_flags(path) == {"neon", "neon_fp16", "neon_dotprod", "i8mm", "bf16"}


def test_a_silent_system_still_has_a_model(tmp_path):
    assert cpu_room.cpu_model(tmp_path / "absent") == platform.machine()
    assert cpu_room.cpu_flags(tmp_path / "absent") == frozenset()


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 4),
        ({"cpu.max": "max 100000"}, 4),
        ({"cpu.max": "150000 100000"}, 1),
        ({"cpu.max": "250000 100000"}, 2),
        ({"cpu.max": "5000 100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 4),
    ],
)
def test_a_container_s_share_limits_the_cores(tmp_path, monkeypatch, files, cores):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert usable_cores(tmp_path) == cores


def test_a_container_s_share_limits_the_memory(tmp_path):
    total = psutil.virtual_memory().total
    assert cpu_room.memory_bytes(tmp_path) == total
    (tmp_path / "memory.max").write_text("max")
    assert cpu_room.memory_bytes(tmp_path) == total
    (tmp_path / "memory.max").write_text("1048576\n")
    assert cpu_room.memory_bytes(tmp_path) == 1048576


def test_sysctl_answers_or_stays_silent(monkeypatch):
    def run(command, **options):
        return subprocess.CompletedProcess(command, 0 if command[-1] == "known" else 1, "yes\n", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert (cpu_room._sysctl("known"), cpu_room._sysctl("unknown")) == ("yes", "")

    def absent(command, **options):
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", absent)
    assert cpu_room._sysctl("known") == ""


def fake_torch(cuda_devices: int, mps: bool = False) -> types.SimpleNamespace:
    return types.SimpleNamespace(
        __version__="2.13.0",
        version=types.SimpleNamespace(cuda=None if not cuda_devices else "13.0"),
        cuda=types.SimpleNamespace(device_count=lambda: cuda_devices),
        backends=types.SimpleNamespace(mps=types.SimpleNamespace(is_available=lambda: mps)),
        device=lambda name: f"torch {name}",
    )


def test_torch_gets_the_device_it_can_use(gpus, monkeypatch):
    gpus(L4, T4)
    monkeypatch.setitem(sys.modules, "torch", fake_torch(2))
    assert torch_device(select_device("cuda:1")) == "torch cuda:1"
    assert torch_device(select_device("cpu")) == "torch cpu"


def test_a_torch_without_the_device_is_an_error(gpus, monkeypatch):
    gpus(L4)
    monkeypatch.setitem(sys.modules, "torch", fake_torch(0))
    with pytest.raises(DeviceError, match=r"cuda:0 NVIDIA L4, 24\.0 GiB is there, but the installed torch 2\.13\.0 \(CPU-only\)"):
        torch_device(select_device("cuda"))
    with pytest.raises(DeviceError, match="cannot use it"):
        torch_device(Device(DeviceKind.MPS, 0, "Apple M2 GPU", None))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(DeviceError, match="torch is not installed"):
        torch_device(select_device("cpu"))


def test_looking_for_devices_does_not_load_torch():
    code = (
        "import sys; from shared_utils.devices import detect_devices, machine_profile\n"
        "detect_devices(); machine_profile(); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_peak_memory_is_the_childs_own_not_its_parents():
    ballast = np.ones(40_000_000)  # 320 MB, touched
    alone = subprocess.run(
        [sys.executable, "-c", "from shared_utils.devices import peak_memory_bytes as p; print(p())"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(alone.stdout) < ballast.nbytes


def test_peak_memory_keeps_what_was_freed():
    before = peak_memory_bytes()
    ballast = np.ones(before // 8 + 20_000_000)
    size = ballast.nbytes
    del ballast
    assert peak_memory_bytes() >= size
