"""Sequences: the schema's block, the Markov chain and the recurrent VAE, against exhaustive sums and counts."""

from dataclasses import replace
from functools import cache
from itertools import pairwise, product
from math import log

import numpy as np
import pandas as pd
import pytest
import torch
from cases import TUNES, build, fitted, rows_of, table_of
from scipy import stats
from typer.testing import CliRunner

from ppl_models.cli import app
from ppl_models.commands.candidates import suitable
from ppl_models.datasets import Schema, prepare, sequence_schema, sequence_table
from ppl_models.distributions import seeded
from ppl_models.errors import InputError
from ppl_models.explorer import write_explorer
from ppl_models.families import MarkovChain, Mixture, NaiveBayes, SequenceVAE
from ppl_models.inference import (
    Gradient,
    NaturalGradient,
    decode,
    elbo_parts,
    encode,
    estimate_elbo,
    fit,
    impute,
    latent_path,
    load_family,
    log_density,
    log_evidence,
    parameter_draws,
    partial_fit,
    reconstruct,
    sample,
    save_family,
)
from ppl_models.inference.decoded import decoded_numbers
from ppl_models.recurrent import Recurrent

TOKENS = ("a", "b", "c")
TUNE = [["a", "b", "a", "b"], ["a", "b", "c"], ["c", "c", "c", "a"], ["b"], ["a", "a", "b", "b"]]
VAES = ("sequences, flat", "sequences, hierarchical")
LIMIT = stats.norm.isf(5e-6)  # in standard errors, two-sided: false alarms 1e-5


def table(lists, steps: int = 4):
    """Rows of three tokens as a table of so many steps: None is a missing step."""
    padded = [[*row, *[None] * (steps - len(row))] for row in lists]
    return sequence_table(padded, vocabulary=TOKENS)


def rows(lists, steps: int = 4):
    found = table(lists, steps)
    preparation = prepare(pd.concat([found.frame] * 2, ignore_index=True), found.schema)
    return preparation(found.frame)


def chain(data=None, **options) -> MarkovChain:
    data = rows(TUNE) if data is None else data
    return fit(MarkovChain(data.schema, **options), data, seed=0).family


def density(family, lists, steps: int = 4, **options) -> np.ndarray:
    return log_density(family, rows(lists, steps), **options).values


def every_row(steps: int) -> list[list[str]]:
    return [list(row) for row in product(TOKENS, repeat=steps)]


@cache
def vae(bar: int | None = None, steps: int = 4) -> SequenceVAE:
    """An untrained network over so many steps, the same weights for any number of them."""
    data = rows([["a", "b", "c", "a"][:steps], ["b"]], steps)
    network = Recurrent(hidden=6, embedding=3, bar=bar)
    family = SequenceVAE(data.schema, latent=1, network=network, dtype=torch.float64)
    family.adopt(data)
    family.initialise(data, seed=3)
    with torch.no_grad():
        for parameter in family.model.decoder.parameters():
            parameter.mul_(3.0)
    return family


def test_lists_of_tokens_become_steps_of_one_vocabulary():
    found = sequence_table([[60, 62, 64], [60]], pad=True, labels=["up", "one"])
    assert found.schema.length == 3 and found.schema.vocabulary == (60, 62, 64)
    assert found.schema.label.categories == ("one", "up")
    assert found.frame.isna().sum().tolist() == [0, 1, 1, 0]
    assert Schema(found.schema.columns).length == 0 and Schema(found.schema.columns).vocabulary == ()


def test_a_frame_of_steps_has_the_schema_of_the_lists_it_came_from(tmp_path):
    found = sequence_table([[60, 62, 64], [60]], pad=True)
    found.frame.to_csv(tmp_path / "steps.csv", index=False)
    assert sequence_schema(pd.read_csv(tmp_path / "steps.csv")) == found.schema


