"""Floor 4: the latent explorer, one page in which a decoder answers for any point z."""

from ppl_models.explorer.page import write_explorer

__all__ = ["write_explorer"]
