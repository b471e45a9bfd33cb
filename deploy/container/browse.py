"""Use JupyterLab as a person does, in headless Chromium: log in with the token, open a notebook, run it, see its plots.

    browse.py URL TOKEN NOTEBOOK SCREENSHOT

Needs selenium, and Debian's chromium and chromium-driver.
"""

from __future__ import annotations

import sys
import time

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE = 240
"""Seconds for each step: a machine under emulation takes a minute to start a kernel."""


def chromium() -> webdriver.Chrome:
    """Start the browser that Debian packages."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    # Root, as in CI, has no sandbox; and /dev/shm is small in containers.
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,1100"):
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))


def log_in(browser: webdriver.Chrome, url: str, token: str, path: str) -> None:
    """Open a page, which asks for the token first, and give it."""
    browser.get(f"{url}/lab/tree/{path}")
    field = WebDriverWait(browser, PATIENCE).until(lambda b: b.find_element(By.NAME, "password"))
    field.send_keys(token)
    field.submit()


def run_all(browser: webdriver.Chrome) -> None:
    """Choose Run > Run All Cells once the kernel is idle, and wait until it is idle again."""
    wait = WebDriverWait(browser, PATIENCE, ignored_exceptions=(Exception,))  # what is being drawn goes stale
    wait.until(_idle)
    wait.until(lambda b: _click(b, ".lm-MenuBar-itemLabel", "Run"))
    wait.until(lambda b: _click(b, ".lm-Menu-itemLabel", "Run All Cells"))
    wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, ".jp-OutputArea-output"))
    wait.until(_idle)


def _idle(browser: webdriver.Chrome) -> bool:
    """Tell whether the status bar says so; the notebook's own sign says so before there is a kernel, too."""
    return "| Idle" in browser.find_element(By.ID, "jp-main-statusbar").text


def _click(browser: webdriver.Chrome, selector: str, label: str) -> bool:
    """Click the one that has a label."""
    next(e for e in browser.find_elements(By.CSS_SELECTOR, selector) if e.text == label).click()
    return True


def see_plot(browser: webdriver.Chrome) -> int:
    """Scroll to the first picture, and return how many there are, or fail where a cell shows an error."""
    wait = WebDriverWait(browser, PATIENCE)
    wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, ".jp-OutputArea-output img"))
    images = browser.find_elements(By.CSS_SELECTOR, ".jp-OutputArea-output img")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", images[0])
    errors = browser.find_elements(By.CSS_SELECTOR, '.jp-OutputArea-output[data-mime-type*="error"]')
    if errors:
        raise SystemExit(f"a cell failed: {errors[0].text[:500]}")
    return len(images)


def main(url: str, token: str, notebook: str, screenshot: str) -> None:
    """Do all of it, and keep a picture of the end, or of what is seen where it fails."""
    began = time.monotonic()
    browser = chromium()
    try:
        log_in(browser, url, token, notebook)
        run_all(browser)
        print(f"{notebook}: {see_plot(browser)} plots in sight, {time.monotonic() - began:.0f} s", flush=True)
        time.sleep(1)  # for the scrolling to be drawn
    finally:
        browser.save_screenshot(screenshot)
        browser.quit()


if __name__ == "__main__":
    if len(sys.argv) != 5:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
