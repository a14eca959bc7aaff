"""The base of EWC, PI and RW, which penalise changes of weights that were important for the steps before.

Equations and sources: :mod:`mmcss.losses.importance`.
"""
from __future__ import annotations

from functools import reduce
from typing import Callable, Dict, Iterable, List, Literal, Mapping, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor, nn

from ..arguments import ABSENT, NotNegative
from ..parts import Part, StepBatch, Student
from ..scenario import Split
from .importance import add_path_, add_penalty_gradient_, normalise, penalty

GradientOfMove = Literal['previous', 'current']
PerParameter = List[Tensor]


class WeightRegulariser(Part):
    """Computes the importance of weights in each step, and from step 1 on penalises moves of important ones.

    Importance comes from the gradient of the loss alone, right before each
    update; then the gradient of the penalty, known in closed form, is added
    to it. So both are exact however gradients are accumulated or scaled, and
    neither needs a graph. Gradients are clipped before that, without the
    penalty's. The logged penalty has no gradient, and costs one pass over the
    weights.

    Weights and rows that the step before did not have are not penalised. With
    an average of the weights (EMA), old weights are the averaged ones.

    Args:
        loss_weight: Factor on the penalty, see :func:`penalty`.
        normalise: Scale the importance of each parameter to 0 to 1.
    """

    from_first_step = watches_first_step = True
    uses_teacher = mean_over_images = False
    takes_unknown = True
    # Kinds of tensors that the next step receives; the importance is their sum.
    handed_on: Tuple[str, ...] = ()

    def __init__(self, loss_weight: NotNegative = 100.0, normalise: bool = True) -> None:
        self.loss_weight = loss_weight
        self.normalise = normalise
        self._names: List[str] = []
        self._parameters: List[nn.Parameter] = []
        self._old: Dict[str, Tensor] = {}
        self._anchors: Dict[int, Tuple[Tensor, Tensor]] = {}  # old weights and importance
        self._widen: Callable[..., Tensor] = ABSENT
        self._updates = 0
        self._final: Optional[Dict[str, Tensor]] = None  # for the next step, once training is over

    def begin(self) -> None:
        """Create the tensors of the step; ``_parameters`` are known."""
        raise NotImplementedError

    def inherit(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Continue from the ``handed_on`` tensors of the step before, by kind and parameter."""
        raise NotImplementedError

    def follow(self, touched: List[int], weights: PerParameter, gradients: PerParameter) -> None:
        """Account for one update.

        Args:
            touched: Numbers of the parameters that have a gradient.
            weights: Those parameters, before the update.
            gradients: Of the loss alone.
        """
        raise NotImplementedError

    def running(self) -> Dict[str, PerParameter]:
        """Tensors that a checkpoint of the step needs: one for each parameter, by kind."""
        raise NotImplementedError

    def finished(self) -> Dict[str, PerParameter]:
        """Tensors for the next step: one for each parameter, by kind of ``handed_on``."""
        raise NotImplementedError

    def attach(self, student: Student, old: Mapping[str, Tensor]) -> None:
        named = dict(student.named_parameters())
        self._names, self._parameters = list(named), list(named.values())
        if old:
            self._widen = student.widening(old)
        self._old = {name: old[name] for name in named if name in old}
        self._anchors, self._updates, self._final = {}, 0, None
        with torch.no_grad():
            self.begin()

    def load_previous(self, state: Dict[str, Tensor]) -> None:
        kinds: Dict[str, Dict[str, Tensor]] = {kind: {} for kind in self.handed_on}
        for key, value in state.items():
            kind, _, name = key.partition('/')
            kinds[kind][name] = value
        for i, (name, parameter) in enumerate(zip(self._names, self._parameters)):
            if name in self._old and parameter.requires_grad:
                wrong = [kind for kind in self.handed_on if kinds[kind][name].shape != self._old[name].shape]
                if wrong:
                    raise ValueError(f'{wrong} of {name}: got another shape, expected {tuple(self._old[name].shape)}')
                # Scaled before rows are added: new ones have no importance.
                tensors = [normalise(kinds[kind][name]) if self.normalise else kinds[kind][name] for kind in self.handed_on]
                importance = reduce(torch.add, tensors)
                self._anchors[i] = (self._widen(name, self._old[name].to(parameter)),
                                    self._widen(name, importance.to(parameter)))
        self._old = {}
        self.inherit(kinds)

    def loss(self, batch: StepBatch) -> Optional[Tensor]:
        if not self._anchors:
            return None
        weights = pick(self._parameters, list(self._anchors))
        old, importance = zip(*self._anchors.values())
        return self.loss_weight * penalty(weights, old, importance)

    @torch.no_grad()
    def before_update(self) -> None:
        gradients = {i: parameter.grad for i, parameter in enumerate(self._parameters) if parameter.grad is not None}
        if not gradients:
            return
        touched = list(gradients)
        self.follow(touched, pick(self._parameters, touched), list(gradients.values()))
        self._updates += 1
        held = [i for i in touched if i in self._anchors]
        if held:
            old, importance = zip(*(self._anchors[i] for i in held))
            add_penalty_gradient_(pick(gradients, held), pick(self._parameters, held), old, importance, self.loss_weight)

    @torch.no_grad()
    def after_step(self, split: Split, batches: Iterable[StepBatch]) -> None:
        if not self._updates:
            raise ValueError(
                f'{type(self).__name__} computes the importance of weights while they are trained, but step {split.step} '
                'had no update. Train it with this part.')
        self._final = self._flat(self.finished())

    def state_dict(self) -> Dict[str, Tensor]:
        if self._final is not None:
            return self._final
        if not self._updates:
            return {}
        return dict(self._flat(self.running()), updates=torch.tensor(self._updates))

    def load_state_dict(self, state: Dict[str, Tensor]) -> None:
        if not state:  # stopped before the first update
            return
        self._updates = int(state['updates'])
        for kind, tensors in self.running().items():
            for name, tensor in zip(self._names, tensors):
                tensor.copy_(state[f'{kind}/{name}'])

    def _flat(self, kinds: Mapping[str, PerParameter]) -> Dict[str, Tensor]:
        return {f'{kind}/{name}': tensor
                for kind, tensors in kinds.items() for name, tensor in zip(self._names, tensors)}

    def _aligned(self, state: Mapping[str, Tensor], fill: float = 0.0) -> Dict[int, Tensor]:
        """Tensors of the step before in this step's shapes, by number of the parameter."""
        return {i: self._widen(name, state[name].to(self._parameters[i], copy=True), fill)
                for i, name in enumerate(self._names) if name in state}


def pick(tensors: Union[Sequence[Tensor], Mapping[int, Tensor]], numbers: Sequence[int]) -> PerParameter:
    """The tensors of these numbers."""
    return [tensors[i] for i in numbers]


class WeightPath:
    """Sums up the decrease of the loss by the moves of weights.

    Args:
        parameters: The weights at their start.
        gradient: See :class:`mmcss.losses.path_integral.PathIntegral`.
    """

    def __init__(self, parameters: List[nn.Parameter], gradient: GradientOfMove) -> None:
        self.saved = [torch.zeros_like(parameter) for parameter in parameters]
        self.last = [parameter.detach().clone() for parameter in parameters]
        # There is no move before the first update, so that its gradient may be 0.
        self.pending = [torch.zeros_like(parameter) for parameter in parameters] if gradient == 'previous' else None

    def follow(self, touched: List[int], weights: PerParameter, gradients: PerParameter) -> None:
        """Account for the last move; see :meth:`WeightRegulariser.follow`."""
        last = pick(self.last, touched)
        of_move = gradients if self.pending is None else pick(self.pending, touched)
        add_path_(pick(self.saved, touched), of_move, last, weights)
        torch._foreach_copy_(last, weights)
        if self.pending is not None:
            torch._foreach_copy_(of_move, gradients)

    def close(self, parameters: List[nn.Parameter]) -> None:
        """Account for the last move, after which there is no update."""
        if self.pending is not None:
            self.follow(list(range(len(parameters))), list(parameters), [torch.zeros_like(x) for x in parameters])

    def tensors(self) -> Dict[str, PerParameter]:
        """Tensors that a checkpoint needs, by kind."""
        return dict(path=self.saved, last=self.last, **({} if self.pending is None else dict(pending=self.pending)))
