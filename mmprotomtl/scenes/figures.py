"""People with labelled body parts, in random poses."""

import numpy as np

from .geometry import Capsule, Ellipsoid, Solid, dot, times

HEAD, TORSO, UPPER_ARM, LOWER_ARM, UPPER_LEG, LOWER_LEG = range(1, 7)


def _turn(axis: int, angle: float) -> np.ndarray:
    """Return the rotation by ``angle`` radians about a coordinate axis."""
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(3)
    cos, sin = np.cos(angle), np.sin(angle)
    matrix[i, i] = matrix[j, j] = cos
    matrix[i, j], matrix[j, i] = -sin, sin
    return matrix


def _limb(
    start: np.ndarray, end: np.ndarray, radius: float, **kwargs
) -> Solid:
    """Make a capsule from one joint to another."""
    along = end - start
    length = np.sqrt(dot(along, along))
    y = along / length
    # The other two axes are any two directions perpendicular to the limb.
    across = np.array(
        [-y[1], y[0], 0.0] if abs(y[2]) < 0.9 else [0, -y[2], y[1]]
    )
    across /= np.sqrt(dot(across, across))
    third = np.array(
        [across[i - 2] * y[i - 1] - across[i - 1] * y[i - 2] for i in range(3)]
    )
    return Capsule(
        center=(start + end) / 2,
        size=(radius, length / 2, radius),
        axes=np.stack([across, y, third]),
        **kwargs,
    )


def figure(
    rng: np.random.Generator,
    foot: np.ndarray,
    kind: int,
    instance: int,
    cloth: list[dict],
    skin: dict,
    hair: dict,
) -> list[Solid]:
    """Make a person who stands on the floor in a random pose.

    Args:
        rng: Source of size and pose.
        foot: Point of the floor below the pelvis, in metres, ``3``.
        kind: Semantic class of a person.
        instance: Instance number of this person.
        cloth: Materials of shirt, trousers and shoes.
        skin: Material of head and hands.
        hair: Material of the hair.
    """
    height = rng.uniform(1.5, 1.9)
    facing = _turn(1, rng.uniform(-np.pi, np.pi))
    same = dict(kind=kind, instance=instance)
    thigh, shin, spine = 0.245 * height, 0.25 * height, 0.29 * height
    upper, lower = 0.165 * height, 0.2 * height
    stride = rng.uniform(0, 0.6)
    solids: list[Solid] = []

    def place(point: list[float] | np.ndarray) -> np.ndarray:
        return hip + times(np.asarray(point, float), facing.T)

    def swing(angle: float, spread: float, length: float) -> np.ndarray:
        """Return a bone that hangs down, rotated forward and sideways."""
        hanging = times(np.array([0, length, 0]), _turn(2, spread).T)
        return times(hanging, _turn(0, angle).T)

    legs = []
    for side, angle in ((-1, stride), (1, -stride * rng.uniform(0.5, 1))):
        joint = np.array([side * 0.06 * height, 0.0, 0.0])
        knee = joint + swing(-angle, -side * rng.uniform(0, 0.12), thigh)
        bend = -angle + rng.uniform(0.05, 0.5) * (stride + 0.1)
        ankle = knee + swing(bend, 0.0, shin)
        legs.append((joint, knee, ankle))
    # The lower foot stands on the floor.
    lowest = max(ankle[1] for *_, ankle in legs) + 0.04 * height
    hip = np.asarray(foot, float) - [0, lowest, 0]
    for joint, knee, ankle in legs:
        toe = ankle + [0, 0.02 * height, 0.1 * height]
        joint, knee, ankle, toe = map(place, (joint, knee, ankle, toe))
        solids += [
            _limb(joint, knee, 0.048 * height, material=cloth[1],
                  part=UPPER_LEG, **same),
            _limb(knee, ankle, 0.034 * height, material=cloth[1],
                  part=LOWER_LEG, **same),
            _limb(ankle, toe, 0.024 * height, material=cloth[2],
                  part=LOWER_LEG, **same),
        ]  # fmt: skip
    chest = place([0, -0.72 * spine, 0])
    solids += [
        Ellipsoid(place([0, -0.12 * spine, 0]),
                  np.array([0.095, 0.1, 0.065]) * height, facing.T,
                  cloth[1], part=TORSO, **same),
        Ellipsoid(place([0, -0.55 * spine, 0]),
                  np.array([0.115, 0.175, 0.07]) * height, facing.T,
                  cloth[0], part=TORSO, **same),
        _limb(chest, place([0, -1.22 * spine, 0]), 0.03 * height,
              material=skin, part=TORSO, **same),
        Ellipsoid(place([0, -1.5 * spine, 0.01 * height]),
                  np.array([0.048, 0.066, 0.056]) * height, facing.T,
                  skin, part=HEAD, **same),
        Ellipsoid(place([0, -1.56 * spine, -0.008 * height]),
                  np.array([0.052, 0.058, 0.056]) * height, facing.T,
                  hair, part=HEAD, **same),
    ]  # fmt: skip
    for side in (-1, 1):
        raised = rng.uniform(-0.5, 0.7) if rng.random() < 0.7 else 2.4
        spread = -side * rng.uniform(0.12, 0.5)
        joint = np.array([side * 0.125 * height, -0.93 * spine, 0.0])
        elbow = joint + swing(-raised, spread, upper)
        bent = raised + rng.uniform(0.1, 1.2)
        hand = elbow + swing(-bent, spread * 0.4, lower)
        joint, elbow, hand = map(place, (joint, elbow, hand))
        solids += [
            _limb(joint, elbow, 0.03 * height, material=cloth[0],
                  part=UPPER_ARM, **same),
            _limb(elbow, hand, 0.022 * height, material=skin,
                  part=LOWER_ARM, **same),
        ]  # fmt: skip
    return solids
