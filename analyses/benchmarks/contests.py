"""How long each of several ways takes to be as good as any of them: alternating in one process, CPU and wall."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from time import perf_counter, process_time

import numpy as np
import pandas as pd

NEAR = 1.2  # budgets this factor apart are not told apart
WITHIN = 0.001  # nats a row of the best that any reaches
REPEATS = 5


@dataclass(frozen=True)
class Contender:
    """One way to a fit.

    Attributes:
        run: fits by so many passes or steps, and returns what ``quality`` judges.
        quality: of what came of it, nats a row, higher is better; its time is not counted.
        least: passes or steps that are too few.
        most: passes or steps that are enough, if any are.
        warm: what is done once before, such as to compile; its CPU seconds are shown apart.
    """

    run: Callable[[int], object]
    quality: Callable[[object], float]
    least: int
    most: int
    warm: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Timed:
    """CPU and wall seconds, and what came of it."""

    cpu: float
    wall: float
    found: object


def timed(work: Callable[[], object]) -> Timed:
    """Do it once; CPU seconds are the whole process's, threads included."""
    cpu, wall = process_time(), perf_counter()
    found = work()
    return Timed(process_time() - cpu, perf_counter() - wall, found)


def contest(contenders: Mapping[str, Contender], *, repeats: int = REPEATS) -> pd.DataFrame:
    """Give each the least budget by which it is within 0.001 nats a row of the best of all, and time all in turn.

    The least budget is found by halving, to a fifth. One that never comes so near is timed by its largest budget: the
    ratio to it is an upper bound, and there is none if the first one never does.

    Args:
        contenders: by name; the first is the one that the others are compared with.
        repeats: rounds after the one that chose the budgets.

    Returns:
        A line each: budget, quality, what it falls short of the best by, median CPU and wall seconds, seconds of what
        was done once, and the first one's share of its CPU seconds: median, least and most over the rounds, and the
        median with what was done once counted.
    """
    warm = {name: timed(one.warm).cpu for name, one in contenders.items()}
    reached = {name: one.quality(one.run(one.most)) for name, one in contenders.items()}
    best = max(reached.values())
    found = {name: _least(one, reached[name], best) for name, one in contenders.items()}
    budgets = {name: budget for name, (budget, _) in found.items()}
    rounds = [
        {name: timed(partial(one.run, budgets[name])) for name, one in contenders.items()} for _ in range(repeats)
    ]
    cpu = pd.DataFrame([{name: each.cpu for name, each in one.items()} for one in rounds])
    wall = pd.DataFrame([{name: each.wall for name, each in one.items()} for one in rounds])
    ratio = cpu.iloc[:, [0]].to_numpy() / cpu
    quality, once = pd.Series({name: value for name, (_, value) in found.items()}), pd.Series(warm)
    near = quality >= best - WITHIN
    ratio = ratio if near.iloc[0] else ratio * math.nan
    return pd.DataFrame(
        {
            "budget": pd.Series(budgets),
            "nats_per_row": quality,
            "short_by": best - quality,
            "cpu_s": cpu.median(),
            "wall_s": wall.median(),
            "once_s": once,
            "ratio": ratio.median(),
            "ratio_least": ratio.min(),
            "ratio_most": ratio.max(),
            "ratio_with_once": ratio.median() * cpu.median() / (cpu.median() + once),
            "near": near,
        }
    ).rename_axis("contender")


def _least(contender: Contender, reached: float, best: float) -> tuple[int, float]:
    """The least budget that is good enough, to a fifth, and what it comes to; the most if that is not."""
    low, high, quality = contender.least, contender.most, reached
    while reached >= best - WITHIN and high > max(NEAR * low, low + 1):
        middle = round((low * high) ** 0.5)
        found = contender.quality(contender.run(middle))
        if found >= best - WITHIN:
            high, quality = middle, found
        else:
            low = middle
    return high, quality


def hard_table(rows: int, columns: int, components: int, *, seed: int, part: int = 0) -> pd.DataFrame:
    """Rows of overlapping components of unequal size whose columns vary together, so that no mixture fits at once.

    Weights are a draw of Dirichlet(2), centres normal with a standard deviation of 1.5, and each component's columns
    are mixed by a matrix with a diagonal between 0.5 and 1.5 and normal entries of 0.35 off it.

    Args:
        rows: how many.
        columns: how many.
        components: how many.
        seed: of all draws.
        part: which rows of a table without end.
    """
    random = np.random.default_rng(seed)
    weights = random.dirichlet(np.full(components, 2.0))
    centres = random.normal(0, 1.5, (components, columns))
    mixing = 0.35 * random.normal(size=(components, columns, columns))
    mixing += np.eye(columns) * random.uniform(0.5, 1.5, (components, columns, 1))
    random = np.random.default_rng([seed, part])
    member, noise = random.choice(components, rows, p=weights), random.normal(size=(rows, columns))
    table = np.empty((rows, columns))
    for component in range(components):
        mine = member == component
        table[mine] = centres[component] + noise[mine] @ mixing[component].T
    return pd.DataFrame(table, columns=[f"x{column + 1}" for column in range(columns)])
