"""Work space that kernels take beside the tensors one sees: oneDNN's copies in its own layout, cuBLAS's workspaces.

oneDNN convolves in blocks of channels, so tensors in torch's plain layout are copied there and back; its
recurrent layers keep a work space from forward to backward. Sizes follow from shapes alone and were read off
the profiler's memory events, with AVX-512 and with AVX2.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch

from gpu_optimizer._torch_private import onednn_computes

_FIRST_LAYER_CHANNELS = 3
_RNN_ALIGNMENT_BYTES = 9216
_LARGEST_DEPTHWISE = 3
_ROW_BYTES = 32768
_LARGE_WORKSPACES = (9, 10, 12)
CUBLAS = "cuBLAS"
"""What stands in the place of the operator for cuBLAS's work spaces."""
PRODUCTS = frozenset({"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"})
"""Operators that cuBLAS carries out on CUDA."""


def work_bytes(operator: str, args: Sequence[Any], output: Any) -> int:
    """Bytes that an operator takes beyond its inputs and outputs while it runs, 0 for what takes none.

    Args:
        operator: Name as `operator_name` gives it.
        args: Its positional arguments.
        output: What it returned.
    """
    work = _WORK.get(operator)
    return 0 if work is None else max(work(args, output), 0)


def hidden_bytes(operator: str, args: Sequence[Any], output: Any) -> dict[int, int]:
    """Bytes of outputs whose size only the kernel knows, by position: fake tensors stand empty in their place.

    Args:
        operator: Name as `operator_name` gives it.
        args: Its positional arguments.
        output: What it returned.
    """
    if operator != "aten::mkldnn_rnn_layer" or not args[-1] or output[3].numel():
        return {}
    return {3: _rnn_kept(args[0], args[2].shape[1])}


def cublas_bytes(capability: tuple[int, int] | None = None) -> int:
    """What torch gives to cuBLAS with the first product of each thread, for good (ATen/cuda/CublasHandlePool.cpp).

    32 MiB on Hopper and Blackwell, 8.1 MiB before. `CUBLAS_WORKSPACE_CONFIG` overrides it in the form `:KIB:COUNT`.

    Args:
        capability: Compute capability; default: that of the device that is here, without one that of older ones.
    """
    chosen = re.findall(r":(\d+):(\d+)", os.environ.get("CUBLAS_WORKSPACE_CONFIG", ""))
    if chosen:
        return sum(int(size) * 1024 * int(count) for size, count in chosen)
    if capability is None:
        capability = torch.cuda.get_device_capability() if torch.cuda.is_available() else (0, 0)
    major = capability[0]
    return 32 * 2**20 if major in _LARGE_WORKSPACES else 8_519_680


def convolution_operand_bytes(operator: str, args: Sequence[Any], output: Any) -> int:
    """Bytes of everything that a convolution reads and writes, 0 for other operators: what cuDNN may copy for its kernels."""
    if operator not in ("aten::convolution", "aten::convolution_backward"):
        return 0
    written = output if isinstance(output, tuple | list) else (output,)
    return sum(_bytes(part) for part in (*args[:3], *written) if isinstance(part, torch.Tensor))


def _convolution(args: Sequence[Any], output: torch.Tensor) -> int:
    given, weight, strides, dilations, transposed, groups = args[0], args[1], args[3], args[5], args[6], args[8]
    if not _is_image(given):
        return 0
    if not _blocked(given, weight, transposed, strides, dilations, groups):
        return _columns(given, weight, output, strides, groups) + (_bytes(output) if groups > 1 else 0)
    if _channels_last(given) or _channels_last(weight):
        return _relaid(given, weight) + _padded_weight(weight, groups)
    result = _padded(output)
    inputs = 0 if _first_layer(given, weight, groups) else _padded(given)
    before = inputs + _padded_weight(weight, groups) + result
    after = result + _bytes(output) * (2 if transposed else 1)
    return max(before, after) - _bytes(output)


