"""Modules of parts in two processes; tests/e2e/test_part_modules.py trains, resumes and hands them over."""
import torch
import torch.distributed as dist
from mmengine.registry import init_default_scope
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from mmcss.models import Method
from mmcss.models.method import Learning
from mmcss.models.students import make_student
from mmcss.parts import Needs, Part
from tests.models.makers import build, encoder_decoder, gradients, images, labels, make_split, samples, total, with_classes
from tests.processes import spawn

ADDED = 'part_modules.hints.layer.weight'
REPLACED = 'decode_head.conv_seg.weight'
SHARES = (slice(1), slice(1, None))  # of four images, for each process


class Hints(Part):
    """A convolution on the embedding, and another in place of the head's last one."""

    needs = Needs(embedding=True)
    from_first_step = True

    def modules(self, student):
        width = student.decode_head.channels
        self.layer, self.classifier = nn.Conv2d(width, 2, 1), nn.Conv2d(width, student.num_classes, 1)
        return {'layer': self.layer, 'decode_head.conv_seg': self.classifier}

    def loss(self, batch):
        return self.layer(batch.student.embedding).square().mean()


def student():
    """A student whose norms keep their statistics, with its part."""
    part, model = Hints(), build(with_classes(encoder_decoder(), 3))
    model.decode_head.dropout = None
    make_student(model, Method(make_split(0, 3), losses=dict(hints=part)), Learning())
    for module in model.train().modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    return model, part


def train(share=slice(None), distributed=False):
    """Gradients and tensors of one update."""
    model, part = student()
    wrapped = DistributedDataParallel(model) if distributed else model
    optimizer = torch.optim.SGD(model.parameters(), lr=.1)
    total(wrapped(images(4)[share], samples(labels([0, 1, 2], 4)[share]), mode='loss')).backward()
    optimizer.step()
    assert torch.equal(part.layer.weight, model.state_dict()[ADDED])
    assert torch.equal(part.classifier.weight, model.state_dict()[REPLACED])
    return gradients(model), model.tensors_to_hand_over()


def one_process(rank, folder):
    torch.set_num_threads(1)
    init_default_scope('mmseg')
    dist.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    torch.save(train(SHARES[rank], distributed=True), f'{folder}/{rank}.pt')
    dist.destroy_process_group()


def test_two_processes_train_them_like_one(tmp_path):
    """With one and three images; they stay equal in both processes."""
    spawn(one_process, str(tmp_path))
    (found, first), (other, second) = (torch.load(tmp_path / f'{rank}.pt') for rank in range(2))
    expected, alone = train()
    assert {ADDED, REPLACED} <= found.keys() == expected.keys() and alone.keys() == first.keys()
    for name, gradient in expected.items():
        assert torch.equal(found[name], other[name]) and gradient.any()
        assert (found[name] - gradient).abs().max().item() <= 64 * torch.finfo(torch.float32).eps * gradient.abs().max().item()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first[ADDED], student()[0].state_dict()[ADDED])
    assert not torch.allclose(train(SHARES[0])[0][ADDED], expected[ADDED])  # its own images alone give others
