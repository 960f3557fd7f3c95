"""The laws: what each demands, where it is from, and the function that looks for it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ppl_models.verify.bound import bound, draws, evidence, exact, weights
from ppl_models.verify.estimate import loss, minibatches, order, particles
from ppl_models.verify.findings import Comparison, Fact
from ppl_models.verify.gradient import gradient
from ppl_models.verify.guides import density, independence
from ppl_models.verify.invariance import affine, blindness, company, known, normalisation, relabelling
from ppl_models.verify.parts import parts
from ppl_models.verify.structure import gradients, plates, repeatable, scales, shapes, sites, supports

Found = Iterator[Fact | Comparison]

PYRO = "Pyro, SVI part I, https://pyro.ai/examples/svi_part_i.html"
KINGMA = "Kingma and Welling (2014), Auto-encoding variational Bayes, https://arxiv.org/abs/1312.6114"
BURDA = "Burda, Grosse and Salakhutdinov (2016), Importance weighted autoencoders, https://arxiv.org/abs/1509.00519"
HOFFMAN = "Hoffman, Blei, Wang and Paisley (2013), Stochastic variational inference, https://arxiv.org/abs/1206.7051"
SURGERY = "Hoffman and Johnson (2016), ELBO surgery, http://approximateinference.org/accepted/HoffmanJohnson2016.pdf"
MOHAMED = "Mohamed and others (2020), Monte Carlo gradient estimation, https://arxiv.org/abs/1906.10652"
GEWEKE = "Geweke (1989), Bayesian inference in econometric models using Monte Carlo integration"
BLEI = "Blei, Kucukelbir and McAuliffe (2017), Variational inference, https://arxiv.org/abs/1601.00670"


@dataclass(frozen=True)
class Law:
    """One law.

    Attributes:
        run: named as the law is; yields what it finds of a ``Bench`` or of a ``Scoring``, and raises ``Skip`` where it
            has nothing to say.
        reference: where it is from.
    """

    run: Callable[..., Found]
    reference: str

    @property
    def name(self) -> str:
        """What it is called by."""
        return self.run.__name__

    @property
    def statement(self) -> str:
        """What it demands."""
        return (self.run.__doc__ or "").split("\n")[0]


PAIR_LAWS = (
    Law(sites, PYRO),
    Law(shapes, PYRO),
    Law(plates, HOFFMAN),
    Law(supports, BLEI),
    Law(scales, HOFFMAN),
    Law(repeatable, PYRO),
    Law(gradients, PYRO),
    Law(density, GEWEKE),
    Law(independence, KINGMA),
    Law(loss, KINGMA),
    Law(particles, KINGMA),
    Law(minibatches, HOFFMAN),
    Law(order, HOFFMAN),
    Law(gradient, MOHAMED),
    Law(parts, SURGERY),
    Law(evidence, GEWEKE),
    Law(bound, BURDA),
    Law(weights, GEWEKE),
    Law(draws, BURDA),
    Law(exact, BLEI),
)

SCORING_LAWS = (
    Law(company, HOFFMAN),
    Law(blindness, BLEI),
    Law(affine, BLEI),
    Law(relabelling, BLEI),
    Law(normalisation, GEWEKE),
    Law(known, BURDA),
)
