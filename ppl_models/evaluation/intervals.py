"""Posterior draws as a table: mean, standard deviation and interval of each parameter."""

import numpy as np
import pandas as pd
import xarray as xr


def parameter_table(draws: xr.Dataset, *, level: float = 0.9) -> pd.DataFrame:
    """Give each parameter of each component with its posterior mean, sd and central interval.

    Args:
        draws: variables with dimensions chain, draw, component and perhaps more, in raw units.
        level: the interval's posterior probability.

    Returns:
        Columns parameter ("loc"), entry (the column or category that it is of), component, mean, sd, low, high.

    >>> draws = xr.Dataset({"weights": (("chain", "draw", "component"), np.full((1, 9, 1), 1.0))},
    ...                    coords={"component": ["1"]})
    >>> parameter_table(draws)[["parameter", "component", "mean"]].values.tolist()
    [['weights', '1', 1.0]]
    """
    return pd.concat([_rows(str(name), values, level) for name, values in draws.items()], ignore_index=True)


def _rows(name: str, values: xr.DataArray, level: float) -> pd.DataFrame:
    """The rows of one variable."""
    inner = [dim for dim in values.dims if dim not in ("chain", "draw")]
    flat = values.stack(sample=("chain", "draw"), place=inner).transpose("sample", "place")
    places = [place if isinstance(place, tuple) else (place,) for place in flat["place"].values]
    low, high = np.quantile(flat.values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return pd.DataFrame(
        {
            "parameter": name.replace("_", " "),
            "entry": [", ".join(map(str, place[1:])) for place in places],
            "component": [str(place[0]) for place in places],
            "mean": flat.values.mean(0),
            "sd": flat.values.std(0, ddof=1),
            "low": low,
            "high": high,
        }
    )
