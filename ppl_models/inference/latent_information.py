"""How much codes tell of their rows: units in use, information, the distance from the prior, and labels read off them.

Hoffman and Johnson (2016), ELBO surgery, http://approximateinference.org/accepted/HoffmanJohnson2016.pdf; Burda, Grosse
and Salakhutdinov (2016), Importance weighted autoencoders, https://arxiv.org/abs/1509.00519 (active units).
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyro
import torch
from jaxtyping import Float
from torch import Tensor

from ppl_models.datasets import Dataset, chunks_of
from ppl_models.datasets.dataset import UNKNOWN
from ppl_models.distributions import seeded
from ppl_models.distributions.flows import FLOW_WIDTH
from ppl_models.errors import InputError
from ppl_models.evaluation import active_units, aggregate_information, representation
from ppl_models.families import Amortised, Family
from ppl_models.inference.latent import encode
from ppl_models.inference.weights import CELLS_IN_MEMORY, noise_of


@dataclass(frozen=True)
class LatentInformation:
    """What an amortised guide's q(z | x) says of z, over rows.

    Attributes:
        units: one row a dimension of z: ``variance`` of the rows' codes, its ``se``, whether it is ``active``, and
            ``kl``, the mean KL(q(z | x) ‖ p(z)) of that dimension in nats, NaN where there is none by dimension.
        information: E KL(q(z|x) ‖ p(z)), I(x; z) and KL(q(z) ‖ p(z)) in nats, each between ``low`` and ``high`` with
            their standard errors; see ``evaluation.aggregate_information``.
        rows: how many rows they are taken over.
    """

    units: pd.DataFrame
    information: pd.DataFrame
    rows: int

    @property
    def active(self) -> int:
        """How many dimensions are active."""
        return int(self.units["active"].sum())


@torch.no_grad()
def latent_information(family: Family, data: Dataset, *, seed: int, most: int = 2000) -> LatentInformation:
    """Active units, and the KL of the ELBO split into information and the aggregate's distance from the prior.

    One z is drawn from each row's q(z | x), and every row's q is asked about every z, in blocks of bounded memory.

    Args:
        family: a fitted amortised family.
        data: rows of its preparation; their weights are not used.
        seed: the seed of the draws of z and of the choice of rows.
        most: rows that are used; of more, as many are chosen at random without replacement.

    Raises:
        InputError: a family without q(z | x), rows of another preparation, or fewer than two rows.

    >>> from ppl_models import VAE, fit, load, prepare
    >>> from ppl_models.inference import Gradient
    >>> table = load("iris")
    >>> rows = prepare(table.frame, table.schema)(table.frame)
    >>> family = fit(VAE(table.schema, latent=2), rows, seed=0, method=Gradient(steps=20)).family
    >>> latent_information(family, rows, seed=0, most=50).rows
    50
    """
    if not isinstance(family, Amortised):
        raise InputError(f"latent information: expected a family with q(z | x), got {type(family).__name__}")
    family.require(data)
    if min(len(data), most) < 2:
        raise InputError(f"latent information: expected two rows or more, got {min(len(data), most)}")
    with seeded(seed), pyro.validation_enabled(False):
        data = data[torch.randperm(len(data))[:most]]
        z = torch.cat([family.posterior(part).sample() for part in chunks_of(data, _rows_at_once(family, 1))])
        log_q = torch.cat([_asked(family, part, z) for part in chunks_of(data, _rows_at_once(family, len(z)))], -1)
        log_p = family.prior().log_prob(z).double()
    codes = encode(family, data)
    units = active_units(codes.to_numpy()).assign(kl=_kl(family, data, seed=seed))
    units.index = pd.Index(codes.columns, name="dimension")
    return LatentInformation(units, aggregate_information(log_q.cpu().numpy(), log_p.cpu().numpy()), len(data))


def label_readout(family: Family, train: Dataset, *, test: Dataset, neighbours: int = 15) -> pd.DataFrame:
    """How well the rows' classes, which the family was not told, can be read off their codes.

    Args:
        family: a fitted family with a latent space.
        train: rows of its preparation that the probes learn from; rows of unknown class are left out.
        test: held-out rows; rows of unknown class are left out.
        neighbours: how many nearest training rows have a vote.

    Returns:
        The table of ``evaluation.representation``: accuracy, se and chance of each probe.

    Raises:
        InputError: what ``encode`` and ``evaluation.representation`` refuse.
    """
    known = [part[part.labels != UNKNOWN] for part in (train, test)]
    codes = [encode(family, part).to_numpy() for part in known]
    labels = [part.labels.cpu().numpy() for part in known]
    return representation(codes[0], labels[0], test_codes=codes[1], test_labels=labels[1], neighbours=neighbours)


def _rows_at_once(family: Amortised, points: int) -> int:
    """Rows whose q can be asked about so many points each in the memory set aside, flows included."""
    return max(1, CELLS_IN_MEMORY // max(family.cells, points * (2 * FLOW_WIDTH + family.latent**2)))


def _asked(family: Amortised, batch: Dataset, z: Float[Tensor, "points latent"]) -> Float[Tensor, "points rows"]:
    """log q(z | x) of each point under each row, nats."""
    return family.posterior(batch).log_prob(z[:, None].expand(-1, len(batch), -1)).double()


def _kl(family: Amortised, data: Dataset, *, seed: int) -> Float[np.ndarray, " latent"] | float:
    """The mean KL of each dimension, nats; NaN where it does not come by dimension."""
    noise = noise_of(family, data, seed=seed, draws=1)
    found = torch.cat([family.weigh(part, noise).kl for part in chunks_of(data, _rows_at_once(family, 1))]).double()
    return found.mean(0).cpu().numpy() if found.shape[-1] == family.latent else math.nan
