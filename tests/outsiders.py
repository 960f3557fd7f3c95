"""Pairs that are not ours: those that Pyro ships, autoguides over common models, and functions with the store."""

import pyro
import pyro.distributions as dist
import torch
from pyro.contrib import gp
from pyro.contrib.cevae import CEVAE, TraceCausalEffect_ELBO
from pyro.contrib.forecast import ForecastingModel
from pyro.contrib.mue.models import ProfileHMM
from pyro.infer import RenyiELBO, TraceMeanField_ELBO
from pyro.infer.autoguide import AutoDiagonalNormal, AutoLowRankMultivariateNormal, AutoMultivariateNormal, AutoNormal
from pyro.nn import PyroModule, PyroSample
from torch.distributions import constraints

from ppl_models.distributions import seeded
from ppl_models.verify import Pair


def noise(*shape, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


X = noise(20, 2)
Y = X @ torch.tensor([1.0, -0.5]) + 0.3 * noise(20, seed=1)
EFFECTS = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]) / 10  # Rubin (1981), eight schools, tens
ERRORS = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]) / 10


def causal_effects() -> Pair:
    with seeded(0):
        cevae = CEVAE(feature_dim=2, latent_dim=2, hidden_dim=8, num_layers=2)
        t = (X[:, 0] > 0).float()
    cevae.whiten = lambda x: x
    data = (X, t, (Y > 0).float())
    return Pair(
        cevae.model,
        cevae.guide,
        data,
        {"size": len(X)},
        loss=TraceCausalEffect_ELBO(),
        rows=len(X),
        batch=lambda rows: tuple(each[rows] for each in data),
    )


def variational_gp() -> Pair:
    with seeded(0):
        process = gp.models.VariationalGP(X, Y, gp.kernels.RBF(2), gp.likelihoods.Gaussian(), whiten=True)
    return Pair(process.model, process.guide, loss=TraceMeanField_ELBO())


def sparse_gp() -> Pair:
    with seeded(0):
        process = gp.models.VariationalSparseGP(X, Y, gp.kernels.Matern32(2), X[:4].clone(), gp.likelihoods.Gaussian())
    return Pair(process.model, process.guide)


def profile_hmm() -> Pair:
    codes = torch.tensor([[0, 1, 2, 3], [0, 1, 1, 3], [0, 2, 2, 3], [0, 1, 2, 2], [1, 1, 2, 3], [0, 1, 2, 0]])
    sequences = torch.nn.functional.one_hot(codes, 4).float()
    hmm = ProfileHMM(4, 4)
    return Pair(
        hmm.model,
        hmm.guide,
        (sequences, torch.tensor(1.0)),
        rows=6,
        batch=lambda rows: (sequences[rows], torch.tensor(6 / len(rows))),
    )


class Trend(ForecastingModel):
    """A random walk with a slope."""

    def model(self, zero_data, covariates):
        slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
        scale = pyro.sample("scale", dist.LogNormal(-1.0, 0.5))
        with self.time_plate:
            step = pyro.sample("step", dist.Normal(0.0, 0.1))
        level = (slope * covariates[:, 0] + step.cumsum(-1)).unsqueeze(-1)
        self.predict(dist.Normal(0.0, scale).expand([1]).to_event(1), level)


def forecast() -> Pair:
    time = torch.linspace(0, 1, 15)[:, None]
    data = 0.8 * time + 0.2 * noise(15, 1)
    model = Trend()
    return Pair(model, AutoNormal(model), (data, time))


