"""Cheap initialisation of models that are only built for a trial."""
from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Optional, Sequence

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

RANDOM = ('normal_', 'uniform_', 'kaiming_normal_', 'kaiming_uniform_', 'xavier_normal_', 'xavier_uniform_', 'trunc_normal_')
LARGE = 100_000  # numbers


class CheapInitialisation(TorchFunctionMode):
    """Within it large tensors are filled by repeating a block of random numbers.

    Drawing random numbers takes half of the time of building a large model. A
    trial needs weights of the usual magnitude only.
    """

    def __init__(self) -> None:
        super().__init__()
        self.block = torch.randn(LARGE, generator=torch.Generator().manual_seed(0))

    def __torch_function__(self, function: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (),
                           kwargs: Optional[Mapping[str, Any]] = None) -> Any:
        options: Dict[str, Any] = dict(kwargs or {})
        if getattr(function, '__name__', '') in RANDOM:
            tensor = args[0] if args else options['tensor']
            if tensor.numel() > LARGE and tensor.is_contiguous():
                return self._filled(tensor)
        return function(*args, **options)

    @torch.no_grad()
    def _filled(self, tensor: Tensor) -> Tensor:
        inputs = tensor[0].numel()
        block = (self.block * (2 / inputs)**0.5).to(tensor)  # He et al., 2015: signals keep their size
        flat, whole = tensor.detach().view(-1), tensor.numel() // LARGE * LARGE
        flat[:whole].view(-1, LARGE).copy_(block)
        flat[whole:].copy_(block[:len(flat) - whole])
        return tensor
