"""Finds the browser that pages are looked at with: only tests look at pages."""

import shutil

from approxhw.common.errors import ToolNotFoundError
from approxhw.common.tools import Tool


def find_chromium() -> Tool:
    """Return a Chromium that renders headless."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return Tool("chromium", (path, "--headless", "--no-sandbox", "--disable-gpu"))
    raise ToolNotFoundError("chromium", "install Chromium (Debian: apt-get install chromium)")
