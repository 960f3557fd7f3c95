"""Laws of the structure: what model and guide must have in common before any number of theirs means something."""

from collections.abc import Iterator

import torch
from pyro import poutine
from pyro.distributions import Delta, constraints
from torch import Tensor

from ppl_models.distributions import seeded
from ppl_models.verify.bench import Bench
from ppl_models.verify.draws import Site, log_prob
from ppl_models.verify.findings import Fact, Skip
from ppl_models.verify.gradient import Direction
from ppl_models.verify.pairs import base_of, drawn, is_enumerated, latent, masked, vectorised, whole_plates


def sites(bench: Bench) -> Iterator[Fact]:
    """The guide draws every latent site of the model, and none besides."""
    args, kwargs = bench.pair.args, bench.pair.kwargs
    with seeded(bench.stream(0)), torch.no_grad(), whole_plates():
        guide, model = (poutine.trace(side).get_trace(*args, **kwargs) for side in (bench.pair.guide, bench.pair.model))
    asked = {name for name, site in guide.nodes.items() if latent(site) and not site["infer"].get("is_auxiliary")}
    hidden = {name for name, site in model.nodes.items() if latent(site)}
    summed = {name for name in hidden if is_enumerated(model.nodes[name])}
    seen = {name for name, site in model.nodes.items() if drawn(site) and site["is_observed"]}
    for name in sorted(hidden - asked - summed):
        yield Fact(
            False,
            f"site {name!r} is latent in the model and missing from the guide",
            ("the site is missing from the guide, or its name differs there", "obs= is missing from the model's site"),
        )
    for name in sorted((asked - hidden) & seen):
        yield Fact(False, f"site {name!r} is observed in the model and drawn by the guide", ("obs= in the model",))
    for name in sorted(asked - hidden - seen):
        yield Fact(
            False,
            f"site {name!r} is drawn by the guide and unknown to the model",
            ("its name differs in the model", "infer={'is_auxiliary': True} is missing"),
        )
    yield Fact(bool(seen), "the model observes nothing", ("obs= is missing from the model",))


def shapes(bench: Bench) -> Iterator[Fact]:
    """Each latent site has the same batch and event shape in model and guide."""
    for name, mine, theirs in _shared(bench.traces):
        for side, of in (("batch", "batch_shape"), ("event", "event_shape")):
            one, other = (tuple(getattr(site["fn"], of)) for site in (mine, theirs))
            if side == "batch":
                one, other = _stripped(one), _stripped(other)
            yield Fact(
                one == other,
                f"site {name!r} has {side} shape {one} in the model and {other} in the guide",
                ("to_event() or expand() differs",),
            )


def plates(bench: Bench) -> Iterator[Fact]:
    """Each latent site stands in the same plates, of the same sizes, in model and guide."""
    for name, mine, theirs in _shared(bench.traces):
        one, other = ({(_label(frame), frame.size) for frame in vectorised(site)} for site in (mine, theirs))
        yield Fact(
            one == other,
            f"site {name!r} stands in {_plate_words(one)} in the model and in {_plate_words(other)} in the guide",
            ("a plate is missing, or sized otherwise, on one side",),
        )


def supports(bench: Bench) -> Iterator[Fact]:
    """The guide draws each latent site where the model gives it density, and misses no part of that."""
    for name, mine, theirs in _shared(bench.traces):
        one, other = mine["fn"].support, theirs["fn"].support
        inside = bool(one.check(theirs["value"]).all())
        yield Fact(inside, f"site {name!r}: the guide draws outside the model's support, {one}", ("a wider support",))
        if inside and not isinstance(base_of(theirs["fn"]), Delta):
            yield Fact(
                _same_region(one, other, theirs["value"]),
                f"site {name!r} has support {one} in the model and {other} in the guide",
                ("the guide's support is truncated, so that part of the posterior is never drawn",),
            )


def scales(bench: Bench) -> Iterator[Fact]:
    """Each latent site counts alike in model and guide, for all rows and for a part of them."""
    pair = bench.pair
    args = pair.args if pair.batch is None else pair.batch(bench.batches(0)[0])
    with seeded(bench.stream(0)), torch.no_grad():
        part = pair.trace(args)
    for traces in (bench.traces, part):
        for name, mine, theirs in _shared(traces):
            one, other = (_counted(site) for site in (mine, theirs))
            if isinstance(base_of(theirs["fn"]), Delta) or masked(mine) or masked(theirs) or not one.numel():
                continue  # a point's own log density is zero, however often it counts
            yield Fact(
                bool(torch.allclose(*torch.broadcast_tensors(one, other))),
                f"site {name!r} counts {_words(one)} times in the model and {_words(other)} times in the guide",
                _scale_causes(mine, theirs),
            )


def _fair(site: Site) -> float:
    """How often a site counts by its plates."""
    fair = 1.0
    for frame in site["cond_indep_stack"]:
        fair *= frame.full_size / frame.size if frame.full_size and frame.full_size > 0 else 1.0
    return fair


