"""``Pair``: a Pyro model and guide, what it takes to run them, and what is claimed of them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import pyro
import torch
from jaxtyping import Int
from pyro import poutine
from pyro.distributions import Delta
from pyro.infer import ELBO, RenyiELBO, ReweightedWakeSleep, Trace_ELBO, TraceEnum_ELBO
from pyro.poutine.subsample_messenger import SubsampleMessenger
from torch import Tensor, nn
from torch.distributions import Distribution, MixtureSameFamily, Transform, biject_to

from ppl_models.distributions import seeded
from ppl_models.errors import InputError
from ppl_models.verify.findings import Skip

Loss = Callable[..., Tensor]


@dataclass(frozen=True, eq=False)
class Pair:
    """A Pyro model and guide: callables, modules, or whatever lives in the parameter store.

    Attributes:
        model: the model, called with ``args`` and ``kwargs``.
        guide: its guide, called the same way.
        args: arguments for all rows.
        kwargs: named arguments, the same for all rows and for a part of them.
        loss: what training goes down: one of Pyro's ELBO estimators, or a function of (model, guide, *args, **kwargs)
            that returns the negative ELBO, all rows' sum in nats, to be differentiated; None for ``Trace_ELBO``, or
            ``TraceEnum_ELBO`` where a site is enumerated.
        draws: K, if ``loss`` estimates a bound by K draws; known of ``RenyiELBO``.
        rows: rows of the full table, if the pair takes a part of them.
        batch: the arguments for some rows, by their index, if it does so by its arguments; where the model's plates
            subsample by themselves, nothing is needed.
        log_evidence: the exact log evidence of all rows, nats, if it is known; one number.
        exact: whether the guide is claimed to be the exact posterior.
        parts: the reconstruction and the KL, all rows' sums in nats, if they are computed apart; called without
            arguments, their mean may be over draws.
        stopped: whether the gradient leaves out parts whose expectation is zero, as the doubly reparametrised one does,
            so that it is the derivative on average alone.
        bound: the bound by K draws, all rows' sum in nats, if it is computed apart from ``loss``; called with K.
    """

    model: Callable[..., object]
    guide: Callable[..., object]
    args: tuple = ()
    kwargs: Mapping[str, object] = field(default_factory=dict)
    loss: ELBO | Loss | None = None
    draws: int | None = None
    rows: int | None = None
    batch: Callable[[Int[Tensor, " rows"]], tuple] | None = None
    log_evidence: float | None = None
    exact: bool = False
    stopped: bool = False
    parts: Callable[[], tuple[Tensor, Tensor]] | None = None
    bound: Callable[[int], Tensor] | None = None

    def __post_init__(self) -> None:
        if (isinstance(self.loss, RenyiELBO) and self.loss.alpha != 0) or isinstance(self.loss, ReweightedWakeSleep):
            raise InputError(
                f"Pair: expected a loss that estimates a bound of log p(x), got {type(self.loss).__name__}"
            )
        if (self.rows is None) != (self.batch is None):
            raise InputError("Pair: expected rows and batch together, the number of all rows and the way to take some")
        if self.rows is not None and self.rows < 2:
            raise InputError(f"Pair: expected two rows or more to take a part of, got {self.rows}")

    @property
    def draws_claimed(self) -> int:
        """K of the bound that the loss claims to estimate; 1 for the ELBO."""
        if self.draws is not None:
            return self.draws
        return self.loss.num_particles if isinstance(self.loss, RenyiELBO) else 1

    def modules(self) -> list[nn.Module]:
        """The modules among model, guide, what they are methods of, and the arguments."""
        owners = [getattr(side, "__self__", side) for side in (self.model, self.guide)]
        return [one for one in (*owners, *self.args) if isinstance(one, nn.Module)]

    def trace(self, args: tuple | None = None) -> tuple[poutine.Trace, poutine.Trace]:
        """One run of the guide, and of the model on what it drew."""
        args = self.args if args is None else args
        guide = poutine.trace(self.guide).get_trace(*args, **self.kwargs)
        return poutine.trace(poutine.replay(self.model, trace=guide)).get_trace(*args, **self.kwargs), guide

    @cached_property
    def estimator(self) -> ELBO | Loss:
        """The loss, or Pyro's estimator that suits the sites."""
        if self.loss is not None:
            return self.loss
        with seeded(0), torch.no_grad():
            model, guide = self.trace()
        if not any(is_enumerated(site) for trace in (model, guide) for site in trace.nodes.values()):
            return Trace_ELBO()
        nesting = max((len(site["cond_indep_stack"]) for site in model.nodes.values() if drawn(site)), default=0)
        depths = [-frame.dim for site in model.nodes.values() if drawn(site) for frame in vectorised(site)]
        return TraceEnum_ELBO(max_plate_nesting=max(depths, default=nesting), strict_enumeration_warning=False)

    def elbo(self, args: tuple | None = None) -> float:
        """One estimate of what the loss claims to be: the ELBO, or the bound by K draws, in nats."""
        args = self.args if args is None else args
        estimator = self.estimator
        with torch.no_grad():
            loss = getattr(estimator, "loss", estimator)(self.model, self.guide, *args, **self.kwargs)
        return -float(loss)

    def gradients(self) -> None:
        """Add one estimate of the loss's gradient to every parameter's."""
        estimator = self.estimator
        if not isinstance(estimator, ELBO):
            estimator(self.model, self.guide, *self.args, **self.kwargs).backward()
        elif self._in_store:
            estimator.loss_and_grads(self.model, self.guide, *self.args, **self.kwargs)
        elif not hasattr(estimator, "differentiable_loss"):
            raise Skip(f"{type(estimator).__name__} takes the gradient of parameters in the store alone")
        else:  # plain modules, which SVI's own steps pass over, as an ELBO module differentiates them
            estimator.differentiable_loss(self.model, self.guide, *self.args, **self.kwargs).backward()

    @cached_property
    def _in_store(self) -> bool:
        """Whether parameters are asked for by pyro.param."""
        with seeded(0), torch.no_grad():
            return any(site["type"] == "param" for trace in self.trace() for site in trace.nodes.values())

    def parameters(self) -> dict[str, Tensor]:
        """Every unconstrained parameter by its name: the store's that the pair asks for, and the modules' own."""
        found: dict[str, Tensor] = {}
        with seeded(0):
            for side in (self.guide, self.model):
                nodes = poutine.trace(side, param_only=True).get_trace(*self.args, **self.kwargs).nodes
                found |= {name: unconstrained(site["value"]) for name, site in nodes.items() if site["type"] == "param"}
        known = {value.data_ptr() for value in found.values()}
        for number, module in enumerate(self.modules()):
            own = {name: value for name, value in module.named_parameters() if value.data_ptr() not in known}
            found |= {f"{type(module).__name__}[{number}].{name}": value for name, value in own.items()}
        return {name: value for name, value in found.items() if value.requires_grad}