@pytest.mark.parametrize("make", [NaiveBayes, lambda schema: Mixture(schema, components=2)])
def test_naive_bayes_and_mixtures_see_steps_as_any_categorical_columns(make):
    data, plain = rows_of(TUNES, 150), Schema(table_of(TUNES).schema.columns)
    method = NaturalGradient(restarts=1, starts=2)
    elbos = [fit(make(each.schema), each, seed=0, method=method).elbo for each in (data, replace(data, schema=plain))]
    assert elbos[0] == elbos[1]


def test_the_posterior_of_a_chain_is_its_counts():
    natural = chain(smoothing=0.5).guide.natural().detach()[0, :-1]
    initial, moves = natural[:3], natural[3:].reshape(3, 3)
    np.testing.assert_allclose(initial, [3.5, 1.5, 1.5])
    np.testing.assert_allclose(moves, [[1.5, 4.5, 0.5], [1.5, 1.5, 1.5], [1.5, 0.5, 2.5]])


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("estimate", ["bayes", "map", "maximum-likelihood"])
def test_a_chain_gives_all_rows_of_a_length_mass_one(estimate, steps):
    assert np.exp(density(chain(estimate=estimate), every_row(steps))).sum() == pytest.approx(1, abs=1e-12)


def test_a_chains_rows_one_after_another_have_its_evidence():
    """The predictive probability of each row after those before it, multiplied: the parameters are integrated out."""
    data, family = rows(TUNE), MarkovChain(table(TUNE).schema)
    total = 0.0
    family.take_preparation(data)
    family.guide.set_natural(family.guide.initial())
    for row in range(len(data)):
        total += log_density(family, data[row : row + 1]).values.sum()
        partial_fit(family, data[row : row + 1])
    found = fit(MarkovChain(data.schema), data, seed=0)
    assert total / len(data) == pytest.approx(found.elbo, rel=1e-12)
    assert log_evidence(found.family, data) == pytest.approx(found.elbo, rel=1e-12)


def test_a_chains_row_is_the_mean_over_draws_of_its_parameters():
    """Against 40,000 draws of the guide, within their standard error; false alarms 1e-5 a row."""
    family, lists = chain(), [["a", "b", "a", "b"], ["c", "c", "c", "c"], ["b", "a"]]
    draws = parameter_draws(family, 40_000, seed=1)
    initial, moves = draws["initial"].values[0, :, 0], draws["transition"].values[0, :, 0]
    for row, exact in zip(lists, np.exp(density(family, lists)), strict=True):
        codes = [TOKENS.index(token) for token in row]
        terms = [moves[:, before, after] for before, after in pairwise(codes)]
        mass = initial[:, codes[0]] * np.prod(terms, 0)
        assert abs(mass.mean() - exact) < LIMIT * mass.std() / len(mass) ** 0.5
    assert draws["transition"].dims == ("chain", "draw", "component", "before", "after")


HOLES = [["a", None, "a", "b"], [None, None, "c"], [None, "b", None, "b"]]


@pytest.mark.parametrize("estimate", ["bayes", "map", "maximum-likelihood"])
def test_a_chains_holes_are_summed_out(estimate):
    family = chain(estimate=estimate)
    for row, found in zip(HOLES, density(family, HOLES), strict=True):
        full = [list(each) for each in product(*[TOKENS if token is None else (token,) for token in row])]
        assert found == pytest.approx(np.logaddexp.reduce(density(family, full)), rel=1e-12)


def test_a_chain_is_fitted_to_rows_with_holes_by_em():
    """Its ELBO is the log likelihood, and Pyro's for the pair, and no other parameters nearby have a higher one."""
    data = rows([*TUNE, *HOLES])
    found = fit(MarkovChain(data.schema, estimate="maximum-likelihood"), data, seed=0)
    assert found.elbo == pytest.approx(log_density(found.family, data).values.mean(), rel=1e-9)
    assert found.elbo == pytest.approx(estimate_elbo(found.family, data, seed=0).mean, rel=1e-9)
    free = found.family.guide.free["sequence__transition"]
    for seed in range(5):
        with torch.no_grad(), seeded(seed):
            before = free.clone()
            free.add_(0.05 * torch.randn_like(free))
            assert log_density(found.family, data).values.mean() < found.elbo
            free.copy_(before)


