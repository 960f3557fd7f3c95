"""The latent explorer: its page decodes what the family decodes, answers mouse and keyboard, and asks for nothing."""

import re
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from cases import rows_of
from PIL import Image
from torch import nn

from ppl_models.datasets import Column, Dataset, Schema, prepare
from ppl_models.distributions import DecoderLikelihoods, LatentPrior, seeded
from ppl_models.errors import InputError
from ppl_models.evaluation import concept_vector, interpolate
from ppl_models.explorer import write_explorer
from ppl_models.families import (
    VAE,
    Amortised,
    Autoencoder,
    ConditionalVAE,
    ContractiveAutoencoder,
    GaussianMixture,
    HierarchicalVAE,
    LabelledVAE,
    Latent,
    SemiSupervisedVAE,
)
from ppl_models.inference import decode, decode_images, encode
from ppl_models.nn import Convolutional, Dense

ROWS = 150
NARROW, WIDE = {"width": 390, "height": 844}, {"width": 1100, "height": 800}


@cache
def photographs() -> Dataset:
    """Images of 5 × 7 real pixels from 0 to 1."""
    random = np.random.default_rng(0)
    schema = Schema(tuple(Column(f"p{index}", "real") for index in range(35)), image_shape=(5, 7))
    frame = pd.DataFrame(random.random((ROWS, 35)), columns=list(schema.names))
    return prepare(frame, schema)(frame)


def bits() -> Dataset:
    return rows_of("digits_binary", ROWS)


def wine() -> Dataset:
    return rows_of("wine", ROWS)


def grey() -> Dataset:
    return rows_of("digits", ROWS)


def customers() -> Dataset:
    return rows_of("fast_food_customers", ROWS, 0.1)


def of(rows: Callable[[], Dataset], kind: type[Latent] = VAE, **options) -> tuple[Callable[[], Dataset], type, dict]:
    return rows, kind, {"latent": 3, **options}


def levels(kind: str) -> DecoderLikelihoods:
    return DecoderLikelihoods(levels=kind)


CASES = {
    "dense, bits": of(bits, latent=2),
    "convolutional, batch norm, bits": of(bits, network=Convolutional((4, 8), (16,), batch_norm=True)),
    "convolutional, odd sizes, continuous Bernoulli": of(
        photographs,
        network=Convolutional((3, 4, 2), (), activation="tanh"),
        likelihoods=DecoderLikelihoods(real="continuous-bernoulli"),
    ),
    "mixed table, mixture prior": of(
        customers, network=Dense((16, 8), activation="softplus"), prior=LatentPrior("mixture", 4)
    ),
    "negative binomial, VampPrior of full normals": of(
        customers,
        network=Dense((16,), activation="relu"),
        likelihoods=DecoderLikelihoods(counts="negative-binomial", scale="column"),
        guide="full",
        prior=LatentPrior("vamp", 3),
    ),
    "linear": of(customers, network=Dense(())),
    "grey levels, one free probability each": of(grey, network=Convolutional((4,), (8,))),
    "discretised logistic": of(grey, likelihoods=levels("discretised-logistic")),
    "dequantised normal": of(grey, likelihoods=levels("dequantised-normal")),
    "conditional": of(wine, ConditionalVAE),
    "conditional, grey levels": of(grey, ConditionalVAE, likelihoods=levels("discretised-logistic")),
    "semi-supervised": of(customers, SemiSupervisedVAE, prior=LatentPrior("mixture", 2)),
    "hierarchical": of(customers, HierarchicalVAE, top=2, prior=LatentPrior("mixture", 2)),
    "autoencoder": of(customers, Autoencoder, latent=1),
    "contractive autoencoder": of(bits, ContractiveAutoencoder, dtype=torch.float64),
}


