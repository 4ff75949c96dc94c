"""The documentation site has all pages, and a broken link fails its build."""

import shutil
from pathlib import Path

import pytest

from tools.documentation import build_site, list_menu, write_sources

ROOT = Path(__file__).parents[1]
GENERATED_PAGES = {"api-reference", "messages"}


def test_documentation_menu_has_every_page_once() -> None:
    docs = ROOT / "docs"
    menu = [page for pages in list_menu(docs).values() for page in pages]
    pages = {path.relative_to(docs).with_suffix("").as_posix() for path in docs.rglob("*.md")}
    assert len(menu) == len(set(menu))
    assert pages | GENERATED_PAGES <= set(menu)


def test_documentation_sources_have_routes_and_messages(tmp_path: Path) -> None:
    write_sources(ROOT, tmp_path)
    assert "### `GET /api/v1/calls`\n" in (tmp_path / "api-reference.md").read_text()
    assert "| `call_id` | string | always |" in (tmp_path / "messages.md").read_text()
    assert "](install.md)" in (tmp_path / "index.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_documentation_build_is_strict_and_its_search_needs_no_network(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="takes what requirements/docs.txt pins: make docs")
    root = tmp_path / "root"
    shutil.copytree(ROOT / "docs", root / "docs")
    for path in [*ROOT.glob("*.md"), ROOT / "pyproject.toml"]:
        shutil.copyfile(path, root / path.name)
    result = build_site(root, root / "build" / "site")
    assert (result.returncode, result.stderr) == (0, "")
    page = (root / "build" / "site" / "search.html").read_text()
    assert 'src="searchindex.js"' in page
    assert 'src="http' not in page
    with (root / "docs" / "install.md").open("a") as document:
        document.write("\n[Nowhere](commands.md#nowhere)\n")
    result = build_site(root, root / "build" / "site")
    assert result.returncode != 0
    assert "nowhere" in result.stderr