@pytest.mark.parametrize("estimate", ["bayes", "map"])
@pytest.mark.parametrize("row", [["a", None, "a", "b"], ["b", None, "c"], ["a", "b"]])
def test_a_chain_imputes_by_its_own_probabilities(estimate, row):
    """Shares among 3,000 draws against exhaustive conditional probabilities; false alarms 1e-5 a case."""
    family, holes = chain(estimate=estimate), row + [None] * (4 - len(row))
    full = [list(each) for each in product(*[TOKENS if token is None else (token,) for token in holes])]
    expected = np.exp(density(family, full) - np.logaddexp.reduce(density(family, full)))
    drawn = impute(family, rows([row]), seed=1, draws=3000).draws.astype(int)
    missing = [step for step, token in enumerate(holes) if token is None]
    codes = [[TOKENS.index(each[step]) for step in missing] for each in full]
    counts = np.array([(drawn == code).all(1).sum() for code in codes])
    possible = expected > 1e-12
    assert counts.sum() == 3000 and not counts[~possible].any()
    assert stats.chisquare(counts[possible], 3000 * expected[possible]).pvalue > 1e-5


def test_a_chain_draws_rows_by_their_own_probabilities():
    family, all_rows = chain(), every_row(4)
    frame = sample(family, 4000, seed=2).astype(str).agg("".join, axis=1)
    counts = frame.value_counts().reindex(["".join(row) for row in all_rows], fill_value=0)
    assert stats.chisquare(counts, 4000 * np.exp(density(family, all_rows))).pvalue > 1e-5


@pytest.mark.parametrize("bar", [None, 2, 3])
def test_a_networks_rows_have_mass_one_at_every_z_and_length(bar):
    family = vae(bar)
    for steps in (1, 3, 4):
        data = rows(every_row(steps))
        z = torch.tensor([[-1.5], [0.7]], dtype=torch.float64)[:, None].expand(-1, len(data), -1)
        mass = family.model.log_likelihood(data, z).exp().sum(-1)
        torch.testing.assert_close(mass, torch.ones(2).double())
    holes = rows([["b", None, *row] for row in every_row(2)])
    with_hole = family.model.log_likelihood(holes, z[:, : len(holes)]).exp().sum(-1)
    torch.testing.assert_close(with_hole, family.model.log_likelihood(rows([["b"]] * 2), z[:, :2])[:, 0].exp())


@pytest.mark.parametrize("bar", [None, 2, 3])
def test_tokens_told_at_once_and_one_by_one_have_the_same_logits(bar):
    writer, codes = vae(bar).model.decoder, torch.tensor([[0, 1, 2, 2], [2, 2, 0, 1]])
    z = torch.tensor([[0.3], [-2.0]], dtype=torch.float64)
    written, logits = writer.write(z, lambda logits: logits.argmax(-1), codes)
    assert torch.equal(written, codes)
    torch.testing.assert_close(writer(z, codes, None), logits)


@pytest.mark.parametrize("bar", [None, 2])
def test_a_padded_row_has_the_log_density_of_the_unpadded_one(bar):
    """The same weights over four steps and over two: to 1e-6, and in truth to rounding."""
    whole, short = vae(bar), vae(bar, steps=2)
    shared = {key: value for key, value in whole.state_dict().items() if key not in ("loc", "scale")}
    state = short.state_dict() | shared
    short.load_state_dict(state)
    lists = [["a", "b"], ["c", "c"], ["b", "a"]]
    padded, plain = (density(family, lists, steps, draws=50) for family, steps in ((whole, 4), (short, 2)))
    np.testing.assert_allclose(padded, plain, atol=1e-10)
    chains = chain(), chain(rows([row[:2] for row in TUNE], 2))
    chains[1].guide.load_state_dict(chains[0].guide.state_dict())
    np.testing.assert_allclose(density(chains[0], lists), density(chains[1], lists, 2), atol=1e-12)


