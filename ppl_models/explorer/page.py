"""The page: a family's decoder, its prior and its encoded rows in one HTML file that asks for nothing else.

The scripts and the style are the files beside this one. A Content-Security-Policy names them by their hashes and allows
no request at all.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ppl_models.datasets import Dataset
from ppl_models.errors import InputError
from ppl_models.explorer.heads import Facts, head_facts
from ppl_models.explorer.priors import prior_facts
from ppl_models.explorer.rows import Concept, cloud_facts, concept_facts, row_facts
from ppl_models.explorer.steps import Numbers, steps_of
from ppl_models.families import Amortised, Family, LabelledVAE
from ppl_models.families.decoding import Decoding
from ppl_models.inference.decoded import require_decoder
from ppl_models.inference.latent import prior_of
from ppl_models.reports.canvas import PALETTE

HERE = Path(__file__).parent
SCRIPTS = ("decoder.js", "map.js", "page.js")
STYLE = "page.css"
LARGEST = 3_000_000  # bytes of a page
MARK = '<meta name="generator" content="ppl_models explorer">'  # by which a page is known to be ours


def write_explorer(
    family: Family,
    rows: Dataset,
    path: Path | str,
    *,
    train: Dataset | None = None,
    concepts: Mapping[str, Concept] | None = None,
    seed: int = 0,
) -> Path:
    """Write a page that decodes any point z at once, with sliders, a map and walks between rows; it needs no network.

    The decoder itself runs in the page, in double precision on weights of float32, and gives what ``family.decode``
    gives. Log densities of z are under the prior, nats, higher is more probable; an autoencoder has none.

    Args:
        family: a fitted autoencoder or variational autoencoder.
        rows: rows of its preparation that walks lead from and to; at most 1,000 of them are kept, drawn at random.
        path: the file, such as explorer.html; a former explorer in its place is replaced.
        train: its training rows, which give the sliders their ranges and the map its cloud; ``rows`` if None.
        concepts: directions by name, such as ``evaluation.concept_vector`` finds them; each gets a slider.
        seed: the seed of what is drawn: rows of a large table, and the aggregate posterior.

    Returns:
        The file.

    Raises:
        InputError: a family without a decoder or never fitted, a layer, head or prior that the page cannot run, rows of
            another preparation, a concept of other dimensions, a page larger than 3 MB, or a place that holds
            something else or cannot be written.

    >>> from tempfile import mkdtemp
    >>> from ppl_models import VAE, fit, load, prepare
    >>> from ppl_models.inference import Gradient
    >>> rows = prepare(load("iris").frame, load("iris").schema)(load("iris").frame)
    >>> family = fit(VAE(rows.schema, latent=2), rows, seed=0, method=Gradient(steps=20)).family
    >>> write_explorer(family, rows, Path(mkdtemp()) / "explorer.html").name
    'explorer.html'
    """
    place = _free(Path(path))
    require_decoder(family, "explorer")
    numbers, facts = Numbers(), _facts(family, concepts)
    facts["decoder"] = steps_of(family.model.decoder, numbers)
    facts["heads"] = [head_facts(head, numbers) for head in family.model.heads]
    prior = prior_of(family, "explorer")
    facts["prior"] = prior_facts(prior, numbers) if isinstance(family, Amortised) else None
    facts["walks"] = row_facts(family, rows, numbers, seed=seed)
    facts["cloud"] = cloud_facts(family, rows if train is None else train, numbers, seed=seed)
    facts["cloud"]["apart"] = train is not None
    text = _page(facts | {"numbers": numbers.text()})
    if len(text) > LARGEST:
        raise InputError(
            f"explorer: expected a page of at most {LARGEST / 1e6:g} MB, got {len(text) / 1e6:.1f} MB, "
            f"{numbers.count:,} numbers; a decoder of fewer hidden units fits"
        )
    return _write(place, text)


def _facts(family: Decoding, concepts: Mapping[str, Concept] | None) -> Facts:
    """What the page tells of the family without any numbers of its networks."""
    schema, preparation = family.schema, family.preparation
    labelled = isinstance(family, LabelledVAE)
    hidden = family.latent - family.model.below.latent if hasattr(family.model, "below") else 0
    return {
        "family": type(family).__name__,
        "latent": family.latent,
        "passed": hidden,  # dimensions of z, the first ones, that the decoder does not look at
        "columns": [
            {"name": column.name, "kind": column.kind, "categories": list(map(str, column.categories))}
            for column in schema.columns
        ],
        "loc": preparation.loc.tolist(),
        "scale": preparation.scale.tolist(),
        "image": schema.image_shape,
        "label": schema.label and {"name": schema.label.name, "classes": list(map(str, schema.label.categories))},
        "shares": family.log_shares.exp().tolist() if labelled else None,
        "concepts": concept_facts(concepts, family.latent),
        "palette": PALETTE,
    }


def _page(facts: Facts) -> str:
    script, style = ("\n".join((HERE / name).read_text("utf-8") for name in names) for names in (SCRIPTS, (STYLE,)))
    pages = Environment(
        loader=PackageLoader("ppl_models.explorer", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return pages.get_template("page.html.j2").render(
        facts=facts,
        mark=Markup(MARK),
        script=Markup(script),
        style=Markup(style),
        script_hash=_hash(script),
        style_hash=_hash(style),
        data=Markup(json.dumps(facts, allow_nan=False).replace("<", "\\u003c")),
    )


def _hash(text: str) -> str:
    """As a Content-Security-Policy names a script or a style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _free(place: Path) -> Path:
    """Refuse a place that holds something else than a former explorer."""
    if place.is_dir() or (place.exists() and MARK.encode() not in place.read_bytes()):
        raise InputError(f"explorer: expected a new file or a former explorer, got {place}")
    return place


def _write(place: Path, text: str) -> Path:
    """Write the file whole or not at all."""
    temporary = place.with_name(f".{place.name}.{uuid4().hex}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(place)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise InputError(f"explorer: expected a place that can be written, got {place}: {error}") from error
    return place