def _convolution_backward(args: Sequence[Any], output: Sequence[torch.Tensor | None]) -> int:
    gradient, given, weight = args[0], args[1], args[2]
    strides, transposed, groups, wanted = args[4], args[7], args[9], args[10]
    if not _is_image(given):
        return 0
    half = gradient.dtype != torch.float32
    if not _blocked(given, weight, transposed, strides, args[6], groups):
        widened = gradient.numel() * 4 if half and wanted[2] else 0
        return max(_columns(given, weight, gradient, strides, groups), widened) + (_bytes(given) if groups > 1 else 0)
    if _channels_last(given) or _channels_last(weight):
        return _relaid(given, weight, gradient) + _weights_last(gradient, given, weight, groups, wanted[1])
    grad_bytes, weight_bytes = _padded(gradient), _padded_weight(weight, groups)
    phases = [0]
    if wanted[0]:
        strided = any(stride > 1 for stride in strides) and not transposed and (half or groups == 1)
        back = 3 * _bytes(given) if strided else _padded(given) + _bytes(given)
        rows = torch.get_num_threads() * (grad_bytes // max(given.shape[0], 1) + _ROW_BYTES) if strided else 0
        phases += [grad_bytes + weight_bytes + (_bytes(given) if strided else _padded(given)) + rows, back]
    if wanted[1]:
        inputs = 0 if _first_layer(given, weight, groups) else _padded(given)
        sums = _sums(weight_bytes, inputs + grad_bytes, given.shape[0]) if half and groups == 1 else 0
        made = _bytes(given) if wanted[0] else 0
        if _wide_depthwise(weight, groups):  # read as they lie
            grad_bytes = inputs = 0
        phases += [made + grad_bytes + inputs + weight_bytes + sums, made + 2 * weight_bytes]
    return max(phases) - sum(_bytes(tensor) for tensor in output if tensor is not None)


def _sums(weight_bytes: int, images_bytes: int, batch: int) -> int:
    """Each thread's float32 sums of a half format's weights' gradient, and one example rearranged."""
    return torch.get_num_threads() * (2 * weight_bytes + images_bytes // max(batch, 1))


def _weights_last(gradient: torch.Tensor, given: torch.Tensor, weight: torch.Tensor, groups: int, wanted: bool) -> int:
    """Copies of the weights and of their gradient where images have their channels last."""
    copy = _padded_weight(weight, groups)
    if not wanted:
        return copy
    if _wide_depthwise(weight, groups):
        return copy + copy * _block() ** 2  # each group in a block of its own
    sums = _sums(copy, _bytes(given) + _bytes(gradient), given.shape[0]) if given.dtype != torch.float32 and groups == 1 else 0
    return max(2 * copy, sums)


def _relaid(*tensors: torch.Tensor) -> int:
    """Copies of what does not have its channels last although a neighbour has."""
    return sum(_bytes(tensor) for tensor in tensors if not tensor.is_contiguous(memory_format=torch.channels_last))


def _wide_depthwise(weight: torch.Tensor, groups: int) -> bool:
    """Whether oneDNN's kernel for depthwise convolutions of 3 by 3 and less does not apply to the weights' gradient."""
    return groups > 1 and weight.shape[1] == 1 and max(weight.shape[-2:]) > _LARGEST_DEPTHWISE


def _is_image(given: torch.Tensor) -> bool:
    return given.device.type == "cpu" and given.dim() == 4


def _columns(given: torch.Tensor, weight: torch.Tensor, result: torch.Tensor, strides: Sequence[int], groups: int) -> int:
    """Copy that makes a convolution a product where oneDNN has no kernel: each output's patch of the input."""
    if weight.shape[-2:].numel() == 1 and max(strides) == 1:
        return 0
    inner = given.shape[1] // groups * weight.shape[-2:].numel()
    return given.shape[0] * inner * result.shape[-2:].numel() * given.element_size()


def _blocked(
    given: torch.Tensor, weight: torch.Tensor, transposed: bool, strides: Sequence[int], dilations: Sequence[int], groups: int
) -> bool:
    """Whether torch hands a convolution to oneDNN (ATen/native/Convolution.cpp, `use_mkldnn`)."""
    if not onednn_computes(given.dtype):
        return False
    if given.dtype != torch.float32 or transposed:
        return True
    pointwise = weight.shape[-1] == weight.shape[-2] == 1
    simple = max(*strides, *dilations) == 1 and given.shape[0] < 16 and pointwise and torch.get_num_threads() == 1
    return not simple and (groups > 1 or min(weight.shape[-2:]) > 3 or given.shape[0] > 1 or given.numel() > 20480)


def _channels_last(tensor: torch.Tensor) -> bool:
    return not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last)


def _first_layer(given: torch.Tensor, weight: torch.Tensor, groups: int) -> bool:
    """Whether the input is read as it lies: oneDNN's kernels for images have no blocks of channels."""
    return groups == 1 and given.shape[1] <= _FIRST_LAYER_CHANNELS and weight.shape[-1] > 1


def _padded(tensor: torch.Tensor) -> int:
    return _bytes(tensor) // max(tensor.shape[1], 1) * _up(tensor.shape[1])


def _padded_weight(weight: torch.Tensor, groups: int) -> int:
    if groups > 1:
        return _bytes(weight)
    outer, inner = weight.shape[:2]
    inner_padded = inner if inner <= _FIRST_LAYER_CHANNELS else _up(inner)
    return _bytes(weight) // max(outer * inner, 1) * _up(outer) * inner_padded


def _rnn(args: Sequence[Any], output: Sequence[torch.Tensor]) -> int:
    given, inner, outer = args[0], args[1], args[2]
    steps, batch = given.shape[:2]
    gates = steps * batch * _row(4 * outer.shape[1], 4) * 4 if given.dtype == torch.float32 else 0
    return gates + _packed(inner) + _packed(outer)


def _rnn_backward(args: Sequence[Any], output: Sequence[torch.Tensor]) -> int:
    given, inner, outer = args[0], args[1], args[2]
    gradient = given.numel() // given.shape[-1] * outer.shape[1] * 4
    if given.dtype != torch.float32:
        return gradient + 3 * (_packed(inner) + _packed(outer))
    rearranged = sum(_packed(weight) for weight in (inner, outer) if _row(weight.shape[1], 4) != weight.shape[1])
    return _rnn(args, output) + gradient + rearranged


def _rnn_kept(given: torch.Tensor, hidden: int) -> int:
    """Work space of oneDNN for training: gates and hidden states of every time step, and room for their gradients."""
    steps, batch, features = given.shape
    size = given.element_size()
    gates = steps * batch * (_row(4 * hidden, size) + _row(hidden, size)) * size
    states = (steps + 1) * batch * (6 * _row(max(features, hidden), size) + 4 * _up(hidden))
    return gates + int(states * (4 if size == 4 else 3.2)) + _RNN_ALIGNMENT_BYTES


def _packed(weight: torch.Tensor) -> int:
    return _bytes(weight) // max(weight.shape[0], 1) * _row(weight.shape[0], weight.element_size())


def _row(length: int, size: int) -> int:
    """Length of a row in oneDNN's recurrent layers: whole cache lines, but no multiple of 256 (it adds one line)."""
    line = 64 // size
    padded = -(-length // line) * line
    return padded + line if padded % 256 == 0 else padded


def _up(channels: int) -> int:
    return -(-channels // _block()) * _block()


@cache
def _block() -> int:
    """Channels in a block of oneDNN's layout: what a vector register holds."""
    return 16 if torch.backends.cpu.get_cpu_capability().startswith("AVX512") else 8


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _batch_norm_backward(args: Sequence[Any], output: Any) -> int:
    """The gradient is brought into the layout of the input."""
    gradient, given = args[0], args[1]
    if gradient.is_contiguous():
        return _bytes(given)
    return given.numel() * 4 if given.dtype != torch.float32 else 0


def _mean(args: Sequence[Any], output: torch.Tensor) -> int:
    """Half formats are summed as float32, in a copy."""
    return args[0].numel() * 4 if args[0].dtype in (torch.bfloat16, torch.float16) else 0


def _resampled(args: Sequence[Any], output: torch.Tensor) -> int:
    """Plain layout is resampled as channels last, and copied back."""
    return 0 if _channels_last(args[0]) else _bytes(args[0]) + _bytes(output)


def _attention_backward(args: Sequence[Any], output: Any) -> int:
    return _bytes(args[0])


_WORK: dict[str, Callable[[Sequence[Any], Any], int]] = {
    "aten::convolution": _convolution,
    "aten::convolution_backward": _convolution_backward,
    "aten::native_batch_norm_backward": _batch_norm_backward,
    "aten::mkldnn_rnn_layer": _rnn,
    "aten::mkldnn_rnn_layer_backward": _rnn_backward,
    "aten::mean": _mean,
    "aten::upsample_nearest2d": _resampled,
    "aten::upsample_nearest2d_backward": _resampled,
    "aten::upsample_bilinear2d": _resampled,
    "aten::upsample_bilinear2d_backward": _resampled,
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
}
