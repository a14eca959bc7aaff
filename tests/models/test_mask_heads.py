"""What is watched of heads that classify masks, on one that calls its parts as MaskFormer's does."""
import torch
import torch.nn as nn

from mmcss.models import predict, watch_training
from mmcss.models.heads import mask_logits
from mmcss.parts import Needs
from tests.models.test_taps import CLASSES, batch, make, state_of

ALL = Needs(embedding=True, logits=True)


class MaskFormerHead(nn.Module):
    """Two layers of four queries; its losses are sums."""

    def __init__(self):
        super().__init__()
        self.num_classes, self.align_corners = CLASSES, False
        self.pixel_decoder = PixelDecoder()
        self.queries = nn.Parameter(torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0)))
        self.cls_embed = nn.Linear(8, CLASSES + 1)

    def forward(self, features, data_samples):
        """Class logits ``[2, N, 4, C + 1]`` and mask logits ``[2, N, 4, h, w]`` of both layers."""
        masks, _ = self.pixel_decoder(features)
        classes = self.cls_embed(self.queries)[:, None].expand(-1, len(masks), -1, -1)
        return classes, torch.einsum('lqc,nchw->lnqhw', self.queries, masks)

    def loss(self, features, data_samples, train_cfg):
        """As the stock head's."""
        return self.loss_by_feat(*self(features, data_samples), data_samples)

    def loss_by_feat(self, classes, masks, data_samples):
        """A sum over all queries."""
        return dict(loss_cls=classes.sum(), loss_mask=masks.sum())

    def predict(self, features, metas, test_cfg):
        """Scores of classes."""
        classes, masks = self(features, None)
        return torch.einsum('nqc,nqhw->nchw', classes[-1].softmax(-1)[..., :-1], masks[-1].sigmoid())


class PixelDecoder(nn.Module):
    """Gives the features that masks are made of, and what queries attend to."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(64, 8, 1)

    def forward(self, features):
        """Two maps."""
        return self.convolution(features[-1]), features[-1]


def mask_model():
    model = make().eval()
    model.decode_head = MaskFormerHead()
    return model


def test_student_and_teacher_are_compared_by_the_scores_of_pixels():
    model = mask_model()
    before = state_of(model)
    with watch_training(model, ALL, (32, 32), None) as seen:
        model.loss(*batch())
    student = seen.prediction((32, 32), False)
    teacher = predict(model, batch()[0], (32, 32), ALL)
    classes, masks = model.decode_head(model.extract_feat(batch()[0]), None)
    assert torch.equal(student.head_logits, mask_logits(classes[-1], masks[-1]))
    assert student.head_logits.shape == (2, CLASSES, 4, 4) and student.logits.shape == (2, CLASSES, 32, 32)
    torch.testing.assert_close(student.head_logits, teacher.head_logits)
    assert torch.equal(student.embedding, model.decode_head.pixel_decoder(model.extract_feat(batch()[0]))[0])
    assert torch.equal(student.embedding, teacher.embedding)
    shares = student.head_logits.softmax(1)
    scores = model.decode_head.predict(model.extract_feat(batch()[0]), None, None)
    torch.testing.assert_close(shares, scores / scores.sum(1, keepdim=True))
    assert state_of(model) == before


def test_weights_multiply_the_gradient_of_an_image():
    model = mask_model()

    def gradient(weight):
        model.zero_grad()
        with watch_training(model, Needs(), (32, 32), weight):
            losses = model.loss(*batch())
        losses['decode.loss_mask'].backward()
        return model.decode_head.queries.grad.clone()

    first, second = (gradient(torch.tensor(weight).view(2, 1, 1)) for weight in ([1., 0.], [0., 1.]))
    torch.testing.assert_close(gradient(torch.tensor([.5, 3.]).view(2, 1, 1)), .5 * first + 3 * second)
    torch.testing.assert_close(gradient(None), first + second)
