"""A learner's first quarter of an hour, in a real JupyterLab in a real browser."""

from __future__ import annotations

import ast
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlparse

import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

ROOT = Path(__file__).resolve().parents[2]
LESSON = "00_start_here"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH: install it to run the browser tests"),
]
SETTINGS = {
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
    "notebook-extension/tracker": '{"windowingMode": "none"}',  # every cell in the page, also those out of sight
}
SMALL = [
    "import ipywidgets\n\nfrom course_lib.classroom import check",
    "def double(x):\n    raise NotImplementedError('exercise 0.1')",
    'with check("0.1", points=2):\n    assert double(3) == 6, "twice three is six"',
    "ipywidgets.interact(lambda stars: print('stars:', stars), stars=ipywidgets.IntSlider(3, 1, 5, description='stars'))",
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab on a free loopback port, with settings and files of its own; yields its folder and address."""
    folder = tmp_path_factory.mktemp("lab")
    for name, text in SETTINGS.items():
        path = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "files").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"]
    command += [f"--ServerApp.root_dir={folder / 'files'}", "--LabApp.extension_manager=readonly"]
    environment = os.environ | {
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "IPYTHONDIR": str(folder / "ipython"),
        "COURSE_STATE": str(folder / "state"),
        "OMP_NUM_THREADS": "1",
    }
    for name in ("COURSE_GRADING", "COURSE_PROGRESS"):
        environment.pop(name, None)
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_for(f"http://127.0.0.1:{port}/api/status?token={token}", server, folder / "lab.log")
            yield folder, lambda name: f"http://127.0.0.1:{port}/lab/tree/{name}?token={token}&reset"
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait_for(address: str, server: subprocess.Popen, log: Path, patience: float = 90) -> None:
    end = time.monotonic() + patience
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")


@pytest.fixture
def page():
    """A browser page that notes errors of scripts and every host that is asked for something."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(60_000)
        page.asked, page.errors = set(), []
        page.on("request", lambda request: page.asked.add(urlparse(request.url).hostname))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        yield page
        browser.close()


def open_and_run_all(page: Page, address: str) -> None:
    """Open a notebook and choose Run → Run All Cells."""
    page.goto(address)
    expect(page.locator("#jp-main-statusbar")).to_contain_text("Python 3 (ipykernel) | Idle", timeout=120_000)
    running = page.locator(".jp-InputPrompt", has_text="[*]").first
    for _ in range(5):  # a click before the kernel is wholly connected may be lost, or bring the choice of a kernel
        accept = page.locator(".jp-Dialog .jp-mod-accept")
        if accept.count():
            accept.first.click()
        page.locator(".lm-MenuBar-itemLabel", has_text=re.compile("^Run$")).click()
        page.locator(".lm-Menu-itemLabel", has_text=re.compile("^Run All Cells$")).click()
        try:
            running.wait_for(state="attached", timeout=5_000)
        except PlaywrightTimeout:
            continue
        finished(page)
        return
    pytest.fail("Run All Cells started nothing, five times")


def finished(page: Page) -> None:
    """Wait until no cell is running or waiting any more."""
    page.wait_for_timeout(500)
    expect(page.locator(".jp-InputPrompt", has_text="[*]")).to_have_count(0, timeout=240_000)


def code_cell(page: Page, text: str) -> Locator:
    """The first code cell whose source contains the text."""
    source = page.locator(".jp-Cell-inputWrapper", has_text=text)
    return page.locator(".jp-Notebook .jp-CodeCell").filter(has=source).first


def card(page: Page, exercise: str) -> Locator:
    """The card below an exercise's check cell."""
    return code_cell(page, f'check("{exercise}"').locator(".jp-OutputArea [role=status]")


def answer(page: Page, exercise: str, cell: Locator, source: str) -> None:
    """Replace an answer cell's text, then run it and its check with Shift + Enter."""
    cell.locator(".cm-content").click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(source)
    page.keyboard.press("Shift+Enter")
    finished(page)
    check = code_cell(page, f'check("{exercise}"')
    check.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    finished(page)


def walk(page: Page, marker: str, wrong: str, right: str, shots: Path) -> None:
    """Unsolved → wrong → right, a card for each, read by its words and not by its colour."""
    cell = code_cell(page, marker)
    position = page.locator(".jp-Notebook .jp-Cell").evaluate_all("(all, one) => all.indexOf(one)", cell.element_handle())
    cell = page.locator(".jp-Notebook .jp-Cell").nth(position)  # its text changes; its place does not
    expect(card(page, "0.1")).to_contain_text("not attempted yet")
    answer(page, "0.1", cell, wrong)
    expect(card(page, "0.1")).to_contain_text("not passed")
    expect(card(page, "0.1")).to_contain_text("Seen:")
    card(page, "0.1").scroll_into_view_if_needed()
    page.screenshot(path=shots / "wrong.png")
    answer(page, "0.1", cell, right)
    expect(card(page, "0.1")).to_contain_text("passed (2 points)")
    page.screenshot(path=shots / "right.png")


def move_slider(page: Page, shots: Path) -> tuple[str, str]:
    """Move the first slider one step by keyboard; what the widget's output said before and after."""
    handle = page.locator(".jp-OutputArea .noUi-handle").first
    output = page.locator(".widget-interact .jp-OutputArea-output, .widget-interact .widget-output").last
    handle.scroll_into_view_if_needed()
    expect(output).not_to_be_empty()
    before, value = output.inner_text(), float(handle.get_attribute("aria-valuenow"))
    handle.focus()
    page.keyboard.press("ArrowLeft")
    expect(handle).to_have_attribute("aria-valuenow", re.compile(rf"^{value - 1:g}(\.0)?$"))
    expect(output).not_to_have_text(before, timeout=30_000)
    finished(page)
    page.screenshot(path=shots / "slider.png")
    return before, output.inner_text()


def settled(page: Page) -> None:
    """No script broke and nothing outside of this computer was asked for anything."""
    assert page.errors == []
    assert page.asked - {"127.0.0.1", "localhost", None, ""} == set()


def test_check_cards_and_a_slider_in_a_small_notebook(lab, page, tmp_path):
    folder, address = lab
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in SMALL])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    nbformat.write(notebook, folder / "files" / "small.ipynb")
    open_and_run_all(page, address("small.ipynb"))
    walk(page, "exercise 0.1", "def double(x): return x", "def double(x): return x + x", tmp_path)
    before, after = move_slider(page, tmp_path)
    assert (before.strip(), after.strip()) == ("stars: 3", "stars: 2")
    assert '"0.1"' in (folder / "state" / "progress.json").read_text()
    settled(page)