def test_the_bound_of_a_network_is_below_and_near_the_integral_over_z():
    """Against Gauss-Hermite quadrature over the one z, within 5 Monte Carlo standard errors and 1e-3 of bias."""
    family, lists = vae(), [["a", "b", "c", "a"], ["c", "c"], ["b", "a", "b", "b"]]
    points, weights = np.polynomial.hermite_e.hermegauss(80)
    z = torch.tensor(points)[:, None, None].expand(-1, len(lists), 1)
    joint = family.model.log_likelihood(rows(lists), z).detach().numpy() + np.log(weights / weights.sum())[:, None]
    exact = np.logaddexp.reduce(joint, 0)
    found = log_density(family, rows(lists), draws=4000)
    assert (np.abs(found.values - exact) < 5 * found.monte_carlo_se + 1e-3).all()


def test_what_stands_after_the_last_token_is_not_read_and_a_hole_is():
    family, data = vae(), rows([["a", "b"], ["a", "b"], ["a", None, "b"], ["a", "b", "b"]])
    data.values[1, 2:] = 2.0  # a missing step's value is no token, whatever it is
    codes = family.encode(data)
    assert torch.equal(codes[0], codes[1])
    assert len({float(code) for code in codes.flatten()}) == 3


def test_a_typical_row_is_greedy_and_draws_are_ancestral():
    family, z = vae(), torch.full((5000, 1), 0.4, dtype=torch.float64)
    typical = family.decode(z[:1])[0].long()
    logits = family.model.decoder(z[:1], typical[None], None)[0]
    assert torch.equal(logits.argmax(-1), typical)
    numbers = decoded_numbers(family, z[:1].numpy())
    np.testing.assert_allclose(numbers, logits.softmax(-1).detach().flatten()[None], atol=1e-12)
    with seeded(0):
        drawn = family.model.sample_cells(z).long().numpy()
    codes = np.array(list(product(range(3), repeat=4)))
    counts = [(drawn == code).all(1).sum() for code in codes]
    data = rows(every_row(4))
    mass = family.model.log_likelihood(data, z[:1].expand(len(data), -1)).exp().detach().numpy()
    assert stats.chisquare(counts, 5000 * mass).pvalue > 1e-5


def test_imputing_with_a_network_keeps_what_was_seen_and_goes_on_from_it():
    """What follows "c" at a fixed z, against exhaustive sums; false alarms 1e-5."""
    family, data = vae(), rows([["c"], ["a", None, "b", "b"]])
    found = impute(family, data, seed=0, draws=20)
    seen = data.observed.numpy()
    assert (found.frame.to_numpy()[seen] == table([["c"], ["a", None, "b", "b"]]).frame.to_numpy()[seen]).all()
    z = torch.full((4000, 1), 0.4, dtype=torch.float64)
    with seeded(1):
        filled = family.model.fill(z, data, torch.zeros(4000, dtype=torch.long))
    mass = family.model.log_likelihood(rows([["c", token] for token in TOKENS]), z[:3]).exp().detach().numpy()
    counts = np.bincount(filled[:, 1].long().numpy(), minlength=3)
    assert (filled[:, 0] == 2).all() and stats.chisquare(counts, 4000 * mass / mass.sum()).pvalue > 1e-5


def test_forgotten_tokens_are_those_of_training_alone():
    data = rows(TUNE[:3] * 20)
    family = SequenceVAE(data.schema, latent=1, network=Recurrent(hidden=6, embedding=3, forget=0.5))
    family.adopt(data)
    writer, codes = family.model.decoder, data.values.long()
    writer.train()
    with seeded(0):
        told = writer._before(codes, None)[:, 1:]
    writer.eval()
    share = float((told == 4).double().mean())
    assert 0.35 < share < 0.65 and torch.equal(told[told != 4], codes[:, :-1][told != 4])
    assert torch.equal(writer._before(codes, None)[:, 1:], codes[:, :-1])


