"""Candidates of a memory, and random numbers that a test sets."""
from __future__ import annotations

import numpy as np
from numpy.random import RandomState

from mmcss.datasets.policies import Candidates


def table(rows, classes):
    """``[n, classes]`` bool from the classes of each image."""
    holds = np.zeros((len(rows), classes), dtype=bool)
    for row, shown in zip(holds, rows):
        row[list(shown)] = True
    return holds


def units(rows, width, random):
    vectors = random.normal(size=(rows, width))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def at(*degrees):
    """Unit vectors of these angles."""
    return np.stack((np.cos(np.radians(degrees)), np.sin(np.radians(degrees))), axis=1)


def some(number, classes=4, seed=0, remembered=0):
    """Candidates of one to all classes each, with features."""
    random = RandomState(seed)
    rows = [random.permutation(classes)[:random.randint(1, classes + 1)] for _ in range(number)]
    holds = table(rows, classes)
    old = np.arange(number) < remembered
    return Candidates(
        holds=holds, remembered=old, images_seen=remembered, classes_seen=holds[old].sum(axis=0),
        class_features=[units(count, 5, random) for count in holds.sum(axis=0)], certainty=random.uniform(size=number))


class Scripted:
    """Random numbers that a test sets: no shuffling, the first of all choices, the given uniform numbers."""

    def __init__(self, *uniforms):
        self.uniforms = list(uniforms)

    def permutation(self, values):
        return np.asarray(values)

    def choice(self, values):
        return values[0]

    def uniform(self):
        return self.uniforms.pop(0)
