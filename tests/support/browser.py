# SPDX-License-Identifier: MIT
"""A page in headless Chromium: what its scripts made of it, how it is laid out, what it looks like.

A probe is a script that is put at the end of a copy of the page; what it returns comes back through
the document's title."""

import html
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from support import png
from support.program import SLOWER

CHROMIUM = shutil.which("chromium")
MISSING = "Chromium is not installed here"
DARK, LIGHT = "--force-dark-mode", "--blink-settings=preferredColorScheme=1"

PROBE = """<script>
window.addEventListener('load', () => {{
  const result = (() => {{ {} }})();
  document.title = 'PROBE' + JSON.stringify(result) + 'END';
}});
</script></body>"""

# What stands out of the window's width, and what has no size.
LAYOUT = """
  const box = (element) => element.getBoundingClientRect();
  const leaves = (inner, outer) => inner.right > outer.right + 2 || inner.left < outer.left - 2 ||
    inner.bottom > outer.bottom + 2 || inner.top < outer.top - 2;
  const name = (element) => element.tagName + '.' + element.className;
  const shown = [...document.querySelectorAll('main *')].filter((e) => e.getClientRects().length);
  const drawings = [...document.querySelectorAll('svg[role=img]')];
  return {
    width: window.innerWidth, scroll: document.documentElement.scrollWidth,
    drawings: drawings.map((e) => [box(e).width, box(e).height]),
    outside: shown.filter((e) => !e.closest('svg, .scroll') && box(e).right > window.innerWidth + 1)
      .map(name),
    strayed: drawings.flatMap((drawing) => [...drawing.querySelectorAll('text, rect, circle')]
      .filter((e) => !e.closest('[clip-path], clipPath') && leaves(box(e), box(drawing)))
      .map((e) => e.outerHTML.slice(0, 120))),
  };
"""


class Browser:
    """Chromium with a profile of its own in `folder`."""

    def __init__(self, folder):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="browser-", dir=folder))

    def run(self, page, *options, width=1280, height=900):
        """Opens a page; gives (stdout, the scripts' errors)."""
        command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                   "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
                   f"--user-data-dir={self.folder}/profile", "--virtual-time-budget=4000",
                   "--enable-logging=stderr", f"--window-size={width},{height}", *options,
                   pathlib.Path(page).as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90 * SLOWER,
                              check=False, env={**os.environ, "HOME": str(self.folder)})
        if done.returncode:
            raise AssertionError(f"{' '.join(command)}\n{done.stderr}")
        return done.stdout, re.findall(r"^.*:CONSOLE[:(].*$", done.stderr, re.MULTILINE)

    def probe(self, page, script, **size):
        """What a script's `return` gives once the page is drawn; the page must log nothing."""
        probed = self.folder / "probed.html"
        head, end, tail = page.read_text().rpartition("</body>")
        assert end
        probed.write_text(head + PROBE.format(script) + tail)
        out, errors = self.run(probed, "--dump-dom", **size)
        if errors:
            raise AssertionError("\n".join(errors))
        return json.loads(html.unescape(re.search("<title>PROBE(.*)END</title>", out).group(1)))

    def pixels(self, page, *options, **size):
        """A screenshot of the window, uint8 [rows, columns, 3]."""
        shot = self.folder / "shot.png"
        self.run(page, f"--screenshot={shot}", *options, **size)
        return png.read(shot)

    def pdf(self, page):
        """The printed page's bytes."""
        printed = self.folder / "page.pdf"
        self.run(page, "--no-pdf-header-footer", f"--print-to-pdf={printed}")
        return printed.read_bytes()
