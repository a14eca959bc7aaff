"""Which parameters of a model are frozen after step 0, and which learn more slowly."""
from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence

import torch
import torch.nn as nn
from mmcv.cnn import is_norm
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from ..scenario import Split
from .backbones import eval_mode_modules
from .part_modules import is_part_tensor
from .growing import growing

GROUPS = ('background', 'old', 'new', 'unknown')


def row_groups(split: Split, reserved: int) -> List[str]:
    """The group of each row of a class-dependent tensor: one of :data:`GROUPS`."""
    groups = ['old'] * split.num_old + ['new'] * split.num_new + ['unknown'] * reserved
    if split.background is not None:
        groups[0] = 'background'
    return groups


def freeze(model: EncoderDecoder, split: Split, dimensions: Mapping[str, int], frozen: Sequence[str],
           rates: Mapping[str, float]) -> Dict[str, Tensor]:
    """Switch off the gradients of what is frozen.

    Single rows of a parameter can't be switched off; their rates are returned,
    for :func:`hold_rows`.

    Args:
        model: The student.
        split: Its step.
        dimensions: Dimension of the classes by tensor name
            (:class:`ClassAxes`).
        frozen: 'shared' (all that does not depend on the classes, except the
            modules of parts), 'norms' (all norm layers), any of
            :data:`GROUPS` (its rows), or the name of a module.
        rates: Factor on the learning rate of groups of rows.

    Returns:
        Factors on the learning rate of each parameter whose rows differ,
        shaped to be broadcast.

    Raises:
        ValueError: ``frozen`` has a name that this model lacks.
    """
    _check(model, frozen)
    factor = {group: 0.0 if group in frozen else float(rates.get(group, 1.0)) for group in GROUPS}
    groups = row_groups(split, model.reserved_rows)
    norms = {id(parameter) for module in model.modules() if is_norm(module) for parameter in module.parameters()}
    owners = growing(model).items()
    prefixes = tuple(f'{name}.' for name in frozen if name not in ('shared', 'norms', *GROUPS))
    row_rates: Dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        named = [group for prefix, module in owners if name.startswith(prefix) and (group := module.group_of(name[len(prefix):]))]
        if named:
            factors = torch.tensor([factor[named[-1]]])
        elif name in dimensions:
            # A mask head's last row, "no object", corresponds to the background.
            extra = parameter.shape[dimensions[name]] - len(groups)
            factors = torch.tensor([factor[group] for group in groups + ['background'] * extra])
        else:
            factors = torch.tensor([0.0 if 'shared' in frozen and not is_part_tensor(name) else 1.0])
        if name.startswith(prefixes) or ('norms' in frozen and id(parameter) in norms) or not factors.any():
            parameter.requires_grad_(False)
        elif (factors != 1).any():
            shape = [1] * parameter.dim()
            shape[dimensions.get(name, 0)] = len(factors)
            row_rates[name] = factors.view(shape)
    return row_rates


def hold_rows(optimizer: Optimizer, model: EncoderDecoder, row_rates: Mapping[str, Tensor]) -> List[RemovableHandle]:
    """Scale each update of an optimizer by the rates of the rows.

    After each update a row is set back to ``rate`` times its update. That
    equals a parameter group with this factor on its learning rate, also with
    momentum and weight decay. A row of rate 0 stays exactly the same, and its
    gradient is 0.

    Args:
        optimizer: Of the parameters of ``model``.
        model: The student.
        row_rates: As returned by :func:`freeze`.

    Returns:
        Handles whose ``remove`` ends it.
    """
    parameters = dict(model.named_parameters())
    rates = {parameters[name]: rate.to(parameters[name]) for name, rate in row_rates.items()}
    before: Dict[nn.Parameter, Tensor] = {}

    def keep(*_: Any) -> None:
        for parameter in rates:
            before[parameter] = parameter.detach().clone()

    @torch.no_grad()
    def move_back(*_: Any) -> None:
        for parameter, rate in rates.items():
            start = before[parameter]
            # Exact where the rate is 0 or 1.
            slower = torch.where(rate == 1, parameter, start + rate * (parameter - start))
            parameter.copy_(torch.where(rate == 0, start, slower))

    handles = [optimizer.register_step_pre_hook(keep), optimizer.register_step_post_hook(move_back)]
    for parameter, rate in rates.items():
        handles.append(parameter.register_hook(lambda gradient, moves=(rate != 0): gradient * moves))
    return handles


def frozen_modules(model: EncoderDecoder) -> List[nn.Module]:
    """Modules that stay in evaluation mode: a wholly frozen backbone and neck, and each frozen norm layer.

    A decode head's dropout follows the mode of the model.
    """
    norms = [module for module in model.modules() if isinstance(module, _NormBase) and _is_frozen(module)]
    frozen = [module for module in _feature_extractors(model) if _is_frozen(module)]
    return norms + [module for extractor in frozen for module in eval_mode_modules(extractor)]


def backbone_is_frozen(model: EncoderDecoder) -> bool:
    """Whether backbone and neck are frozen."""
    return all(_is_frozen(module) for module in _feature_extractors(model))


def _feature_extractors(model: EncoderDecoder) -> List[nn.Module]:
    return [module for module in (model.backbone, getattr(model, 'neck', None)) if module is not None]


def _is_frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)


def _check(model: EncoderDecoder, frozen: Sequence[str]) -> None:
    modules = {name for name, _ in model.named_modules()}
    unknown = [name for name in frozen if name not in ('shared', 'norms', *GROUPS) and name not in modules]
    if unknown:
        top = [name for name, _ in model.named_children()]
        raise ValueError(f'continual.frozen: got {unknown}, valid are shared, norms, {", ".join(GROUPS)}, and names of modules '
                         f'such as {", ".join(top)}.')