@cache
def made(name: str) -> tuple[Latent, Dataset]:
    """A family with weights drawn at random, which is all that its decoder needs to be compared."""
    rows, kind, options = CASES[name]
    family = kind(rows().schema, **{"network": Dense((16,)), **options})
    family.adopt(rows())
    family.initialise(rows(), seed=0)
    with seeded(1), torch.no_grad():
        for parameter in family.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
        for module in family.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
    return family, rows()


def points_of(family: Latent) -> np.ndarray:
    return 1.5 * np.random.default_rng(2).standard_normal((12, family.latent))


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright: pip install it")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("the browser tests need chromium: apt-get install chromium")
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(executable_path=chromium, args=["--process-per-site"])
        yield found
        found.close()


def visits(new_page: Callable[..., object], folder: Path) -> Iterator[Callable[..., object]]:
    """Open a case's page; at the end, nothing was said on the console and nothing was asked for."""
    said, asked, opened = [], [], []

    def visit(name: str, *, options: dict | None = None, **context):
        family, rows = made(name)
        path = write_explorer(family, rows, folder / f"{len(opened)}.html", **(options or {}))
        page = new_page(**context)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        opened.append(page)
        return page

    yield visit
    for page in opened:
        page.close()
    assert said == []
    assert len(asked) == len(opened)


@pytest.fixture
def visit(browser, tmp_path) -> Iterator[Callable[..., object]]:
    """A page of the test's own."""
    yield from visits(lambda viewport=WIDE: browser.new_page(viewport=viewport), tmp_path)


@pytest.fixture(scope="module")
def read(browser, tmp_path_factory) -> Iterator[Callable[..., object]]:
    """A page that several tests ask, and none changes."""
    context = browser.new_context(viewport=WIDE)
    for visit in visits(context.new_page, tmp_path_factory.mktemp("pages")):
        yield cache(visit)
    context.close()


def z_of(page) -> np.ndarray:
    return np.array(page.evaluate("explorer.state().z"))


def decoded(page, z: np.ndarray, label: int | None = None) -> np.ndarray:
    return np.array(page.evaluate("([zs, label]) => zs.map((z) => explorer.decode(z, label))", [z.tolist(), label]))