@pytest.mark.parametrize("name", VAES)
def test_a_fitted_network_answers_every_question_of_a_latent_space(name, tmp_path):
    family, data = fitted(name).family, build(name)[1]
    assert decode(family, encode(family, data)).equals(reconstruct(family, data))
    path = latent_path(family, data[:2], steps=4, seed=0, draws=20)
    assert path.rows.shape == (4, 8) and np.isfinite(path.densities["drawn"]).all()
    parts = elbo_parts(family, data, seed=0, particles=2)
    assert parts.elbo.mean == pytest.approx(parts.reconstruction.mean - parts.kl.mean)
    save_family(family, tmp_path / "family.safetensors")
    kept = load_family(tmp_path / "family.safetensors")
    assert kept.recurrent == family.recurrent and kept.schema == family.schema
    assert sample(kept, 5, seed=1).equals(sample(family, 5, seed=1))


def test_a_network_learns_what_a_chain_cannot_know():
    """Rows that turn at their middle: the step's number decides, which a network has and a chain has not."""
    lists = [["a", "b", "b", "a"], ["b", "a", "a", "b"]] * 60
    data = rows(lists)
    network = Recurrent(hidden=8, embedding=4)
    method = Gradient(steps=150, learning_rate=2e-2, batch_size=None)
    found = fit(SequenceVAE(data.schema, latent=1, network=network), data, seed=0, method=method).family
    assert log_density(found, data[:2], draws=50).values.min() > log(0.4)
    assert log_density(chain(data), data[:2]).values.max() < log(0.2)


def ask(*asked: object, code: int = 0):
    done = CliRunner().invoke(app, [*map(str, asked)])
    assert done.exit_code == code, (done.exception, done.output)
    return done


@pytest.mark.parametrize(
    ("family", "method"),
    [
        ("markov-chain: smoothing=0.5", ()),
        ("sequence-vae: latent=1 network.hidden=4 network.bar=2", ("--method", "steps=20 check-every=10")),
    ],
)
def test_the_command_line_fits_scores_and_draws_sequences(family, method, tmp_path):
    table(TUNE).frame.to_csv(tmp_path / "tunes.csv", index=False)
    (tmp_path / "schema.yaml").write_text("sequence: true\nvocabulary: [a, b, c]\n")
    run, csv = tmp_path / "run", tmp_path / "tunes.csv"
    ask("fit", csv, "--schema", tmp_path / "schema.yaml", "--family", family, *method, "--output", run)
    ask("score", run, csv, "--output", tmp_path / "scores.csv")
    ask("sample", run, "--rows", 3, "--output", tmp_path / "drawn.csv")
    assert len(pd.read_csv(tmp_path / "scores.csv")) == len(TUNE)
    assert set(pd.read_csv(tmp_path / "drawn.csv").to_numpy().ravel()) <= set(TOKENS)
    assert "decoder" in str(ask("explore", run, code=1).exception)


def test_compare_tries_both_families_on_sequences_and_on_nothing_else():
    found, plain = suitable(table(TUNE).schema, 100), suitable(Schema(table(TUNE).schema.columns), 100)
    assert found["Markov chain"] == ["markov-chain"] and "VAE" not in found and "VAE" in plain
    assert found["sequence VAE"] == ["sequence-vae: latent=1", "sequence-vae: latent=2"]
    assert not {"Markov chain", "sequence VAE"} & set(plain)


def test_the_explorer_refuses_a_decoder_of_steps(tmp_path):
    with pytest.raises(InputError, match=r"explorer: expected a decoder of layers .*, got StepWriter"):
        write_explorer(vae(), rows(TUNE), tmp_path / "page.html")
