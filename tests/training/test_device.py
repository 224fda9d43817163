"""Which device is chosen, in which format it computes, and what it refuses.

The machine is described to `torch` itself; fake tensors stand for those of its accelerator.
"""

from dataclasses import replace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from plainformer.base import UserError
from plainformer.training import available_memory, choose_device, number_format, training_device
from plainformer.training.distributed import _backends
from tests.training import toy

CUDA, MPS, XPU, CPU = map(torch.device, ("cuda", "mps", "xpu", "cpu"))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """A function that gives this machine an accelerator."""

    def give(
        kind: str | None, capability: tuple[int, int] = (9, 0), *, has_bf16: bool = True
    ) -> None:
        found = None if kind is None else torch.device(kind)
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda *_, **__: found)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
        monkeypatch.setattr(torch.xpu, "is_bf16_supported", lambda **_: has_bf16)
        monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda *_: has_bf16)

    return give


@pytest.mark.parametrize(
    ("kind", "chosen"),
    [("cuda", "cuda"), ("mps", "mps"), ("xpu", "xpu"), ("hpu", "cpu"), (None, "cpu")],
)
def test_auto_takes_the_accelerator(machine, kind, chosen):
    machine(kind)
    with FakeTensorMode():
        assert choose_device("auto").type == chosen
        assert choose_device("cpu").type == "cpu"
        assert choose_device("cuda:1") == torch.device("cuda", 1)


@pytest.mark.parametrize("kind", ["cuda", "xpu"])
def test_each_process_has_a_gpu_of_its_own(machine, monkeypatch, kind):
    machine(kind)
    for name, value in {"WORLD_SIZE": "4", "RANK": "2", "LOCAL_RANK": "2"}.items():
        monkeypatch.setenv(name, value)
    with FakeTensorMode():
        assert choose_device("auto") == torch.device(kind, 2)
        machine("mps")
        with pytest.raises(UserError, match="several processes cannot share MPS"):
            choose_device("auto")


def test_what_processes_exchange_tensors_with():
    assert [_backends(kind) for kind in ("cuda", "xpu", "mps", None)] == [
        "cpu:gloo,cuda:nccl",
        "cpu:gloo,xpu:xccl",
        "gloo",
        "gloo",
    ]


@pytest.mark.parametrize(
    ("device", "capability", "has_bf16", "chosen"),
    [
        (CUDA, (9, 0), True, torch.bfloat16),
        (CUDA, (8, 0), True, torch.bfloat16),
        (CUDA, (7, 5), True, torch.float16),
        (CUDA, (6, 1), True, torch.float32),
        (XPU, (0, 0), True, torch.bfloat16),
        (XPU, (0, 0), False, torch.float16),
        (MPS, (0, 0), True, torch.float32),
        (CPU, (0, 0), True, torch.float32),
    ],
)
def test_auto_takes_the_format_that_suits_the_device(machine, device, capability, has_bf16, chosen):
    machine(device.type, capability, has_bf16=has_bf16)
    assert number_format(device, "auto") == chosen
    assert number_format(device, "fp16") == torch.float16
    assert number_format(device, "fp32") == torch.float32


def test_bf16_where_the_hardware_lacks_it(machine):
    machine("cuda", (7, 5), has_bf16=False)
    for device in (CUDA, MPS, XPU):
        with pytest.raises(UserError, match=f"{device.type.upper()} device has no bf16.*fp16"):
            number_format(device, "bf16")
    assert number_format(CPU, "bf16") == torch.bfloat16


def test_a_run_that_the_device_cannot_do_is_refused_before_any_work(machine, tmp_path):
    machine("mps", has_bf16=False)
    config = replace(toy.CONFIG, device="mps")
    with FakeTensorMode():
        assert training_device(config) == MPS
        for changed, message in (
            ({"compile": True}, "--compile does not work on MPS"),
            ({"precision": "bf16"}, "no bf16"),
        ):
            with pytest.raises(UserError, match=message):
                toy.run(tmp_path / "run", replace(config, **changed))
    assert not (tmp_path / "run").exists()


def test_a_name_without_a_device(machine):
    machine("mps")
    with pytest.raises(UserError, match="there is no device 'xpu' here: use auto, mps or cpu"):
        choose_device("xpu")


def test_cached_files_are_free_memory_of_a_container(tmp_path, monkeypatch):
    monkeypatch.setattr("plainformer.training.memory.CGROUP", tmp_path)
    monkeypatch.setattr("plainformer.training.memory.MEMINFO", tmp_path / "none")
    for name, text in {
        "memory.max": "1000",
        "memory.current": "900",
        "memory.stat": "anon 100\ninactive_file 500\nactive_file 200",
    }.items():
        (tmp_path / name).write_text(text)
    assert available_memory(torch.device("cpu")) == 800
    (tmp_path / "memory.max").write_text("max")
    assert available_memory(torch.device("cpu")) is None
