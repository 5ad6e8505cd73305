# SPDX-License-Identifier: MIT
"""The report's page as a browser shows it. Skipped where there is no Chromium."""

import re
import unittest

import h5py
import numpy as np

from support import browser, seventy
from support.case import Case
from support.program import run

SMALL = {"hidden": 256, "intermediate": 768, "kv": 128, "layers": 6}


@unittest.skipUnless(browser.CHROMIUM, browser.MISSING)
class Page(Case):
    def setUp(self):
        super().setUp()
        self.browser = browser.Browser(self.folder)

    def report(self, sizes=None, workers=3):
        """The page of a made-up model."""
        seventy.write_statistics(self.out, sizes or SMALL, workers)
        self.succeeds(run("report", self.out))
        return self.out / "awqrun-report.html"

    def expect_laid_out(self, page, width):
        layout = self.browser.probe(page, browser.LAYOUT, width=width)
        self.assertEqual(layout["width"], width)
        self.assertLessEqual(layout["scroll"], width)
        self.assertEqual(layout["outside"], [])
        self.assertEqual(layout["strayed"], [])
        self.assertEqual(len(layout["drawings"]), 7)
        for drawn_width, drawn_height in layout["drawings"]:
            self.assertGreater(drawn_width, 0.8 * min(width, 1080) - 60)
            self.assertGreater(drawn_height, 60)

    def test_it_is_laid_out_within_windows_wide_and_narrow(self):
        page = self.report()
        for width in (1280, 800):
            with self.subTest(width=width):
                self.expect_laid_out(page, width)

    def test_eighty_layers_are_laid_out_within_windows_wide_and_narrow(self):
        page = self.report(seventy.LLAMA_70B, 8)
        for width in (1280, 800):
            with self.subTest(width=width):
                self.expect_laid_out(page, width)

    def test_cells_say_the_alphas_of_the_file(self):
        page = self.report()
        tips = self.browser.probe(page, """
            const figure = document.querySelectorAll('figure')[2];
            return [...figure.querySelectorAll('[data-layer]')].map((e) => e.dataset.tip);""")
        found = {}
        for tip in tips:
            layer, name, alpha = re.match(r"layer (\d+), ([\w, ]+)\n(alpha [\d.]+|.*)", tip).groups()
            found[int(layer), name] = alpha
        names = {"qkv": "q, k, v", "o": "o", "gate_up": "gate, up", "down": "down"}
        with h5py.File(self.out / "awqrun.h5") as file:
            for layer, record in file["layers"].items():
                for group, name in names.items():
                    chosen = record["groups"][group].attrs["chosen"]
                    expected = f"alpha {record['groups'][group]['alpha'][chosen]:.2f}" \
                        if chosen >= 0 else "not searched"
                    self.assertEqual(found.pop((int(layer), name)), expected)
        self.assertEqual(found, {})

    def test_a_layer_that_is_picked_is_the_one_shown(self):
        page = self.report()
        shown = self.browser.probe(page, """
            const title = () => document.querySelectorAll('figure')[3].querySelector('svg')
              .getAttribute('aria-label');
            const seen = [title()];
            const go = (type, element) =>
              (element.dispatchEvent(new MouseEvent(type, { bubbles: true })), seen.push(title()));
            go('click', document.querySelector('.cell[data-layer="2"]'));
            go('click', document.querySelector('[aria-label="next layer"]'));
            const list = document.querySelector('select');
            list.value = '5';
            go('change', list);
            seen.push(document.querySelector('[type=range]').value);
            return seen;""")
        self.assertEqual(shown, ["Loss by alpha, layer 1", "Loss by alpha, layer 2",
                                 "Loss by alpha, layer 3", "Loss by alpha, layer 5", "5"])

    def test_views_can_be_chosen(self):
        page = self.report()
        before, after, group = self.browser.probe(page, """
            const figures = document.querySelectorAll('figure');
            const seen = [figures[1].querySelector('.plot').textContent];
            document.querySelector('[name=linearView][value=rounding]').click();
            seen.push(figures[1].querySelector('.plot').textContent);
            document.querySelector('[name=channelGroup][value=down]').click();
            seen.push(figures[4].querySelector('svg').getAttribute('aria-label'));
            return seen;""")
        self.assertNotEqual(before, after)
        self.assertEqual(group, "Largest input channels of down")

    def test_every_drawing_is_labelled_and_described(self):
        labels = self.browser.probe(self.report(), """
            return [...document.querySelectorAll('svg[role=img]')].map((e) => [
              e.getAttribute('aria-label'),
              document.getElementById(e.getAttribute('aria-describedby')).textContent]);""")
        self.assertEqual(len(labels), 7)
        for label, description in labels:
            self.assertGreater(len(label), 10)
            self.assertGreater(len(description), 10)

    def test_it_is_light_or_dark_as_the_reader_likes(self):
        page = self.report()
        light, dark = (self.browser.pixels(page, option) for option in (browser.LIGHT, browser.DARK))
        for pixels in (light, dark):
            self.assertEqual(pixels.shape, (900, 1280, 3))
            colours = np.unique(pixels.reshape(-1, 3), axis=0)
            self.assertGreater(len(colours), 100)
            ink = np.abs(pixels.astype(int) - pixels[0, 0]).sum(2) > 60
            self.assertGreater(ink.mean(), 0.01)
            self.assertFalse(ink[:, -40:].any() or ink[:, :40].any(), "ink in the margin")
        self.assertGreater(np.median(light), 240)
        self.assertLess(np.median(dark), 40)

    def test_it_prints_on_some_pages(self):
        pdf = self.browser.pdf(self.report())
        self.assertTrue(pdf.startswith(b"%PDF-"))
        self.assertIn(len(re.findall(rb"/Type\s*/Page\b", pdf)), range(3, 12))

    def test_names_are_text_and_never_markup(self):
        self.out = self.folder / "</script><img src=x onerror=alert(1)>&amp;'\""
        name, images = self.browser.probe(self.named_page(), """
            return [document.querySelector('h1').textContent,
                    document.querySelectorAll('img').length];""")
        self.assertEqual((name, images), (self.out.name, 0))

    def named_page(self):
        """The page under a name that a URL can have."""
        self.out.parent.mkdir(exist_ok=True)
        self.out = self.folder / self.out.name.replace("/", "∕")
        page = self.report()
        plain = self.folder / "page.html"
        plain.write_text(page.read_text())
        return plain

    def test_a_broken_page_is_noticed(self):
        """The checks above can fail."""
        page = self.report()
        whole = page.read_text()
        page.write_text(whole.replace("drawHead();\n", "noSuchFunction();\n", 1))
        with self.assertRaisesRegex(AssertionError, "noSuchFunction is not defined"):
            self.browser.probe(page, browser.LAYOUT)
        page.write_text(whole.replace("max-width: 1080px", "width: 1500px", 1))
        with self.assertRaises(AssertionError):
            self.expect_laid_out(page, 1280)


if __name__ == "__main__":
    unittest.main()
