"""A step without a runner: when its parts act, their passes over the images, and the states that they leave."""
from .image_pass import ImagePass, SeededImages
from .moments import Moments
from .part_states import PartStates
from .step_session import StepSession
from .training import Training

__all__ = ['ImagePass', 'Moments', 'PartStates', 'SeededImages', 'StepSession', 'Training']
