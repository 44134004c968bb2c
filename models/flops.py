"""FLOPs of modules and of training steps: shapes in, integers out; 1 MAC is 2 FLOPs.

Counted: matrix products, convolutions and attention, as they are executed. Not counted: normalisation,
activations, softmax, pooling, embedding look-ups, losses' element-wise parts, augmentation and the optimiser.

This is torch's `FlopCounterMode` with formulas that are wrong or missing in torch 2.14 corrected:

* Convolution backward: torch ignores `groups` (a depth-wise layer of C channels counts up to C times too
  much). Here each of the two gradients (input, weight) costs what the forward costs, if it is computed.
* Attention: the CPU kernel counts as 0 in torch, and flash, efficient and cuDNN kernels count the scores
  recomputed in the backward. Convention here, for every kernel: forward 2·B·H·Nq·Nk·(D + Dv) for QKᵀ and AV,
  backward twice that, no recomputation; masks and causality do not reduce it. A fused kernel computes, and
  counts, all three gradients; on `meta` attention is plain matrix products, and a q, k or v without gradient
  costs nothing. Left as in torch: FlexAttention and nested tensors.
* Matrix-vector products count as 0 in torch.

Activation checkpointing counts its second forward, because that is executed. Tensors are counted as the
kernels get them: zeros of a padding are multiplied, and CUDA's flash attention pads a head size that is not a
multiple of 8.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

# Work per example is the slope between two sizes; both above 1, because BatchNorm refuses a single value.
BATCHES = (2, 4)
_ATTENTION_KERNELS = (
    "flash_attention",
    "flash_attention_for_cpu",
    "efficient_attention",
    "cudnn_attention",
    "fused_attention_overrideable",
)


@dataclass(frozen=True)
class Flops:
    """FLOPs of one example; `train` is forward + backward, so the backward alone is `train - forward`."""

    forward: int
    train: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the forward, the number that papers and timm print as GMAC."""
        return self.forward // 2


def count(
    module: nn.Module, *input_shapes: tuple[int, ...], dtypes: Sequence[torch.dtype] | None = None
) -> Flops:
    """Count one example through `module`, in its train or eval mode, on the `meta` device, without data.

    The inputs need no gradient, so the first layer's input gradient is not counted; nor is anything below the
    lowest trainable parameter. The backward starts from every output that has a gradient. Work that does not
    grow with the batch (FlexiViT resampling its patch kernel) is left out, and work that grows with its
    square (a BxB similarity) has no cost per example: take `measure` for both. `module` and torch's random
    state are not changed.

    Args:
        module: on any device; `on_meta` says what is copied.
        input_shapes: one for each positional argument of `forward`, without batch dimension: `(3, 224, 224)`.
        dtypes: one for each shape; default float32. Token ids: `count(text, (77,), dtypes=[torch.long])`.

    Raises:
        ValueError: if `dtypes` and `input_shapes` differ in length, or there is no input.
    """
    dtypes = [torch.float32] * len(input_shapes) if dtypes is None else dtypes
    if not input_shapes or len(dtypes) != len(input_shapes):
        given = f"count: {len(input_shapes)} input shapes and {len(dtypes)} dtypes"
        raise ValueError(f"{given}; give a shape for each argument of forward, and a dtype for each or none")

    def run(batch: int, backward: bool) -> int:
        shaped = zip(input_shapes, dtypes, strict=True)
        inputs = [torch.zeros(batch, *shape, dtype=dtype, device="meta") for shape, dtype in shaped]
        return measure(lambda: _step(meta_copy, inputs, backward))

    small, large = BATCHES
    # In a caller's inference mode, as in scoring, the copy would have no backward.
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        meta_copy = on_meta(module)
        forward, train = ((run(large, g) - run(small, g)) // (large - small) for g in (False, True))
    return Flops(forward=forward, train=train)


def measure(fn: Callable[[], object]) -> int:
    """FLOPs that one call of `fn` executes, on any device; `fn` is run once.

    `lambda: net(x)` under `torch.no_grad()` is a forward, `lambda: net(x).sum().backward()` a forward and a
    backward. A whole step (views, teacher, BxB similarity, backward) is counted without data by running it on
    `on_meta` modules and `meta` tensors of the real batch size; there, `.item()`, `if tensor:` and a mask as
    an index raise.
    """
    with _no_fast_path(), FlopCounterMode(display=False, custom_mapping=_FORMULAS) as mode:
        fn()
    return mode.get_total_flops()


def on_meta(module: nn.Module) -> nn.Module:
    """Copy a module to the `meta` device without copying its data: same classes, mode, ties and
    `requires_grad`.

    Parameters, buffers and tensors that are plain attributes become `meta` tensors; hooks are kept.
    """
    copies: dict[int, Any] = {}
    for tensor in _tensors(module):
        empty = torch.empty_like(tensor, device="meta").detach()
        if isinstance(tensor, nn.Parameter):
            empty = nn.Parameter(empty, requires_grad=tensor.requires_grad)
        copies[id(tensor)] = empty
    return copy.deepcopy(module, copies)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from itertools.chain(module.parameters(), module.buffers())
    for part in module.modules():
        yield from (value for value in vars(part).values() if isinstance(value, Tensor))


def _step(module: nn.Module, inputs: list[Tensor], backward: bool) -> None:
    # Factory functions without a device, as in torch.arange(n), would otherwise mix CPU tensors in.
    with torch.device("meta"), torch.set_grad_enabled(backward):
        tensors = [out for out in tree_leaves(module(*inputs)) if isinstance(out, Tensor)]
        outputs = [out for out in tensors if out.requires_grad]
        if outputs:
            torch.autograd.backward(outputs, [torch.ones_like(out) for out in outputs])


@contextlib.contextmanager
def _no_fast_path() -> Iterator[None]:
    """In eval mode nn.MultiheadAttention runs one opaque operator, which counts as 0; disable that."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


# Formulas get shapes in place of an operator's tensors, and its other arguments unchanged.
def _convolution_backward(grad: Any, x: Any, weight: Any, *settings: Any, **_: Any) -> int:
    transposed, needed = settings[4], settings[7]
    # A filter is applied once for each output pixel, in a transposed convolution once for each input pixel.
    # The weight is (out, in / groups, *kernel) or, transposed, (in, out / groups, *kernel), so its shape
    # accounts for the groups.
    positions = math.prod((x if transposed else grad)[2:])
    return 2 * x[0] * positions * math.prod(weight) * (needed[0] + needed[1])


def _attention(q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
    return 2 * math.prod(q[:-1]) * k[-2] * (q[-1] + v[-1])


def _attention_backward(_grad: Any, q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
    return 2 * _attention(q, k, v)


def _product_with_vector(matrix: Any, *_: Any, **__: Any) -> int:
    return 2 * math.prod(matrix)


def _formulas() -> dict[Any, Callable[..., int]]:
    aten = torch.ops.aten
    formulas: dict[Any, Callable[..., int]] = {
        aten.convolution_backward: _convolution_backward,
        aten.mv: _product_with_vector,
        aten.dot: _product_with_vector,
        aten.addmv: lambda _bias, matrix, *_, **__: _product_with_vector(matrix),
    }
    for kernel in _ATTENTION_KERNELS:
        formulas[getattr(aten, f"_scaled_dot_product_{kernel}")] = _attention
        formulas[getattr(aten, f"_scaled_dot_product_{kernel}_backward")] = _attention_backward
    return formulas


_FORMULAS = _formulas()