@pytest.mark.parametrize("name", CASES)
def test_the_page_decodes_what_the_family_decodes(read, name):
    """In prepared units, for every class that the decoder can be told, and for the means over classes."""
    (family, _), page = made(name), read(name)
    z = points_of(family)
    tensor = torch.tensor(z)
    np.testing.assert_allclose(decoded(page, z), family.decode(tensor), rtol=1e-6, atol=1e-5)
    for label in range(family.schema.classes if isinstance(family, LabelledVAE) else 0):
        expected = family.decode(tensor, torch.full((len(z),), label))
        np.testing.assert_allclose(decoded(page, z, label), expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("name", [name for name, (rows, _, _) in CASES.items() if rows in (bits, grey, photographs)])
def test_the_page_draws_the_means_that_decode_images_gives(read, name):
    """Between the levels, where ``family.decode`` is rounded; in prepared units until they are drawn."""
    (family, rows), page = made(name), read(name)
    z, schema = points_of(family), family.schema
    means = np.array(page.evaluate("(zs) => zs.map((z) => explorer.means(z))", z.tolist()))
    highest = np.array([max(column.cardinality - 1, 1) for column in schema.columns])
    found = (means * rows.scale.numpy() + rows.loc.numpy()) / highest
    np.testing.assert_allclose(found, decode_images(family, z).reshape(len(z), -1), atol=1e-5)


@pytest.mark.parametrize("name", [name for name, (_, kind, _) in CASES.items() if issubclass(kind, Amortised)])
def test_the_page_tells_the_log_density_of_z_and_the_share_of_rows_below(read, name):
    (family, rows), page = made(name), read(name)
    z = points_of(family)
    with torch.no_grad():
        expected, among = (
            family.prior().log_prob(torch.tensor(codes).to(family.dtype)).double().numpy()
            for codes in (z, encode(family, rows).to_numpy())
        )
    found = np.array(page.evaluate("(zs) => zs.map(explorer.logPrior)", z.tolist()))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    shares = np.array(page.evaluate("(all) => all.map(explorer.shareBelow)", found.tolist()))
    np.testing.assert_allclose(shares, (among < expected[:, None]).mean(1), atol=1.5 / len(rows))
    own = page.evaluate("explorer.logPrior(explorer.state().z)")
    assert page.locator("#density").inner_text() == f"{own:.2f}".replace("-", "−")


def test_an_autoencoder_has_no_density_and_the_page_says_so(read):
    page = read("autoencoder")
    assert "An autoencoder is no density" in page.locator(".summary").inner_text()
    assert page.locator("#density").count() == 0
    assert page.evaluate("explorer.logPrior([0.5])") is None


@pytest.mark.parametrize("kind", ["linear", "spherical"])
def test_walks_are_those_of_interpolate(read, kind):
    page, (start, end) = read("dense, bits"), np.random.default_rng(3).standard_normal((2, 5))
    call = "([start, end, at, kind]) => explorer.between(start, end, at, kind)"
    found = [page.evaluate(call, [start.tolist(), end.tolist(), at, kind]) for at in np.linspace(0, 1, 7).tolist()]
    np.testing.assert_allclose(found, interpolate(start, end, steps=7, kind=kind), atol=1e-12)
    assert (page.evaluate(call, [[1.0, 0.0], [-2.0, 0.0], 0.5, kind]) is None) == (kind == "spherical")


def test_a_dragged_slider_moves_z_and_the_picture_is_what_the_family_decodes_there(visit):
    (family, _), page = made("dense, bits"), visit("dense, bits")
    before, slider = z_of(page), page.locator("#z2")
    slider.hover()
    box = slider.bounding_box()
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    z = z_of(page)
    assert z[0] == before[0]
    assert z[1] == pytest.approx(float(page.locator("#z2").input_value()), abs=1e-9)
    assert z[1] > np.mean([float(page.locator("#z2").get_attribute(end)) for end in ("min", "max")])
    shown = page.evaluate("Array.from(picture.getContext('2d').getImageData(0, 0, 8, 8).data)")
    np.testing.assert_allclose(np.reshape(shown, (8, 8, 4))[..., 0], 255 * decode_images(family, z), atol=0.51)


def test_the_keyboard_moves_sliders_and_the_map(visit):
    page = visit("mixed table, mixture prior")
    before = z_of(page)
    page.locator("#z1").press("ArrowRight")
    page.locator("#map").press("ArrowUp")
    moved = z_of(page) - before
    assert moved[0] > 0
    up = int(page.locator("#up").input_value())
    assert moved[up] > 0
    assert np.count_nonzero(moved) == len({0, up})


def test_dragging_on_the_map_puts_z_there_and_leaves_other_dimensions_alone(visit):
    page = visit("mixed table, mixture prior")
    page.locator("#across").select_option("z3")
    page.locator("#up").select_option("z1")
    before, wanted = z_of(page), np.array([0.4, 0.0, -0.3])
    wanted[1] = before[1]
    page.locator("#map").scroll_into_view_if_needed()
    box = page.locator("#map").bounding_box()
    x, y = page.evaluate("(z) => explorer.pixelsOf(z)", wanted.tolist())
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + x, box["y"] + y, steps=3)
    page.mouse.up()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    np.testing.assert_allclose(z_of(page), wanted, atol=0.03)
    assert z_of(page)[1] == before[1]


def test_rows_are_chosen_on_the_map_and_from_lists(visit):
    (family, rows), page = made("dense, bits"), visit("dense, bits")
    codes = encode(family, rows).to_numpy()
    page.locator("#start").select_option("8")
    np.testing.assert_allclose(z_of(page), codes[8], atol=1e-6)
    farthest = int(np.linalg.norm(codes - codes.mean(0), axis=1).argmax())
    page.locator("#pick-end").click()
    x, y = page.evaluate("(z) => explorer.pixelsOf(z)", codes[farthest].tolist())
    page.locator("#map").click(position={"x": x, "y": y})
    assert page.evaluate("explorer.state().end") == farthest
    assert page.locator("#end").input_value() == str(farthest)
    np.testing.assert_allclose(z_of(page), codes[farthest], atol=1e-6)


