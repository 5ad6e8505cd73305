# SPDX-License-Identifier: MIT
"""The report's page as a browser shows it. Skipped where there is no Chromium."""

import pathlib
import re
import shutil
import tempfile
import unittest

import h5py
import numpy as np

from support import browser, seventy
from support.program import run

SMALL = {"hidden": 256, "intermediate": 768, "kv": 128, "layers": 6}
FIGURES = 8

# One visit tells all that most tests ask: a browser takes a second to start.
VISIT = """
  const figures = [...document.querySelectorAll('figure')];
  const picture = (i) => figures[i].querySelector('svg');
  const seen = { layout: (() => {""" + browser.LAYOUT + """})() };
  seen.alphas = [...picture(2).querySelectorAll('[data-layer]')].map((e) => e.dataset.tip);
  seen.labels = [...document.querySelectorAll('svg[role=img]')].map((e) => [
    e.getAttribute('aria-label'),
    document.getElementById(e.getAttribute('aria-describedby')).textContent]);
  seen.captions = figures.map((e) => e.querySelector('figcaption').textContent);

  const shown = () => picture(3).getAttribute('aria-label');
  const go = (type, element) => {
    element.dispatchEvent(new MouseEvent(type, { bubbles: true }));
    return shown();
  };
  const list = document.querySelector('select');
  seen.first = shown();
  seen.clicked = go('click', document.querySelector('.cell[data-layer="2"]'));
  seen.next = go('click', document.querySelector('[aria-label="next layer"]'));
  list.value = '5';
  seen.listed = go('change', list);
  seen.slider = document.querySelector('[type=range]').value;

  seen.written = picture(1).textContent;
  document.querySelector('[name=linearView][value=rounding]').click();
  seen.rounding = picture(1).textContent;
  document.querySelector('[name=channelGroup][value=down]').click();
  seen.group = picture(4).getAttribute('aria-label');

  const mark = picture(0).querySelector('[data-tip]');
  mark.dispatchEvent(new PointerEvent('pointermove', { bubbles: true }));
  seen.tip = [document.getElementById('tip').textContent, mark.dataset.tip];
  return seen;
"""


def write_report(folder, sizes, workers):
    """The page of a made-up model."""
    seventy.write_statistics(folder, sizes, workers)
    result = run("report", folder)
    assert result.code == 0, result
    return folder / "awqrun-report.html"


