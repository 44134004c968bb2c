"""Expected values are derived by hand beside each test; M(...) is a number of MACs, and 1 MAC is 2 FLOPs."""

import copy

import pytest
import torch
from timm.models.vision_transformer import Attention
from torch import nn
from torch.nn import functional as F

from models.flops import Flops, count, measure, on_meta


def meta(*shape, grad=False):
    return torch.zeros(*shape, device="meta", requires_grad=grad)


def macs(forward, train):
    return Flops(forward=2 * forward, train=2 * train)


# One layer: `train` has no input gradient, so it is forward + weight gradient = 2 x forward, else 3 x.
LAYERS = {
    # 5 inputs x 7 outputs
    "linear": (nn.Linear(5, 7), (5,), 35),
    # the same for each of 3 tokens
    "linear, tokens": (nn.Linear(5, 7), (3, 5), 105),
    # 8x8 outputs (padding 1), each 6 channels x 4 inputs x 9 taps
    "conv": (nn.Conv2d(4, 6, 3, padding=1), (4, 8, 8), 64 * 6 * 4 * 9),
    # floor((9 - 3) / 2) + 1 = 4: 4x4 outputs
    "conv, strided": (nn.Conv2d(4, 6, 3, stride=2), (4, 9, 9), 16 * 6 * 4 * 9),
    # each output channel sees 4 / 2 inputs
    "conv, 2 groups": (nn.Conv2d(4, 6, 3, padding=1, groups=2), (4, 8, 8), 64 * 6 * 2 * 9),
    # each output channel sees 1 input
    "conv, depth-wise": (nn.Conv2d(32, 32, 3, padding=1, groups=32), (32, 8, 8), 64 * 32 * 9),
    # depth multiplier 2
    "conv, depth-wise x2": (nn.Conv2d(8, 16, 3, padding=1, groups=8), (8, 8, 8), 64 * 16 * 9),
    "conv 1d": (nn.Conv1d(4, 6, 3, padding=1), (4, 8), 8 * 6 * 4 * 3),
    # each of 5x5 inputs is spread over 2x2 taps of 6 channels, for 4 input channels
    "transposed": (nn.ConvTranspose2d(4, 6, 2, stride=2), (4, 5, 5), 25 * 4 * 6 * 4),
    # each input channel reaches 6 / 2 outputs
    "transposed, 2 groups": (nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2), (4, 5, 5), 25 * 4 * 3 * 4),
    "transposed, depth-wise": (nn.ConvTranspose2d(8, 8, 2, stride=2, groups=8), (8, 5, 5), 25 * 8 * 4),
}


@pytest.mark.parametrize(("layer", "shape", "expected"), LAYERS.values(), ids=LAYERS.keys())
def test_layer(layer, shape, expected):
    assert count(layer, shape) == macs(expected, 2 * expected)
    assert count(layer, shape).macs == expected
    copied, x = on_meta(layer), meta(3, *shape, grad=True)
    assert measure(lambda: copied(x).sum().backward()) == 3 * 2 * 3 * expected


def test_vector_products():
    # (2·3, 5) @ (5,) is one mv, whose backward to the vector is another mv; dot of 5 and 5; (4, 5) @ (5,).
    vector = meta(5, grad=True)
    assert measure(lambda: (meta(2, 3, 5) @ vector).sum().backward()) == 2 * 30 + 2 * 30
    assert measure(lambda: meta(5) @ meta(5)) == 10
    assert measure(lambda: torch.addmv(meta(4), meta(4, 5), meta(5))) == 40


# Attention, for each head QKt: Nq·Nk·D, AV: Nq·Nk·Dv; each product has two gradients of the same size.
@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(("d", "dv"), [(8, 8), (8, 16)])
@pytest.mark.parametrize("causal", [False, True])
def test_scaled_dot_product(device, d, dv, causal):
    q, k, v = (
        torch.zeros(2, 3, n, e, device=device, requires_grad=True) for n, e in [(5, d), (7, d), (7, dv)]
    )
    forward = 2 * (2 * 3 * 5 * 7 * (d + dv))

    def attend():
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

    with torch.no_grad():
        assert measure(attend) == forward
    assert measure(lambda: attend().sum().backward()) == 3 * forward


@pytest.mark.parametrize(
    ("kernel", "rest"),
    [
        ("flash_attention", ()),
        ("flash_attention_for_cpu", ()),
        ("efficient_attention", (None, True)),
        ("cudnn_attention", (None, True)),
        ("fused_attention_overrideable", ()),
    ],
)
def test_every_fused_kernel_counts_alike(kernel, rest):
    # The CUDA kernels have shapes on meta, so their formulas are tested without a GPU.
    q, k, v = (meta(2, 3, n, 8, grad=True) for n in (5, 7, 7))
    operator = getattr(torch.ops.aten, f"_scaled_dot_product_{kernel}")
    assert measure(lambda: operator(q, k, v, *rest)[0].sum().backward()) == 3 * 2 * (2 * 3 * 5 * 7 * 16)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("backend", ["FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH"])
def test_every_cuda_kernel_counts_alike(backend):
    q, k, v = (
        torch.zeros(2, 3, 8, 16, device="cuda", dtype=torch.half, requires_grad=True) for _ in range(3)
    )
    with torch.nn.attention.sdpa_kernel(getattr(torch.nn.attention.SDPBackend, backend)):
        total = measure(lambda: F.scaled_dot_product_attention(q, k, v).sum().backward())
    assert total == 3 * 2 * (2 * 3 * 8 * 8 * 32)


# N = 7 tokens, d = 12: qkv N·d·3d = 3024, both products 2·N²·d = 1176, projection N·d² = 1008.
QKV, PRODUCTS, PROJECTION = 3024, 1176, 1008
BLOCK = macs(QKV + PRODUCTS + PROJECTION, 2 * QKV + 3 * PRODUCTS + 3 * PROJECTION)