def test_a_walk_is_played_along_its_path_and_paused(visit):
    (family, rows), page = made("dense, bits"), visit("dense, bits")
    codes = encode(family, rows).to_numpy()
    page.get_by_label("spherical").check()
    page.locator("#play").click()
    page.evaluate(
        "new Promise((resolve) => { const look = () => "
        "(explorer.state().at > 0.05 ? resolve() : requestAnimationFrame(look)); look(); })"
    )
    page.locator("#play").click()
    found = page.evaluate("explorer.state()")
    page.wait_for_timeout(100)
    assert page.evaluate("explorer.state()") == found
    assert not found["playing"]
    assert 0 < found["at"] < 1
    path = interpolate(codes[found["start"]], codes[found["end"]], steps=10_001, kind="spherical")
    np.testing.assert_allclose(found["z"], path[round(10_000 * found["at"])], atol=1e-3)


def test_a_concept_is_added_to_z_as_often_as_its_slider_says_and_stays_on_a_walk(visit):
    (family, rows), name = made("dense, bits"), "dense, bits"
    codes = encode(family, rows).to_numpy()
    concept = concept_vector(codes, rows.labels.numpy() == 0, seed=0)
    page = visit(name, options={"concepts": {"zero": concept, "</script>": np.array([0.0, 1.0])}})
    before = z_of(page)
    page.get_by_label("zero").fill("1.5")
    np.testing.assert_allclose(z_of(page), concept.apply(before, strength=1.5), atol=1e-6)
    page.locator("#start").select_option("8")
    np.testing.assert_allclose(z_of(page), concept.apply(codes[8], strength=1.5), atol=1e-6)
    assert f"{concept.ratio:.1f} times as long as by chance" in page.locator("#concepts").inner_text()


def test_a_decoder_that_is_told_a_class_takes_it_from_the_row_or_the_list(visit):
    (family, rows), page = made("conditional"), visit("conditional")
    assert page.evaluate("explorer.state().label") == int(rows.labels[0])
    page.locator("#label").select_option("2")
    number = decode(family, z_of(page)[None], labels=2).iloc[0, 0]
    assert number_in(page, 0) == pytest.approx(number, rel=1e-3)
    page.locator("#label").select_option("all, by their shares")
    assert page.evaluate("explorer.state().label") is None


def number_in(page, row: int) -> float:
    return float(page.locator("#cells tr").nth(row).locator(".decoded").inner_text().replace("−", "-"))


def test_a_decoded_row_is_shown_in_raw_units_and_categories(read):
    (family, rows), page = made("mixed table, mixture prior"), read("mixed table, mixture prior")
    z, kinds = z_of(page), family.schema.kinds
    row, raw = decode(family, z[None]).iloc[0], family.preparation.invert(rows.values)
    for index, (name, kind) in enumerate(kinds.items()):
        line = page.locator("#cells tr").nth(index)
        assert name in line.locator("th").inner_text()
        if kind in ("real", "positive"):
            assert number_in(page, index) == pytest.approx(row[name], rel=1e-3)
            seen = raw[name][rows.observed[:, index].numpy()]
            ends = line.locator("td").nth(1).inner_text().split(" to ")
            np.testing.assert_allclose([float(end) for end in ends], [seen.min(), seen.max()], rtol=1e-3)
        if kind == "count":
            assert number_in(page, index) == pytest.approx(float(family.decode(torch.tensor(z))[index]), rel=1e-3)
        if kind == "categorical":
            assert line.locator(".decoded").inner_text() == row[name]
    assert set(kinds.values()) == {"positive", "count", "binary", "categorical", "real"}


