"""Models that are built only to be tried."""
from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Optional, Sequence

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

RANDOM = ('normal_', 'uniform_', 'kaiming_normal_', 'kaiming_uniform_', 'xavier_normal_', 'xavier_uniform_', 'trunc_normal_')
LARGE = 100_000  # numbers


class CheapInitialisation(TorchFunctionMode):
    """Within it large tensors are filled with one block of random numbers again and again.

    Random numbers take half of the time in which a large model is built. What
    is tried with it needs weights of a usual size, and no certain ones.
    """

    def __init__(self) -> None:
        super().__init__()
        self.block = torch.randn(LARGE, generator=torch.Generator().manual_seed(0))

    def __torch_function__(self, function: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (),
                           kwargs: Optional[Mapping[str, Any]] = None) -> Any:
        given: Dict[str, Any] = dict(kwargs or {})
        if getattr(function, '__name__', '') in RANDOM:
            tensor = args[0] if args else given['tensor']
            if tensor.numel() > LARGE and tensor.is_contiguous():
                return self._filled(tensor)
        return function(*args, **given)

    @torch.no_grad()
    def _filled(self, tensor: Tensor) -> Tensor:
        inputs = tensor[0].numel()
        block = (self.block * (2 / inputs)**0.5).to(tensor)  # He et al., 2015: signals keep their size
        flat, whole = tensor.detach().view(-1), tensor.numel() // LARGE * LARGE
        flat[:whole].view(-1, LARGE).copy_(block)
        flat[whole:].copy_(block[:len(flat) - whole])
        return tensor
