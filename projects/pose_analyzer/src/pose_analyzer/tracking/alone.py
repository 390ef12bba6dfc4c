"""The ordinary case by itself: one person is known, one is detected. The same numbers as the general way, without arrays.

A handful of additions in arrays of one element costs ten times what it costs in plain numbers, and one person before the camera is
what most streams show. What is not plain here (`follow` says so) is left to the general way.
"""

from __future__ import annotations

import math

import numpy as np

from pose_analyzer.tracking.kalman import ACCELERATION_SIZES_PER_S2, MEASUREMENT_SIZES, MIN_SIZE_PX, RESHAPING_S, BoxKalman
from pose_analyzer.tracking.lone import LONE_DISTANCE, LONE_GATE, LONE_SIZE_RATIO

_ACCELERATIONS = tuple(ACCELERATION_SIZES_PER_S2.tolist())


def follow(motion: BoxKalman, box_xyxy: list[float], now_s: float) -> bool:
    """Correct the only box of `motion` by the only detection of a frame, if there can be no doubt that they belong together.

    That is so where `pose_analyzer.tracking.lone` would join them, whichever tracker asks: what other associations there are can
    only come to the same. Bit for bit the result of `BoxKalman.predict`, that rule and `BoxKalman.update`.

    Args:
        motion: Of one box.
        box_xyxy: (4,) px.
        now_s: Media clock, not before the box was seen last.

    Returns:
        False where there is doubt; `motion` is then as it was.
    """
    state, seen_s = motion.only()
    before = [coordinate[0] for coordinate in state]
    dt = now_s - seen_s
    # NumPy's own exponential: the C library's may differ in the last bit.
    kept = float(np.exp(dt / -RESHAPING_S))
    turning = RESHAPING_S * (1 - kept)
    travels, keeps = (dt, dt, turning, turning), (1.0, 1.0, kept, kept)
    size = max(before[2], before[3], MIN_SIZE_PX)
    predicted = [_predicted(state[i], travels[i], keeps[i], _ACCELERATIONS[i] * size, dt) for i in range(4)]
    x1, y1, x2, y2 = box_xyxy
    measured = ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
    deviation = MEASUREMENT_SIZES * max(measured[2], measured[3], MIN_SIZE_PX)
    noise = deviation * deviation
    if not _belongs(before, predicted, measured, noise):
        return False
    motion.set_only([_corrected(m, noise, *p) for m, p in zip(measured, predicted, strict=True)], now_s)
    return True


def _predicted(state: list[float], travel: float, kept: float, acceleration: float, dt: float) -> tuple[float, float, float, float, float]:
    """One coordinate at the time of the frame; see `BoxKalman.predict`."""
    x, v, xx, xv, vv = state
    q, step = acceleration * acceleration, dt * dt
    gained = xv + travel * vv
    return (
        x + travel * v,
        kept * v,
        xx + travel * (xv + gained) + step * step / 4 * q,
        kept * gained + step * dt / 2 * q,
        kept * kept * vv + step * q,
    )


def _corrected(measured: float, noise: float, x: float, v: float, xx: float, xv: float, vv: float) -> tuple[float, ...]:
    """The same after a measurement; see `BoxKalman.update`."""
    k_position, k_velocity = xx / (xx + noise), xv / (xx + noise)
    surprise, rest = measured - x, 1 - k_position
    return (
        x + k_position * surprise,
        v + k_velocity * surprise,
        rest * rest * xx + k_position * k_position * noise,
        rest * (xv - k_velocity * xx) + k_position * k_velocity * noise,
        vv - 2 * k_velocity * xv + k_velocity * k_velocity * (xx + noise),
    )


def _belongs(
    before: list[float], predicted: list[tuple[float, float, float, float, float]], measured: tuple[float, ...], noise: float
) -> bool:
    """Whether `match_lone` would join the two."""
    x, y = predicted[0][0], predicted[1][0]
    across, down = measured[0] - x, measured[1] - y
    expected = across * across / (predicted[0][2] + noise) + down * down / (predicted[1][2] + noise) <= LONE_GATE
    seen = max(measured[2], measured[3], 1.0)
    for px, py, width, height in ((x, y, predicted[2][0], predicted[3][0]), before):
        known = max(width, height, 1.0)
        if max(known / seen, seen / known) <= LONE_SIZE_RATIO:
            dx, dy = px - measured[0], py - measured[1]
            if expected or math.sqrt(dx * dx + dy * dy) / max(known, seen) <= LONE_DISTANCE:
                return True
    return False