@unittest.skipUnless(browser.CHROMIUM, browser.MISSING)
class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="awqrun-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.browser = browser.Browser(cls.folder)
        cls.page = write_report(cls.folder / "small", SMALL, 3)
        cls.seen = cls.browser.probe(cls.page, VISIT)

    def expect_laid_out(self, layout, width):
        self.assertEqual(layout["width"], width)
        self.assertLessEqual(layout["scroll"], width)
        self.assertEqual(layout["outside"], [])
        self.assertEqual(layout["strayed"], [])
        self.assertEqual(len(layout["drawings"]), FIGURES)
        for drawn_width, drawn_height in layout["drawings"]:
            self.assertGreater(drawn_width, 0.8 * min(width, 1080) - 60)
            self.assertGreater(drawn_height, 60)

    def test_it_is_laid_out_within_the_window(self):
        self.expect_laid_out(self.seen["layout"], 1280)

    def test_eighty_layers_are_laid_out_within_windows_wide_and_narrow(self):
        page = write_report(self.folder / "large", seventy.LLAMA_70B, 8)
        for width in (1280, 800):
            with self.subTest(width=width):
                layout = self.browser.probe(page, browser.LAYOUT, width=width)
                self.expect_laid_out(layout, width)

    def test_experts_have_a_row_each_and_say_what_they_saw(self):
        sizes = {**seventy.MIXTURE, "layers": 3}
        page = write_report(self.folder / "mixture", sizes, 2)
        seen = self.browser.probe(page, """
            const figures = [...document.querySelectorAll('figure')];
            const experts = figures[2];
            document.querySelector('[name=expertView][value=tokens]').click();
            return { tips: [...experts.querySelectorAll('[data-tip]')].map((e) => e.dataset.tip),
                label: experts.querySelector('svg').getAttribute('aria-label'),
                names: figures[1].querySelector('svg').textContent,
                layout: (() => {""" + browser.LAYOUT + """})() };""")
        self.assertEqual(seen["label"], "Routed experts by layer: tokens")
        self.assertEqual(len(seen["layout"]["drawings"]), FIGURES + 1)
        self.assertEqual(seen["layout"]["outside"], [])
        self.assertLessEqual(seen["layout"]["scroll"], 1280)
        self.assertIn("expert down", seen["names"])
        self.assertEqual(len(seen["tips"]), 3 * 128)
        self.assertIn("layer 0, expert 7\nthis layer has no experts", seen["tips"])
        self.assertIn("layer 2, expert 2\nno calibration token came here", seen["tips"])
        with h5py.File(page.with_name("awqrun.h5")) as file:
            tokens = file["layers/00001/groups/experts.100.down"].attrs["tokens"]
        said = [tip for tip in seen["tips"] if tip.startswith("layer 1, expert 100\n")]
        self.assertRegex(said[0], f"tokens {tokens:,}\\n")

    def test_cells_say_the_alphas_of_the_file(self):
        found = {}
        for tip in self.seen["alphas"]:
            said = re.match(r"layer (\d+), ([\w, ]+)\n(alpha [\d.]+|.*)", tip).groups()
            found[int(said[0]), said[1]] = said[2]
        names = {"qkv": "q, k, v", "o": "o", "gate_up": "gate, up", "down": "down"}
        with h5py.File(self.page.with_name("awqrun.h5")) as file:
            for layer, record in file["layers"].items():
                for group, name in names.items():
                    chosen = record["groups"][group].attrs["chosen"]
                    expected = f"alpha {record['groups'][group]['alpha'][chosen]:.2f}" \
                        if chosen >= 0 else "not searched"
                    self.assertEqual(found.pop((int(layer), name)), expected)
        self.assertEqual(found, {})

    def test_the_layer_that_is_picked_is_the_one_shown(self):
        shown = [self.seen[key] for key in ("first", "clicked", "next", "listed")]
        self.assertEqual(shown, [f"Loss by alpha, layer {layer}" for layer in (1, 2, 3, 5)])
        self.assertEqual(self.seen["slider"], "5")

    def test_views_can_be_chosen(self):
        self.assertNotEqual(self.seen["written"], self.seen["rounding"])
        self.assertEqual(self.seen["group"], "Largest input channels of down")

    def test_the_mark_under_the_pointer_is_explained(self):
        shown, said = self.seen["tip"]
        self.assertEqual(shown, said)
        self.assertIn("plain rounding", shown)

    def test_every_drawing_is_labelled_described_and_numbered(self):
        self.assertEqual(len(self.seen["labels"]), FIGURES)
        for label, description in self.seen["labels"]:
            self.assertGreater(len(label), 10)
            self.assertGreater(len(description), 10)
        for number, caption in enumerate(self.seen["captions"], 1):
            self.assertTrue(caption.startswith(f"Figure {number}. "), caption)

    def test_it_is_light_or_dark_as_the_reader_likes(self):
        light, dark = (self.browser.pixels(self.page, option)
                       for option in (browser.LIGHT, browser.DARK))
        for pixels in (light, dark):
            self.assertEqual(pixels.shape, (900, 1280, 3))
            self.assertGreater(len(np.unique(pixels.reshape(-1, 3), axis=0)), 100)
            ink = np.abs(pixels.astype(int) - pixels[0, 0]).sum(2) > 60
            self.assertGreater(ink.mean(), 0.01)
            self.assertFalse(ink[:, -40:].any() or ink[:, :40].any(), "ink in the margin")
        self.assertGreater(np.median(light), 240)
        self.assertLess(np.median(dark), 40)

    def test_it_prints_on_some_pages(self):
        pdf = self.browser.pdf(self.page)
        self.assertTrue(pdf.startswith(b"%PDF-"))
        self.assertIn(len(re.findall(rb"/Type\s*/Page\b", pdf)), range(3, 12))

    def test_names_are_text_and_never_markup(self):
        name = "<img src=x onerror=alert(1)><\N{FRACTION SLASH}script>&amp;'\""
        page = self.folder / "named.html"
        page.write_text(write_report(self.folder / name, SMALL, 1).read_text())
        found = self.browser.probe(page, """
            return [document.querySelector('h1').textContent,
                    document.querySelectorAll('img').length];""")
        self.assertEqual(found, [name, 0])

    def test_a_broken_page_is_noticed(self):
        """The checks above can fail."""
        whole, page = self.page.read_text(), self.folder / "broken.html"
        page.write_text(whole.replace("drawHead();\n", "noSuchFunction();\n", 1))
        with self.assertRaisesRegex(AssertionError, "noSuchFunction is not defined"):
            self.browser.probe(page, browser.LAYOUT)
        page.write_text(whole.replace("max-width: 1080px", "width: 1500px", 1))
        with self.assertRaises(AssertionError):
            self.expect_laid_out(self.browser.probe(page, browser.LAYOUT), 1280)


if __name__ == "__main__":
    unittest.main()