def gradients(bench: Bench) -> Iterator[Fact]:
    """Every parameter gets a gradient that is finite and not always zero."""
    pair = bench.pair
    parameters = pair.parameters()
    if not parameters:
        raise Skip("the pair has no parameters")
    largest = dict.fromkeys(parameters, 0.0)
    sound = dict.fromkeys(parameters, True)
    nearby = Direction(pair, parameters, step=1e-2, seed=bench.stream(3))
    for draw, by in enumerate((0.0, 0.0, 1.0, -1.0)):  # nearby too: a layer that starts at zero hides those before it
        for value in parameters.values():
            value.grad = None
        with seeded(bench.stream(3, draw)), whole_plates(), nearby.moved(by):
            pair.gradients()
        for name, value in parameters.items():
            if value.grad is not None and value.numel():
                sound[name] &= bool(torch.isfinite(value.grad).all())
                largest[name] = max(largest[name], float(value.grad.nan_to_num().abs().max()))
    for name in parameters:
        yield Fact(sound[name], f"parameter {name!r} has a gradient that is not finite", ("log or division by 0",))
        yield Fact(
            largest[name] > 0 or not parameters[name].numel(),
            f"parameter {name!r} has no gradient",
            ("the parameter is detached: detach(), no_grad() or .data before its use", "the parameter is not used"),
        )


def repeatable(bench: Bench) -> Iterator[Fact]:
    """Given all draws, the model's and the guide's densities are always the same."""
    pair = bench.pair
    with torch.no_grad(), whole_plates():
        with seeded(bench.stream(0)):
            _, guide = pair.trace()
        for side, run in (("model", pair.model), ("guide", pair.guide)):
            found = []
            for draw in (1, 2):
                with seeded(bench.stream(4, draw)):
                    trace = poutine.trace(poutine.replay(run, trace=guide)).get_trace(*pair.args, **pair.kwargs)
                told = [name for name, site in trace.nodes.items() if drawn(site) and name in guide.nodes]
                told += [name for name, site in trace.nodes.items() if drawn(site) and site["is_observed"]]
                found.append(sum(float(log_prob(trace.nodes[name]).sum()) for name in dict.fromkeys(told)))
            summed = any(is_enumerated(site) and name not in guide.nodes for name, site in trace.nodes.items())
            yield Fact(
                summed or abs(found[0] - found[1]) <= 1e-6 * (1 + abs(found[0])),
                f"the {side}'s log density of the same draws is {found[0]:.6g}, then {found[1]:.6g}",
                ("dropout, or noise that is no site", "state that a call changes"),
            )


def _shared(traces: tuple[poutine.Trace, poutine.Trace]) -> Iterator[tuple[str, Site, Site]]:
    """The latent sites that both sides have."""
    model, guide = traces
    for name, site in guide.nodes.items():
        if latent(site) and name in model.nodes and latent(model.nodes[name]):
            yield name, model.nodes[name], site


def _stripped(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A batch shape without the dimensions of one on its left."""
    while shape and shape[0] == 1:
        shape = shape[1:]
    return shape


def _same_region(one: constraints.Constraint, other: constraints.Constraint, like: Tensor) -> bool:
    """Whether two supports hold the same points, as far as points around the guide's draw and far from it tell."""
    probes = [like * factor + shift for factor in (-10.0, -1.0, 0.1, 1.0, 10.0) for shift in (-3.1, 0.0, 0.53, 3.1)]
    try:
        return all(bool((one.check(probe) == other.check(probe)).all()) for probe in probes)
    except (ValueError, RuntimeError):
        return True  # points of no meaning to it, such as half a category


def _counted(site: Site) -> Tensor:
    """How often a site's log probability counts, 0 where it is masked."""
    mask = site["mask"]
    kept = 1.0 if mask is None else torch.as_tensor(mask, dtype=torch.float64)
    return torch.as_tensor(site["scale"], dtype=torch.float64) * kept


def _words(counted: Tensor) -> str:
    low, high = float(counted.min()), float(counted.max())
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _scale_causes(mine: Site, theirs: Site) -> tuple[str, ...]:
    model, guide = _counted(mine), _counted(theirs)
    if float(model.max()) == 0:
        return ("the prior is dropped: the model's site is masked",)
    if float(guide.max()) == 0:
        return ("the entropy is dropped: the guide's site is masked",)
    for side, counted, other in (("model", model, guide), ("guide", guide, model)):
        if float(counted.max()) == 1 and float(other.max()) == max(_fair(mine), _fair(theirs)):
            return (f"the plate's scale is missing in the {side}",)
    return ("poutine.scale on one side alone: the KL is weighed, and the number is no ELBO",)


def _label(frame: object) -> str:
    """A plate's name where it takes a part of its rows, which model and guide must agree on; else its dimension."""
    return frame.name if frame.size != frame.full_size else f"of dimension {frame.dim}"


def _plate_words(frames: set[tuple[str, int]]) -> str:
    return ", ".join(f"plate {name} of {size}" for name, size in sorted(frames)) or "no plate"