@contextmanager
def untouched(pair: Pair) -> Iterator[None]:
    """The pair's parameters, gradients and buffers, and the parameter store, are afterwards what they were."""
    store = pyro.get_param_store()
    state, kept = store.get_state(), {name: value.detach().clone() for name, value in store.named_parameters()}
    buffers = [(value, value.clone()) for module in pair.modules() for value in module.buffers()]
    with seeded(0):
        pair.trace()  # parameters that are made at the first call
    held = [(value, value.detach().clone(), value.grad) for value in pair.parameters().values()]
    try:
        yield
    finally:
        with torch.no_grad():
            for value, before, gradient in held:
                value.copy_(before)
                value.grad = gradient
            for value, before in buffers:
                value.copy_(before)
            store.clear()
            store.set_state(state)
            for name, value in store.named_parameters():
                value.copy_(kept[name])


@contextmanager
def whole_plates() -> Iterator[None]:
    """Plates that subsample by themselves take all their rows."""
    choose = SubsampleMessenger._subsample

    def everything(name: str, size: int | None = None, subsample_size: int | None = None, *rest: object) -> tuple:
        del subsample_size
        return choose(name, size, None, *rest)

    SubsampleMessenger._subsample = staticmethod(everything)
    try:
        yield
    finally:
        SubsampleMessenger._subsample = staticmethod(choose)


def unconstrained(value: Tensor) -> Tensor:
    """The leaf behind a parameter's value."""
    return value.unconstrained() if hasattr(value, "unconstrained") else value


def drawn(site: Mapping[str, object]) -> bool:
    """Whether a node of a trace is a random variable, observed or not, and not the choice of a subsample."""
    return site["type"] == "sample" and not poutine.util.site_is_subsample(site)


def latent(site: Mapping[str, object]) -> bool:
    """Whether a node is a random variable that nobody observed."""
    return drawn(site) and not site["is_observed"]


def is_enumerated(site: Mapping[str, object]) -> bool:
    """Whether a site asks for its values to be summed over."""
    return latent(site) and site["infer"].get("enumerate") in ("parallel", "sequential")


def vectorised(site: Mapping[str, object]) -> list:
    """The plates of a site that are dimensions of its tensors."""
    return [frame for frame in site["cond_indep_stack"] if frame.vectorized]


def is_point(site: Mapping[str, object], again: Mapping[str, object]) -> bool:
    """Whether a site is a point mass, told by two runs: an image of another draw is a point, but not the same one."""
    return isinstance(base_of(site["fn"]), Delta) and torch.equal(site["value"], again["value"])


def base_of(fn: Distribution) -> Distribution:
    """What a distribution makes its draws of, below transforms, independent dimensions and expansions."""
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    return fn


def masked(site: Mapping[str, object]) -> bool:
    """Whether a site's own distribution leaves out some of its values."""
    fn = site["fn"]
    while hasattr(fn, "base_dist"):
        if hasattr(fn, "_mask"):
            return True
        fn = fn.base_dist
    return False


def to_real(site: Mapping[str, object]) -> Transform:
    """The map from the reals to a continuous site's support.

    Raises:
        Skip: there is none, as for positive definite matrices.
    """
    fn = site["fn"]
    support = base_of(fn).component_distribution.support if isinstance(fn, MixtureSameFamily) else fn.support
    try:
        return biject_to(support)
    except NotImplementedError as missing:
        raise Skip(f"site {site['name']!r}: there are no unconstrained coordinates of {support}") from missing