def regression(x, y):
    weights = pyro.sample("weights", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    scale = pyro.sample("scale", dist.Exponential(1.0))
    with pyro.plate("rows", len(X), subsample=torch.arange(len(x))):
        pyro.sample("y", dist.Normal(x @ weights, scale), obs=y)


def over_regression(guide: type) -> Pair:
    with seeded(0):
        answer = guide(regression)
        answer(X, Y)
    return Pair(regression, answer, (X, Y), rows=len(X), batch=lambda rows: (X[rows], Y[rows]))


def schools():
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    spread = pyro.sample("spread", dist.HalfNormal(1.0))
    with pyro.plate("schools", len(EFFECTS)):
        effect = pyro.sample("effect", dist.Normal(mean, spread))
        pyro.sample("estimate", dist.Normal(effect, ERRORS), obs=EFFECTS)


def hierarchy() -> Pair:
    return Pair(schools, AutoNormal(schools))


CHAINS = torch.tensor([[0.1, -0.2, 2.1], [2.2, 0.3, 0.1], [0.0, 0.2, 1.7]])


def chains(observed):
    stay = pyro.sample("stay", dist.Beta(8.0, 2.0))
    locs = pyro.sample("locs", dist.Normal(torch.tensor([0.0, 2.0]), 0.5).to_event(1))
    with pyro.plate("chains", len(observed), dim=-1):
        state = torch.tensor(0)
        for time in pyro.markov(range(observed.shape[1])):
            to_one = torch.where(state == 1, stay, 1 - stay)
            state = pyro.sample(f"state_{time}", dist.Bernoulli(to_one), infer={"enumerate": "parallel"}).long()
            pyro.sample(f"value_{time}", dist.Normal(locs[state], 0.5), obs=observed[:, time])


def chain_guide(observed):
    a, b = (
        pyro.param(name, torch.tensor(start), constraint=constraints.positive)
        for name, start in (("a", 7.0), ("b", 3.0))
    )
    pyro.sample("stay", dist.Beta(a, b))
    loc = pyro.param("loc", torch.tensor([0.1, 1.9]))
    scale = pyro.param("scale", torch.full((2,), 0.3), constraint=constraints.positive)
    pyro.sample("locs", dist.Normal(loc, scale).to_event(1))


def coin(flips):
    heads = pyro.sample("heads", dist.Beta(10.0, 10.0))
    with pyro.plate("flips", len(flips), subsample_size=4) as chosen:
        pyro.sample("flip", dist.Bernoulli(heads), obs=flips[chosen])


def coin_guide(flips):
    a = pyro.param("a", torch.tensor(15.0), constraint=constraints.positive)
    b = pyro.param("b", torch.tensor(12.0), constraint=constraints.positive)
    pyro.sample("heads", dist.Beta(a, b))


class Bayesian(PyroModule):
    """A linear layer with priors on its weights."""

    def __init__(self):
        super().__init__()
        self.linear = PyroModule[torch.nn.Linear](2, 1)
        self.linear.weight = PyroSample(dist.Normal(0.0, 1.0).expand([1, 2]).to_event(2))
        self.linear.bias = PyroSample(dist.Normal(0.0, 1.0).expand([1]).to_event(1))

    def forward(self, x, y):
        mean = self.linear(x).squeeze(-1)
        with pyro.plate("rows", len(x)):
            pyro.sample("y", dist.Normal(mean, 0.5), obs=y)


def bayesian_layer() -> Pair:
    model = Bayesian()
    guide = AutoMultivariateNormal(model, init_scale=0.05)
    with seeded(0):
        guide(X, Y)
    return Pair(model, guide, (X, Y))


def waiting(counts):
    rate = pyro.sample("rate", dist.Gamma(2.0, 1.0))
    with pyro.plate("rows", len(counts)):
        pyro.sample("count", dist.Poisson(rate), obs=counts)


def positive_guide(counts):
    loc = pyro.param("loc", torch.tensor(0.6))
    scale = pyro.param("scale", torch.tensor(0.3), constraint=constraints.positive)
    pyro.sample("rate", dist.LogNormal(loc, scale))


def correlated() -> Pair:
    """An intercept and a slope far from the origin, whose posterior is narrow along one axis and long along another."""
    t = torch.linspace(10, 12, 15, dtype=torch.float64)
    y = 1.0 + 0.5 * t + 0.3 * noise(15).double()
    design = torch.stack([torch.ones_like(t), t], -1)
    precision = torch.eye(2, dtype=torch.float64) / 4 + design.mT @ design / 0.09
    covariance = torch.linalg.inv(precision)
    mean = covariance @ design.mT @ y / 0.09

    def model(y):
        weights = pyro.sample("weights", dist.Normal(torch.zeros(2, dtype=torch.float64), 2.0).to_event(1))
        with pyro.plate("rows", len(y)):
            pyro.sample("y", dist.Normal((design * weights[..., None, :]).sum(-1), 0.3), obs=y)

    def guide(y):
        pyro.sample("weights", dist.MultivariateNormal(mean, covariance_matrix=covariance))

    return Pair(model, guide, (y,), exact=True)


class Rectified(torch.nn.Module):
    """A small VAE with ReLU, in single precision, whose output layers start at zero."""

    def __init__(self):
        super().__init__()
        with seeded(0):
            self.encoder = torch.nn.Sequential(torch.nn.Linear(2, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))
            self.decoder = torch.nn.Sequential(torch.nn.Linear(1, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))
        torch.nn.init.zeros_(self.encoder[2].weight)

    def model(self, x):
        with pyro.plate("rows", len(X), subsample=torch.arange(len(x))):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 0.7).to_event(1), obs=x)

    def guide(self, x):
        loc, log_scale = self.encoder(x).split(1, -1)
        with pyro.plate("rows", len(X), subsample=torch.arange(len(x))):
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


def rectified() -> Pair:
    net = Rectified()
    return Pair(net.model, net.guide, (X,), rows=len(X), batch=lambda rows: (X[rows],))


FLIPS = torch.tensor([1.0] * 9 + [0.0] * 3)

OUTSIDERS = {
    "cevae": causal_effects,
    "gp, variational": variational_gp,
    "gp, sparse": sparse_gp,
    "mue": profile_hmm,
    "forecast": forecast,
    "regression, AutoNormal": lambda: over_regression(AutoNormal),
    "regression, AutoMultivariateNormal": lambda: over_regression(AutoMultivariateNormal),
    "regression, AutoDiagonalNormal": lambda: over_regression(AutoDiagonalNormal),
    "regression, AutoLowRankMultivariateNormal": lambda: over_regression(AutoLowRankMultivariateNormal),
    "hierarchy, AutoNormal": hierarchy,
    "enumerated hidden Markov model": lambda: Pair(chains, chain_guide, (CHAINS,)),
    "functions with the store, a plate that subsamples": lambda: Pair(coin, coin_guide, (FLIPS,)),
    "PyroModule, AutoMultivariateNormal": bayesian_layer,
    "gamma prior, log-normal guide": lambda: Pair(waiting, positive_guide, (torch.tensor([1.0, 3.0, 2.0, 0.0]),)),
    "correlated posterior, exact": correlated,
    "ReLU in single precision, a layer at zero": rectified,
}


def local(data, rows=12):
    with pyro.plate("rows", rows, subsample=torch.arange(len(data))):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=data)


def local_guide(data, rows=12):
    slope = pyro.param("slope", torch.tensor(0.4))
    with pyro.plate("rows", rows, subsample=torch.arange(len(data))):
        pyro.sample("z", dist.Normal(slope * data, 0.8))


def subsampled_renyi() -> Pair:
    data = noise(12)
    loss = RenyiELBO(alpha=0, num_particles=8)
    return Pair(local, local_guide, (data,), loss=loss, rows=12, batch=lambda rows: (data[rows],))