@pytest.mark.parametrize("name", ["dense, bits", "conditional", "mixed table, mixture prior"])
def test_the_page_fits_a_phone_and_is_legible_in_both_themes(visit, name):
    """Nothing runs over the side, all text has the contrast of WCAG's AA, 4.5 to 1, and every control has a name."""
    page, pictures = visit(name, viewport=NARROW), []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
        assert page.evaluate(CONTRASTS) >= 4.5
        pictures.append(np.asarray(Image.open(BytesIO(page.screenshot(full_page=True))).convert("L")))
    light, dark = pictures
    assert light.shape == dark.shape
    assert light.mean() > 200
    assert dark.mean() < 80
    controls = page.evaluate(
        "Array.from(document.querySelectorAll('input, select, button, canvas'), (each) => [each.outerHTML, "
        "each.labels?.length || each.ariaLabel || each.textContent.trim()])"
    )
    assert [control for control, named in controls if not named] == []


CONTRASTS = """() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3)
      .map((each) => each / 255).map((x) => (x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const found = getComputedStyle(element).backgroundColor;
    return found === "rgba(0, 0, 0, 0)" ? ground(element.parentElement) : found;
  };
  const written = Array.from(document.body.querySelectorAll("*")).filter((element) =>
    Array.from(element.childNodes).some((node) => node.nodeType === 3 && node.data.trim()) && element.offsetParent);
  return Math.min(...written.map((element) => {
    const [high, low] = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  }));
}"""


def test_the_policy_of_the_page_refuses_every_request_and_every_other_script(browser, tmp_path):
    path = write_explorer(*made("dense, bits"), tmp_path / "explorer.html")
    page = browser.new_page()
    page.goto(path.as_uri())
    fetched = page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'let through', (error) => String(error))")
    assert "refused" in fetched or "Failed to fetch" in fetched
    violated = page.evaluate(
        """() => new Promise((resolve) => {
          const broken = [];
          document.addEventListener("securitypolicyviolation", (event) => {
            broken.push(event.effectiveDirective);
            if (broken.length === 3) resolve(broken.sort());
          });
          fetch("http://127.0.0.1:9/").catch(() => {});
          document.body.append(Object.assign(document.createElement("img"), { src: "http://127.0.0.1:9/x.png" }));
          document.body.append(Object.assign(document.createElement("script"), { textContent: "window.ran = true" }));
        })"""
    )
    assert violated == ["connect-src", "img-src", "script-src-elem"]
    assert page.evaluate("window.ran") is None
    page.close()


def test_names_that_look_like_markup_are_shown_as_they_are(browser, tmp_path):
    schema = Schema((Column("</script><b>", "categorical", ("<i>", "&amp;")), Column("x", "real")))
    frame = pd.DataFrame({"</script><b>": ["<i>", "&amp;"] * 10, "x": np.arange(20.0)})
    rows = prepare(frame, schema)(frame)
    family = VAE(schema, latent=2)
    family.adopt(rows)
    page = browser.new_page()
    page.goto(write_explorer(family, rows, tmp_path / "explorer.html").as_uri())
    line = page.locator("#cells tr").first
    assert line.locator("th").inner_text().startswith("</script><b>")
    assert line.locator(".decoded").inner_text() in ("<i>", "&amp;")
    page.close()


def test_a_large_table_is_thinned_by_the_seed_and_the_page_says_so(visit, tmp_path):
    rows = rows_of("fast_food_customers", 1200)
    family = VAE(rows.schema, latent=2)
    family.adopt(rows)
    first, again, other = (
        write_explorer(family, rows[:50], tmp_path / f"{index}.html", train=rows, seed=seed).read_text()
        for index, seed in enumerate((0, 0, 1))
    )
    assert first == again != other
    assert '"of": 1200, "count": 1000' in first


