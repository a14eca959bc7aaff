"""Images that policies choose among, and random numbers that a test sets."""
from __future__ import annotations

import numpy as np
from numpy.random import RandomState

from mmcss.memory import POLICIES, Policy, Pool


def policy(name: str, **options) -> Policy:
    return POLICIES.build(dict(type=name, **options), 'continual.memory.policy')


def pool_of(holds, stored=0, images_seen=0, classes_seen=None, **features) -> Pool:
    """A pool; by default no image has been counted but those that are stored."""
    if classes_seen is None:
        classes_seen = holds[:stored].sum(axis=0, dtype=int)
    return Pool(holds, stored, images_seen, classes_seen, **features)


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


def some(number, classes=4, seed=0, stored=0) -> Pool:
    """A pool of images of one to all classes each, with features."""
    random = RandomState(seed)
    rows = [random.permutation(classes)[:random.randint(1, classes + 1)] for _ in range(number)]
    holds = table(rows, classes)
    return pool_of(
        holds, stored, images_seen=stored,
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