def test_the_first_lesson_runs_to_its_end_and_answers_its_learner(lab, page, tmp_path):
    folder, address = lab
    shutil.copy(ROOT / "lessons" / f"{LESSON}.ipynb", folder / "files")
    open_and_run_all(page, address(f"{LESSON}.ipynb"))
    page.screenshot(path=tmp_path / "run_all.png")
    code = page.locator(".jp-Notebook .jp-CodeCell")
    prompts = code.locator(".jp-InputPrompt").all_inner_texts()
    assert [int(re.search(r"\d+", prompt)[0]) for prompt in prompts] == list(range(1, len(prompts) + 1))
    assert page.locator('.jp-OutputArea [data-mime-type="application/vnd.jupyter.stderr"]').count() == 0
    expect(page.locator(".jp-OutputArea img").first).to_be_attached()
    expect(page.locator("p.caption").first).to_contain_text("Figure.")
    walk(page, "exercise 0.1", wrong_answer("0.1"), solution("0.1"), tmp_path)
    before, after = move_slider(page, tmp_path)
    assert after.strip() and before != after
    settled(page)


def solution(exercise: str) -> str:
    """The solved answer cell before the exercise's check, out of the built solution."""
    cells = nbformat.read(ROOT / "solutions" / f"{LESSON}.ipynb", as_version=4).cells
    sources = [cell.source for cell in cells if cell.cell_type == "code"]
    (check,) = [i for i, source in enumerate(sources) if source.startswith(f'with check("{exercise}"')]
    return sources[check - 1]


def wrong_answer(exercise: str) -> str:
    """The first listed wrong answer after the exercise's check, out of the master."""
    cells = re.split(r"(?m)^# %%", (ROOT / "solutions" / f"{LESSON}.py").read_text(encoding="utf-8"))
    (check,) = [i for i, cell in enumerate(cells) if f'\nwith check("{exercise}"' in cell]
    source = cells[check + 1].split("\n", 1)[1]
    ast.parse(source)
    return source.strip()
