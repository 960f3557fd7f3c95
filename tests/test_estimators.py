"""The faces keep scikit-learn's contract to the letter, and say what the families say."""


from sklearn.utils.estimator_checks import parametrize_with_checks

from ppl_models import GaussianMixtureDensity, MixtureDensity, NaiveBayesClassifier, VAEDensity

QUICK = VAEDensity(max_iter=20, hidden=(8,), draws=20, random_state=0)


@parametrize_with_checks([NaiveBayesClassifier(), MixtureDensity(n_init=4), GaussianMixtureDensity(n_init=4), QUICK])
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)
