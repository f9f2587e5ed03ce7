"""Our pages in a real browser: filters that filter, a list that is there without the script, and no request at all."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flows.assessing import write_assessments
from kubeferry.documents import Entry, Inventory, Plan, PlannedDisk, Policy, Wave, freeze
from kubeferry.model import Cpu, Disk, Firmware, Guest, Machine, Memory, Power
from kubeferry.outside.process import run
from reports.facts import build_report
from reports.pages import write_report
from reports.shapes import DecisionReport, Report
from tests.needs import needs

pytestmark = [needs("chromium"), pytest.mark.timeout(300)]

BROWSER = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --virtual-time-budget=4000 --disable-features=AutofillServerCommunication"
)
GIB = 1 << 30
MANY = 60

Shown = Callable[..., str]


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    """A page as it stands in the browser, with a fragment, after its script ran."""

    def show(page: Path | str, fragment: str = "") -> str:
        url = page if isinstance(page, str) else page.as_uri()
        where = [f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom", url + fragment]
        return run(["chromium", *BROWSER.split(), *where], timeout=120).out

    return show


@dataclass
class Served:
    """A folder, as a web server has it, and what was asked of it."""

    url: str
    asked: list[str]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is the library's)
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Served(f"http://127.0.0.1:{server.server_address[1]}/", asked)
        server.shutdown()


def a_machine(number: int) -> Machine:
    disk = Disk(id="vda", bus="virtio", uri=f"file:///{number}.img", format="raw", chain=(), capacity_bytes=GIB)
    return Machine(
        id=f"id-{number}",
        name=f"machine-{number:03}",
        source="lab",
        power=Power.RUNNING,
        arch="x86_64" if number % 4 else "s390x",
        firmware=Firmware(kind="bios"),
        guest=Guest(agent_channel=True),
        cpu=Cpu(vcpus=1),
        memory=Memory(size_bytes=GIB),
        disks=(disk,),
    )


@pytest.fixture
def assessment(tmp_path: Path) -> Path:
    machines = tuple(a_machine(number) for number in range(MANY))
    inventory = Inventory(source="lab", source_kind="memory", observed_at="2026-11-24T02:00:00Z", machines=machines)
    write_assessments(inventory, Policy(), tmp_path / "pages")
    return tmp_path / "pages" / "index.html"


@pytest.fixture
def report(tmp_path: Path) -> Path:
    entries = tuple(
        Entry(
            name=f"machine-{number:03}",
            target_name=f"machine-{number:03}",
            namespace="default",
            machine=a_machine(number),
            disks=(PlannedDisk(disk="vda", claim=f"c-{number}", volume="vda", size_bytes=GIB, claim_bytes=GIB),),
            manifests=(),
        )
        for number in range(MANY)
    )
    waves = tuple(Wave(name=f"wave-{n}", machines=tuple(one.name for one in entries[n::3])) for n in range(3))
    facts = {"name": "lab", "created_at": "2026-07-14T09:00:00Z", "source": "lab", "inventory_digest": "1" * 64}
    plan = freeze(Plan(**facts, waves=waves, entries=entries))
    write_report(build_report(plan, {}, generated_at="2026-07-14T10:00:00Z"), tmp_path / "report")
    return tmp_path / "report" / "report.html"


def rows(page: str) -> tuple[int, int]:
    """How many rows are shown, of how many."""
    found = re.findall(r"<(?:tr|tbody) data-row=[^>]*>", page)
    return sum(" hidden" not in row for row in found), len(found)


def test_filters_of_an_assessment(assessment: Path, shown: Shown) -> None:
    assert rows(shown(assessment)) == (MANY, MANY)
    blocked = shown(assessment, "#verdict=blocked")
    assert rows(blocked) == (15, MANY)
    assert re.search(r"<output[^>]*>15 of 60 shown</output>", blocked)
    assert rows(shown(assessment, "#concern=arch.unsupported&text=machine-00")) == (3, MANY)
    assert rows(shown(assessment, "#text=nobody")) == (0, MANY)
    assert rows(shown(assessment, "#verdict=%3Cscript%3E")) == (MANY, MANY), "a value that is none picks nothing"


def test_filters_of_a_report(report: Path, shown: Shown) -> None:
    assert rows(shown(report)) == (MANY, MANY)
    assert rows(shown(report, "#wave=wave-1")) == (MANY // 3, MANY)
    assert rows(shown(report, "#verdict=not+begun&text=machine-05")) == (10, MANY)


def test_without_the_script_the_list_is_there_and_the_filters_are_not(assessment: Path, shown: Shown) -> None:
    text = re.sub(r"<script>.*?</script>", "", assessment.read_text(), flags=re.DOTALL)
    assessment.write_text(text)
    page = shown(assessment, "#verdict=blocked")
    assert rows(page) == (MANY, MANY)
    assert re.search(r'<div class="filters"[^>]* hidden', page)


def test_a_script_that_is_not_ours_does_not_run(assessment: Path, shown: Shown) -> None:
    """Were a name not escaped, the page's policy would still stop it."""
    evil = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
    assessment.write_text(assessment.read_text().replace("<main>", f"<main>{evil}"))
    assert "<title>taken" not in shown(assessment)
    assert rows(shown(assessment, "#verdict=blocked")) == (15, MANY), "ours does"


def test_no_page_asks_for_anything(assessment: Path, report: Path, served: Served, shown: Shown) -> None:
    for page in (
        "pages/index.html",
        "pages/machine-001/index.html",
        "report/report.html",
        "report/machines/machine-001.html",
    ):
        served.asked.clear()
        assert "machine-001" in shown(served.url + page)
        assert set(served.asked) - {"/favicon.ico"} == {f"/{page}"}


WIDTH = 390
PHONE = f"""<!doctype html><iframe src="PAGE" style="width:{WIDTH}px;height:844px;border:0"></iframe>
<script>window.onload = () => {{
  const page = document.querySelector("iframe").contentDocument;
  page.querySelectorAll("details").forEach((one) => {{ one.open = true; }});
  const wide = [...page.querySelectorAll("td, th, li, p, dd")].filter(
    (one) => one.getBoundingClientRect().right > {WIDTH} && !one.closest(".scroll, .wide, pre, thead"));
  const told = [page.documentElement.scrollWidth, ...wide.map((one) => one.textContent.slice(0, 60))];
  document.body.append(`WIDE ${{JSON.stringify(told)}}`);
}};</script>"""


def test_fingerprints_and_long_names_stay_on_a_phone(report: Path, served: Served, shown: Shown) -> None:
    """Someone's key is one word of fifty letters, and a refused one stands in a sentence."""
    key = f"signed with SHA256:{'Qx7' * 15}; the signature was verified again for this report"
    facts = {"at": "2026-07-14T10:00:00Z", "what": "approved", "by": "ann", "counts": True, "said": "", "shown": ()}
    signed = DecisionReport(**facts, about="x" * 120, how="signed", proof=key)
    found = Report.model_validate_json((report.parent / "report.json").read_text())
    write_report(found.model_copy(update={"decisions": (signed,)}), report.parent)
    (report.parent / "phone.html").write_text(PHONE.replace("PAGE", report.name))
    page = shown(f"{served.url}{report.parent.name}/phone.html")
    (told,) = re.findall(r"WIDE (\[.*?\])</", page.replace("&quot;", '"'))
    widest, *wide = json.loads(told)
    assert (widest <= WIDTH, wide) == (True, [])  # a scroll bar takes some of it