@pytest.mark.parametrize("fused", [False, True])
def test_timm_attention(fused):
    block = Attention(12, num_heads=3)
    block.fused_attn = fused
    assert count(block, (7, 12)) == BLOCK
    x = torch.zeros(2, 7, 12)
    assert measure(lambda: block(x).sum().backward()) == 2 * BLOCK.train


class SelfAttention(nn.Module):
    def __init__(self, need_weights):
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 4, batch_first=True)  # the fast path needs an even number
        self.need_weights = need_weights

    def forward(self, x):
        return self.attention(x, x, x, need_weights=self.need_weights)[0]


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_multihead_attention(need_weights, training):
    module = SelfAttention(need_weights).train(training)
    assert count(module, (7, 12)) == BLOCK
    with torch.inference_mode():  # eval mode would take the fast path, one operator that torch counts as 0
        assert measure(lambda: module(torch.zeros(2, 7, 12))) == 2 * BLOCK.forward
    assert torch.backends.mha.get_fastpath_enabled()


def test_frozen_backbone_costs_its_forward_only():
    net = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 11), nn.Linear(11, 2))
    # M: 35, 77, 22. All trained: the first without input gradient, 2·35 + 3·77 + 3·22.
    assert count(net, (5,)) == macs(134, 2 * 35 + 3 * 77 + 3 * 22)
    net[0].requires_grad_(False)
    assert count(net, (5,)) == macs(134, 35 + 2 * 77 + 3 * 22)
    net[1].requires_grad_(False)
    assert count(net, (5,)) == macs(134, 35 + 77 + 2 * 22)
    # A frozen layer above a trained one passes the input gradient on: 2·35 + 2·77 + 2·22.
    for layer, trained in zip(net, (True, False, False), strict=True):
        layer.requires_grad_(trained)
    assert count(net, (5,)) == macs(134, 2 * 35 + 2 * 77 + 2 * 22)
    net.requires_grad_(False)
    assert count(net, (5,)) == macs(134, 134)


def test_tokens():
    tower = nn.Sequential(nn.Embedding(100, 8), nn.Linear(8, 4))
    # A look-up is free; 5 tokens · 8 · 4; the embedding is trained, so the linear layer has both gradients.
    assert count(tower, (5,), dtypes=[torch.long]) == macs(160, 3 * 160)


def test_several_inputs_and_outputs():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(5, 6)

        def forward(self, x, y):
            return {"a": self.a(x), "rest": (self.b(y), x.shape)}

    assert count(Pair(), (3,), (5,)) == macs(12 + 30, 2 * (12 + 30))


def test_work_that_does_not_grow_with_the_batch_is_left_out():
    class Resampled(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.resample = nn.Parameter(torch.zeros(7, 5)), nn.Parameter(torch.zeros(5, 9))

        def forward(self, x):
            return x @ (self.weight @ self.resample).T

    # For an example 7·9; the product of the weights, 7·5·9, is paid once a step, which `measure` sees.
    assert count(Resampled(), (9,)) == macs(63, 126)
    with torch.no_grad():
        assert measure(lambda: on_meta(Resampled())(meta(4, 9))) == 2 * (4 * 63 + 7 * 5 * 9)


def test_whole_step_with_teacher_and_pairwise_loss():
    student, batch = on_meta(nn.Linear(5, 8)), 16
    teacher = copy.deepcopy(student).requires_grad_(False)
    views = [meta(batch, 5), meta(batch, 5)]

    def step():
        with torch.no_grad():
            targets = teacher(views[0])
        (student(views[1]) @ targets.T).logsumexp(1).mean().backward()

    # Teacher B·5·8; student that and its weight gradient; BxB similarity B·B·8 and its gradient.
    assert measure(step) == 2 * (3 * batch * 40 + 2 * batch * batch * 8)


def test_module_and_random_state_are_untouched():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 2)
    )
    net[4].eval()
    net[0].requires_grad_(False)
    state, rng = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    modes = [m.training for m in net.modules()]
    identities = [id(t) for t in (*net.parameters(), *net.buffers())]
    count(net, (3, 8, 8))
    assert torch.equal(rng, torch.get_rng_state())
    assert modes == [m.training for m in net.modules()]
    assert identities == [id(t) for t in (*net.parameters(), *net.buffers())]
    for name, value in net.state_dict().items():
        assert value.device.type == "cpu"
        assert torch.equal(value, state[name])
    assert all(p.grad is None for p in net.parameters())
    assert not net[0].weight.requires_grad
    assert net[4].weight.requires_grad


def test_train_and_eval_mode_count_alike_on_a_map_of_one_pixel():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    assert count(net.train(), (3, 3, 3)) == count(net.eval(), (3, 3, 3)) == macs(108, 216)


def test_inside_inference_mode():
    with torch.inference_mode():
        assert count(nn.Linear(5, 7), (5,)) == macs(35, 70)


def test_ties_and_tensor_attributes():
    net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    net[1].weight = net[0].weight
    net[0].scale = torch.ones(4).requires_grad_() * 2  # not a leaf, which deepcopy alone refuses
    copied = on_meta(net)
    assert copied[1].weight is copied[0].weight
    assert copied[0].scale.device.type == "meta"
    assert net[0].scale.device.type == "cpu"


@pytest.mark.parametrize(("shapes", "dtypes"), [((), None), (((3,),), []), (((3,), (3,)), [torch.long])])
def test_wrong_inputs(shapes, dtypes):
    with pytest.raises(ValueError, match="input shapes and"):
        count(nn.Linear(3, 3), *shapes, dtypes=dtypes)
