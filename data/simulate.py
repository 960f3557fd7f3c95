"""Make the simulated tables of this folder, byte for byte: ``python data/simulate.py``.

Nothing here is real: the tables exist so that fits can be held against a known truth (fast food) or against
published marginal counts (wrodl). The seed of each table stands beside the function that draws it.
"""

from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent

WRODL = {
    "top": {
        "NoHair": 7,
        "LongHairCurly": 1,
        "LongHairStraight": 23,
        "ShortHairShortWaved": 1,
        "ShortHairShortFlat": 11,
        "ShortHairFrizzle": 7,
    },
    "hair_colour": {"Black": 7, "Blonde": 6, "Brown": 2, "PastelPink": 3, "Red": 8, "SilverGray": 24},
    "accessories": {"Blank": 11, "Round": 22, "Sunglasses": 17},
    "clothing": {"Hoodie": 7, "Overall": 18, "ScoopNeck": 19, "VNeck": 6},
    "clothing_colour": {"Black": 4, "Blue": 5, "Gray": 6, "Green": 8, "Orange": 6, "Pink": 8, "Red": 7, "White": 6},
}

DISHES = ("burger", "chicken", "noodles", "pizza", "salad", "tacos")
CUSTOMERS = {
    "students": {
        "share": 0.40,
        "dollars": (3.2, 0.40),
        "visits": 4.0,
        "has_app": 0.80,
        "age": (23, 4),
        "favourite": (0.30, 0.15, 0.20, 0.20, 0.05, 0.10),
    },
    "families": {
        "share": 0.35,
        "dollars": (4.0, 0.35),
        "visits": 2.0,
        "has_app": 0.55,
        "age": (41, 7),
        "favourite": (0.25, 0.25, 0.05, 0.35, 0.05, 0.05),
    },
    "retired": {
        "share": 0.25,
        "dollars": (2.7, 0.50),
        "visits": 1.0,
        "has_app": 0.15,
        "age": (66, 8),
        "favourite": (0.15, 0.25, 0.05, 0.15, 0.30, 0.10),
    },
}

GROUPS = {
    "shares": (0.4, 0.25, 0.2, 0.1, 0.05),
    "locations": ((0, 0), (2.5, 0), (0, 2.5), (2.2, 2.2), (-2.5, 1)),
    "roots": (
        ((1, 0.5), (0, 0.6)),
        ((0.5, -0.3), (0, 1)),
        ((1.2, 0), (0.6, 0.4)),
        ((0.3, 0), (0, 0.3)),
        ((0.4, 0.2), (-0.2, 0.8)),
    ),
}


def fast_food_spending() -> None:
    """Dollars a week of 1,000 customers: 500 from Normal(40, 5) and 500 from Normal(55, 7), shuffled; seed 40."""
    rng = np.random.default_rng(40)
    group = np.repeat(["A", "B"], 500)
    dollars = np.where(group == "A", rng.normal(40, 5, 1000), rng.normal(55, 7, 1000))
    order = rng.permutation(1000)
    pd.DataFrame({"dollars_per_week": dollars[order].round(2)}).to_csv(HERE / "fast_food_spending.csv", index=False)
    pd.DataFrame({"group": group[order]}).to_csv(HERE / "fast_food_spending_groups.csv", index=False)


def fast_food_customers() -> None:
    """2,000 customers of three overlapping groups, columns independent within a group; seed 2000.

    5 % of the cells of each column are missing at random; the group is known for a fifth of the rows.
    """
    rng = np.random.default_rng(2000)
    groups = list(CUSTOMERS.values())
    member = rng.choice(3, 2000, p=[group["share"] for group in groups])
    pick = lambda key: np.array([group[key] for group in groups])[member]  # noqa: E731
    frame = pd.DataFrame(
        {
            "dollars_per_week": np.exp(rng.normal(*pick("dollars").T)).round(2),
            "visits_per_week": rng.poisson(pick("visits")).astype(float),
            "has_app": (rng.random(2000) < pick("has_app")).astype(float),
            "favourite": [DISHES[rng.choice(6, p=shares)] for shares in pick("favourite")],
            "age": rng.normal(*pick("age").T).round(1),
        }
    )
    frame = frame.mask(rng.random(frame.shape) < 0.05)
    truth = np.array(list(CUSTOMERS))[member]
    frame["group"] = np.where(rng.random(2000) < 0.2, truth, None)
    whole = {"visits_per_week": "Int64", "has_app": "Int64"}
    frame.astype(whole).to_csv(HERE / "fast_food_customers.csv", index=False)
    pd.DataFrame({"group": truth}).to_csv(HERE / "fast_food_customers_groups.csv", index=False)


def wrodl() -> None:
    """50 outfits with the lecture's marginal counts, each column shuffled by itself; seed 50."""
    rng = np.random.default_rng(50)
    columns = {name: rng.permutation(np.repeat(list(counts), list(counts.values()))) for name, counts in WRODL.items()}
    pd.DataFrame(columns).to_csv(HERE / "wrodl.csv", index=False)


def five_groups() -> None:
    """500 points of five overlapping bivariate normals of unequal shares, sizes and directions; seed 5.

    Group k is drawn with its share, and the point is its location plus its root times two standard normals.
    """
    rng = np.random.default_rng(5)
    member = rng.choice(5, 500, p=GROUPS["shares"])
    spread = np.einsum("nij,nj->ni", np.array(GROUPS["roots"])[member], rng.normal(size=(500, 2)))
    points = (np.array(GROUPS["locations"])[member] + spread).round(3)
    pd.DataFrame(points, columns=["first", "second"]).to_csv(HERE / "five_groups.csv", index=False)


if __name__ == "__main__":
    fast_food_spending()
    fast_food_customers()
    wrodl()
    five_groups()