def test_a_page_replaces_a_former_explorer_and_nothing_else(tmp_path):
    family, rows = made("dense, bits")
    path = write_explorer(family, rows, tmp_path / "folder" / "explorer.html")
    assert path.stat().st_size < 3_000_000
    assert write_explorer(family, rows, path) == path
    assert [each.name for each in path.parent.iterdir()] == ["explorer.html"]
    path.write_text("<p>mine</p>")
    with pytest.raises(InputError, match=r"expected a new file or a former explorer, got .*explorer.html"):
        write_explorer(family, rows, path)
    with pytest.raises(InputError, match=r"expected a place that can be written, got .*explorer.html/page.html: "):
        write_explorer(family, rows, path / "page.html")
    assert path.read_text() == "<p>mine</p>"


class Gelu(nn.Module):
    """A decoder that the page knows nothing of."""

    width = 4


def changed(**parts) -> tuple[Latent, Dataset]:
    """A family with other parts in its model."""
    rows = customers()
    family = VAE(rows.schema, latent=2, network=Dense((4,)))
    family.adopt(rows)
    for name, part in parts.items():
        setattr(family.model, name, part)
    return family, rows


def never_fitted() -> tuple[Latent, Dataset]:
    return VAE(customers().schema, latent=2), customers()


def mixture() -> tuple[object, Dataset]:
    family = GaussianMixture(rows_of("iris", ROWS).schema, components=2)
    family.adopt(rows_of("iris", ROWS))
    return family, rows_of("iris", ROWS)


def diverged() -> tuple[Latent, Dataset]:
    family, rows = changed()
    nn.init.constant_(family.model.heads[0].loc.bias, torch.nan)
    return family, rows


def huge() -> tuple[Latent, Dataset]:
    family = VAE(grey().schema, latent=2, network=Dense((800,)))
    family.adopt(grey())
    return family, grey()


REFUSED = {
    "a layer": (
        lambda: changed(decoder=nn.Sequential(nn.Linear(2, 4), nn.GELU())),
        {},
        "explorer: expected a decoder of layers ImageDecoder, Linear, MLP, .*, got GELU",
    ),
    "a network": (lambda: changed(decoder=Gelu()), {}, "expected a decoder of layers .*, got Gelu"),
    "a head": (
        lambda: changed(heads=nn.ModuleList([nn.Linear(4, 5)])),
        {},
        "explorer: expected a decoder of heads BernoulliHead, CategoricalHead, .*, got Linear",
    ),
    "weights that are no numbers": (diverged, {}, "explorer: expected finite weights, got nan"),
    "a mixture": (mixture, {}, "explorer: expected a family with a decoder, got GaussianMixture"),
    "no fit": (never_fitted, {}, "VAE: expected a fitted family, got one that was never fitted"),
    "a page too large": (huge, {}, r"expected a page of at most 3 MB, got [34]\.\d MB, [\d,]+ numbers"),
    "no row": (lambda: (changed()[0], customers()[:0]), {}, "explorer: expected one row or more in rows, got none"),
    "no training row": (changed, {"train": customers()[:0]}, "explorer: expected one row or more in train, got none"),
    "other rows": (lambda: (changed()[0], bits()), {}, "VAE: expected the columns dollars_per_week, "),
    "a short concept": (
        changed,
        {"concepts": {"smile": np.zeros(3)}},
        r"concept 'smile': expected 2 finite numbers, got shape \(3,\)",
    ),
    "an endless concept": (
        changed,
        {"concepts": {"smile": np.array([0.0, np.inf])}},
        r"concept 'smile': expected 2 finite numbers, got shape \(2,\), 1 of them finite",
    ),
}


@pytest.mark.parametrize(("make", "options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_a_page_cannot_show_is_refused(tmp_path, make, options, message):
    with pytest.raises(InputError, match=message) as refusal:
        write_explorer(*make(), tmp_path / "explorer.html", **options)
    assert not re.search("\n", str(refusal.value))
    assert list(Path(tmp_path).iterdir()) == []
