"""A fit's restarts are sorted into the optima that they ended in, by their states."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import rows_of

from ppl_models.errors import InputError
from ppl_models.families import GaussianMixture
from ppl_models.inference import Fit, Gradient, NaturalGradient, fit, restart_report
from ppl_models.inference.passes import bound

MANY = NaturalGradient(restarts=12, starts=12)


def overfitted(**options) -> Fit:
    """Six components where three would do: the restarts end in many places."""
    rows = rows_of("iris", 150)
    return fit(GaussianMixture(rows.schema, components=6, **options), rows, seed=2, method=MANY)


def test_the_states_of_a_fit_are_those_that_its_elbos_are_of():
    found, rows = overfitted(), rows_of("iris", 150)
    elbo, _ = bound(found.family, found.family.features(rows), found.states)
    raw = (elbo + rows.log_scale.sum()) / len(rows)
    np.testing.assert_allclose(raw.detach().numpy(), found.restarts["elbo"], rtol=1e-12)
    best = found.states[found.restarts["elbo"].argmax()]
    natural = best[found.family.arrange(best)]
    torch.testing.assert_close(found.family.guide.natural().detach(), natural, rtol=1e-9, atol=1e-9)


def test_every_restart_is_counted_once_and_the_best_optimum_is_the_fits():
    found, rows = overfitted(), rows_of("iris", 150)
    report = restart_report(found, rows)
    assert report["restarts"].sum() + report.attrs["failed"] == 12
    assert len(report) > 1
    assert report["elbo"].iloc[0] == pytest.approx(found.elbo, rel=1e-12)
    assert (report["adjusted_rand"].iloc[0], report["nats_below"].iloc[0]) == (1, 0)
    np.testing.assert_allclose(report["nats_below"], 150 * (found.elbo - report["elbo"]), atol=1e-8)


def test_restarts_in_other_orders_of_the_components_are_one_optimum():
    rows = rows_of("iris", 150)
    found = fit(GaussianMixture(rows.schema, components=3, covariance="full"), rows, seed=0)
    turned = found.states[:1, [1, 2, 0]]
    ends = found.restarts.iloc[[0, 0]]
    both = replace(found, states=torch.cat([found.states[:1], turned]), restarts=ends)
    assert restart_report(both, rows)[["restarts", "adjusted_rand"]].to_numpy().tolist() == [[2, 1]]


def test_restarts_that_came_to_a_fault_are_counted_as_failed():
    found, rows = overfitted(covariance="full", estimate="maximum-likelihood"), rows_of("iris", 150)
    faults = found.restarts["end"].str.startswith("not a number").sum()
    assert 0 < faults < 12
    assert restart_report(found, rows).attrs["failed"] == faults


def test_a_fit_by_gradients_has_no_restarts():
    rows = rows_of("iris", 150)
    found = fit(GaussianMixture(rows.schema, components=2), rows, seed=0, method=Gradient(steps=5))
    with pytest.raises(InputError, match="expected a fit by natural gradients, got one of GaussianMixture"):
        restart_report(found, rows)
