"""The Content-Security-Policy of every page: what it forbids, and what still works."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from tests.browser.conftest import SITE, Visit
from tests.browser.test_reading import copied, search

# Besides hashes of a page's own scripts
SOURCES = {"'self'", "'none'", "file:", "data:"}
OWN = {"'self'", "'none'", "file:"}

# Tells what a policy stopped, from the first script of a page on.
LISTEN = """
window.stopped = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.stopped.push(`${event.effectiveDirective} ${event.blockedURI}`));
"""

CHAPTER = "chapters/03-l1-l2.html"


# -- what the tags say ----------------------------------------------------------------


def policy_problems(page: str) -> Iterator[str]:
    """Say what the policy of a page lets through, or comes too late for."""
    head, _, _ = page.partition("</head>")
    soup = BeautifulSoup(head, "html.parser")
    tags = soup.select('head > meta[http-equiv="Content-Security-Policy"]')
    if len(tags) != 1:
        yield f"{len(tags)} policies in the head"
        return
    if early := tags[0].find_previous(["script", "link", "style", "img", "base"]):
        yield f"in front of the policy: {early}"
    rules = {
        name: set(allowed)
        for name, *allowed in (
            rule.split() for rule in tags[0]["content"].split(";") if rule.strip()
        )
    }
    for name in ("default-src", "base-uri", "form-action"):
        if not rules.get(name) or not rules[name] <= OWN:
            yield f"{name} is no rule of this site's own files: {rules.get(name)}"
    if rules.get("object-src", rules.get("default-src")) != {"'none'"}:
        yield "plugins may load"
    for name, allowed in rules.items():
        known = set(SOURCES)
        if name == "style-src":
            known.add("'unsafe-inline'")
        if name == "script-src":
            known.add("'unsafe-hashes'")
            known.discard("data:")
            allowed = {one for one in allowed if not one.startswith("'sha256-")}
        if strange := allowed - known:
            yield f"{name} lets through {sorted(strange)}"


def pages() -> list[Path]:
    # _static holds fragments that the theme puts into pages.
    return [page for page in SITE.rglob("*.html") if page.parent.name != "_static"]


def test_every_page_has_the_policy() -> None:
    if not SITE.is_dir():
        pytest.skip(f"no site in {SITE}: run make book")
    found = pages()
    assert {SITE / "index.html", SITE / "search.html", SITE / CHAPTER} <= set(found)
    problems = {
        str(page.relative_to(SITE)): list(
            policy_problems(page.read_text(encoding="utf-8"))
        )
        for page in found
    }
    assert {name: p for name, p in problems.items() if p} == {}


STRICT = (
    "default-src 'self' file:; script-src 'self' 'sha256-x'; object-src 'none';"
    " base-uri 'none'; form-action 'self'"
)


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        (STRICT, None),
        (STRICT + "; img-src 'self' data:", None),
        (STRICT + "; style-src 'self' 'unsafe-inline'", None),
        (STRICT.replace("'none'", "'self'", 1), "plugins may load"),
        (STRICT.replace("default-src", "font-src"), "default-src is no rule"),
        (STRICT.replace("form-action", "img-src"), "form-action is no rule"),
        (STRICT.replace("base-uri 'none';", ""), "base-uri is no rule"),
        (STRICT.replace("'self' file:", "*"), "default-src is no rule"),
        (STRICT + "; img-src https:", "img-src lets through"),
        (STRICT + "; connect-src *.example.org", "connect-src lets through"),
        (STRICT.replace("'sha256-x'", "'unsafe-inline'"), "script-src lets through"),
        (STRICT.replace("'sha256-x'", "data:"), "script-src lets through"),
        (STRICT.replace("'sha256-x'", "'unsafe-eval'"), "script-src lets through"),
    ],
)
def test_a_loose_policy_is_seen(policy: str, problem: str | None) -> None:
    tag = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    found = list(policy_problems(f"<html><head>{tag}</head></html>"))
    if problem is None:
        assert found == []
    else:
        assert any(one.startswith(problem) for one in found), found


def test_a_late_or_missing_policy_is_seen() -> None:
    tag = f'<meta http-equiv="Content-Security-Policy" content="{STRICT}">'
    assert list(policy_problems("<head></head>")) == ["0 policies in the head"]
    late = list(policy_problems(f"<head><script>1</script>{tag}</head>"))
    assert late == ["in front of the policy: <script>1</script>"]


# -- what a browser stops -------------------------------------------------------------

FOREIGN = {
    "img-src": "document.body.append(Object.assign(new Image(), {src: there}))",
    "script-src-elem": """document.body.append(
      Object.assign(document.createElement("script"), {src: there}))""",
    "style-src-elem": """document.head.append(Object.assign(
      document.createElement("link"), {rel: "stylesheet", href: there}))""",
    "connect-src": "fetch(there).catch(() => 0)",
    "frame-src": """document.body.append(
      Object.assign(document.createElement("iframe"), {src: there}))""",
    "font-src": """new FontFace("there", `url(${there})`).load().catch(() => 0)""",
    "media-src": """document.body.append(
      Object.assign(document.createElement("video"), {src: there}))""",
    "form-action": """(() => {
      const form = document.createElement("form");
      form.action = there;
      document.body.append(form);
      form.submit();
    })()""",
}

INLINE = {
    "script-src-elem": """document.body.append(Object.assign(
      document.createElement("script"), {textContent: "window.ran = true"}))""",
    "script-src-attr": """document.body.insertAdjacentHTML(
      "beforeend", "<img src='data:,' onerror='window.ran = true'>")""",
    "script-src": """(() => {
      try { eval("window.ran = true") } catch (error) { /* as it should be */ }
    })()""",
}


# A function, made once: a text would be evaluated anew at each look, and the policy
# forbids that.
SOMETHING_STOPPED = "() => window.stopped.length > 0"


def watched(here: Visit) -> Visit:
    here.context.add_init_script(LISTEN)
    return here


@pytest.mark.parametrize("rule", FOREIGN)
def test_what_comes_from_elsewhere_is_stopped(visit, site, rule) -> None:
    here = watched(visit())
    here.open(f"{site}/{CHAPTER}")
    here.page.evaluate(f"there => {{ {FOREIGN[rule]} }}", "https://example.org/a")
    here.page.wait_for_function(SOMETHING_STOPPED)
    (stopped,) = here.page.evaluate("window.stopped")
    assert stopped.startswith(f"{rule} https://example.org")
    assert not [p for p in here.problems if p.startswith("request to another host")]


@pytest.mark.parametrize("rule", INLINE)
def test_a_script_that_came_later_does_not_run(visit, site, rule) -> None:
    here = watched(visit())
    here.open(f"{site}/{CHAPTER}")
    # In the page's own time: what playwright evaluates is not under the policy.
    here.page.evaluate(f"() => setTimeout(() => {{ {INLINE[rule]} }})")
    here.page.wait_for_function(SOMETHING_STOPPED)
    what = "eval" if rule == "script-src" else "inline"
    assert here.page.evaluate("window.stopped") == [f"{rule} {what}"]
    assert here.page.evaluate("window.ran") is None


# -- what works all the same ----------------------------------------------------------


def use(here: Visit, root: str) -> None:
    """Do on the pages below an address what readers do; see that it happens."""
    page = here.page
    here.open(f"{root}/index.html")
    page.wait_for_url("**/chapters/intro.html")
    here.open(f"{root}/{CHAPTER}")
    before = page.evaluate("document.documentElement.dataset.mode")
    page.locator(".theme-switch-button").first.click()
    assert page.evaluate("document.documentElement.dataset.mode") != before
    page.evaluate("window.print = () => { window.printed = true }")
    page.locator("button[onclick='window.print()']").evaluate("b => b.click()")
    assert page.evaluate("window.printed")
    here.open_folds()
    assert copied(page)[0] not in ("", "nothing")
    # All pictures: drawn, though one loads them when they come near
    for picture in page.locator("article img").all():
        picture.scroll_into_view_if_needed()
        picture.evaluate("picture => picture.decode()")
    assert page.evaluate("document.fonts.check('16px KaTeX_Main')")
    slider = page.locator(".mflib-slider").first
    said = slider.locator("output").text_content()
    slider.locator("input").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert slider.locator("output").text_content() != said
    stopped = page.evaluate("window.stopped")
    assert search(page, "Frobenius")
    stopped += page.evaluate("window.stopped")
    assert stopped == []


PERMISSIONS = ["clipboard-read", "clipboard-write"]


def test_ordinary_use_is_not_stopped(visit, site) -> None:
    here = watched(visit(permissions=PERMISSIONS))
    use(here, site)
    assert here.problems == []


class FromFiles(Visit):
    """A page opened as a file: other files are allowed, and no host is."""

    def _keep_local(self, route) -> None:
        if route.request.url.startswith("file:"):
            route.continue_()
        else:
            super()._keep_local(route)


@pytest.fixture
def files(browser) -> Iterator[FromFiles]:
    here = watched(FromFiles(browser, permissions=PERMISSIONS))
    yield here
    here.context.close()


def test_the_site_works_as_files(files) -> None:
    if not SITE.is_dir():
        pytest.skip(f"no site in {SITE}: run make book")
    use(files, SITE.as_uri())
    assert files.problems == []


def test_no_page_complains_as_a_file(files, kind_path) -> None:
    files.open((SITE / kind_path).as_uri())
    assert files.page.evaluate("window.stopped ?? []") == []
    assert files.problems == []
