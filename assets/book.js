// What the theme and its extensions leave undone for readers without a mouse or a screen.
// Run once when a page has loaded; the page reads without it.

const KOREAN = {
  Book: "책", "Copy code": "코드 복사", "Color mode": "화면 색",
  light: "밝게", dark: "어둡게", auto: "자동", "Source of": "소스:",
  Code: "코드", Output: "출력", Table: "표", Equation: "식", Figure: "그림",
  "scrolls sideways": "옆으로 밀어서 보기",
};
const say = (words) =>
  (document.documentElement.lang === "ko" && KOREAN[words]) || words;

// Their labels hide the words that stand there ("Search Ctrl+K", "Show the code").
for (const labelled of document.querySelectorAll(
  ".search-button-field[aria-label], summary[aria-label]"
)) {
  labelled.removeAttribute("aria-label");
}

// The sidebar holds the book's title, which is then in no landmark.
const sidebar = document.getElementById("pst-primary-sidebar");
sidebar?.setAttribute("role", "complementary");
sidebar?.setAttribute("aria-label", say("Book"));

// The corner of a data frame is no head of anything.
for (const corner of document.querySelectorAll("th:empty")) {
  corner.replaceWith(document.createElement("td"));
}

// Roles that bibliographies still carry and browsers have given up.
for (const entry of document.querySelectorAll(".citation-list, .citation")) {
  entry.removeAttribute("role");
}

// The theme takes the keyboard away from a button that is pressed, and so forgets where a
// drawer was opened from.
for (const button of document.querySelectorAll("button[data-bs-toggle='tooltip']")) {
  button.addEventListener("click", (event) => {
    const byKeyboard = event.detail === 0;
    if (byKeyboard && !button.matches(".sidebar-toggle, .search-button__button")) {
      setTimeout(() => button.focus({ preventScroll: true }));
    }
  });
}
for (const name of ["primary", "secondary"]) {
  const drawer = document.getElementById(`pst-${name}-sidebar-modal`);
  let followed = false;
  drawer?.addEventListener("click", (event) => {
    followed = Boolean(event.target.closest('a[href^="#"]')); // a section of this page
    if (followed) drawer.close();
  });
  drawer?.addEventListener("close", () => {
    if (!followed) {
      setTimeout(() =>
        document.querySelector(`.${name}-toggle`)?.focus({ preventScroll: true }));
    }
    followed = false;
  });
}

// A button that copies says what, and keeps the keyboard. They come with the page's end.
addEventListener("DOMContentLoaded", () => {
  for (const button of document.querySelectorAll(".copybtn")) {
    button.setAttribute("aria-label", say("Copy code"));
  }
});
addEventListener("click", (event) => {
  const button = event.target.closest?.(".copybtn");
  if (button && event.detail === 0) {
    setTimeout(() => button.focus({ preventScroll: true }));
  }
});

// The button for light and dark says which it is.
for (const button of document.querySelectorAll(".theme-switch-button")) {
  button.addEventListener("click", () =>
    setTimeout(() => {
      const { mode } = document.documentElement.dataset;
      button.setAttribute("aria-label", `${say("Color mode")}: ${say(mode)}`);
    })
  );
}

// The first link goes to the text, past the buttons above it.
const skip = document.querySelector("#pst-skip-link a");
const first = document.querySelector(".bd-article section[id]");
if (skip && first) skip.hash = first.id;

// Boxes have a name, links to sources and rows of tables too.
for (const [i, box] of document.querySelectorAll("div.admonition").entries()) {
  const title = box.querySelector(".admonition-title");
  if (!title) continue;
  title.id ||= `box-${i + 1}`;
  box.setAttribute("role", "note");
  box.setAttribute("aria-labelledby", title.id);
}
for (const link of document.querySelectorAll("dt a:has(> .viewcode-link)")) {
  const name = link.closest("dt").querySelector(".sig-name")?.textContent;
  if (name) link.setAttribute("aria-label", `${say("Source of")} ${name}`);
}
for (const row of document.querySelectorAll(".bd-article table.table tbody tr")) {
  if (row.cells[0]?.matches("td")) row.cells[0].setAttribute("role", "rowheader");
}

// A file is saved, not shown in a new window.
for (const link of document.querySelectorAll("a.btn-download-source-button")) {
  link.download = "";
  link.removeAttribute("target");
}

// The other language: the same section of the same page, and the choice for the next visit
for (const link of document.querySelectorAll("a.language-switch")) {
  link.addEventListener("click", () => {
    const line = innerHeight / 4;
    const above = [...document.querySelectorAll(".bd-article section section[id]")]
      .filter((section) => section.getBoundingClientRect().top < line);
    link.hash = above.at(-1)?.id ?? "";
    link.search = location.search; // on the page of the search
    try {
      localStorage.setItem("language", link.hreflang);
    } catch { /* no storage for a page opened as a file */ }
  });
}

// Search: excerpts from what one reads, and the keyboard where the results begin.
if (typeof Search !== "undefined") {
  const unread =
    "#jb-print-docs-body, .katex-mathml, .prev-next-footer, .bd-header-article, .page-toc";
  const toText = Search.htmlToText;
  Search.htmlToText = (html, anchor) => {
    const page = new DOMParser().parseFromString(html, "text/html");
    for (const part of page.querySelectorAll(unread)) part.remove();
    return toText(page.documentElement.outerHTML, anchor);
  };
  const results = document.getElementById("search-results");
  const watch = new MutationObserver(() => {
    const summary = results.querySelector(".search-summary");
    const title = results.querySelector("h2")?.textContent ?? "";
    if (!summary?.textContent.trim() || /^(Searching|Preparing|검색 중|검색 준비)/.test(title)) return;
    watch.disconnect();
    summary.tabIndex = -1;
    summary.focus();
  });
  if (results) {
    watch.observe(results, { childList: true, characterData: true, subtree: true });
  }
}

// What is wider than its place scrolls: then Tab reaches it, and it says what it is. A group
// and no region, since a landmark for each long line of code would bury the others.
const WIDE = {
  ".cell_input pre, .highlight pre": "Code",
  ".cell_output pre": "Output",
  ".cell_output .text_html, .pst-scrollable-table-container": "Table",
  "mjx-container[display], .katex-display, div.math, .formula": "Equation",
  ".wide-figure": "Figure",
  ".cell_output .output": "Output",
};

const MARKS = ["tabindex", "role", "aria-label"];

// There is more to the right: book.css fades that edge.
function markMore(box) {
  const hidden = box.scrollWidth - box.clientWidth - box.scrollLeft;
  box.toggleAttribute("data-more", "scrolls" in box.dataset && hidden > 2);
}

function nameWhatScrolls(part) {
  const found = Object.entries(WIDE).flatMap(([selector, name]) =>
    Array.from(part.querySelectorAll(selector), (box) => ({
      box,
      name,
      scrolls:
        box.scrollWidth > box.clientWidth &&
        ["auto", "scroll"].includes(getComputedStyle(box).overflowX),
    }))
  ); // all of it, before a change makes the browser measure again
  for (const { box, name, scrolls } of found) {
    // A formula has its number for a name, for readers without scripts.
    box.label ??= box.getAttribute("aria-label") ?? say(name);
    if (scrolls && !("scrolls" in box.dataset)) {
      box.dataset.scrolls = "";
      box.tabIndex = 0;
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", `${box.label}, ${say("scrolls sideways")}`);
      box.onscroll = () => markMore(box);
    } else if (!scrolls && ("scrolls" in box.dataset || box.matches(".formula"))) {
      delete box.dataset.scrolls;
      for (const mark of MARKS) box.removeAttribute(mark);
    }
  }
  for (const { box } of found) markMore(box);
}

// A new page's sections are laid out late (book.css): one at a time, so that a slow processor
// answers between them; at once where a link leads to one.
const LATE = ".bd-article > section > section";

function layOut() {
  for (const part of document.querySelectorAll(LATE)) part.style.contentVisibility = "visible";
}

addEventListener("click", (event) => {
  if (event.target.closest?.("a[href*='#']")) layOut();
}, true);
addEventListener("beforeprint", layOut);

let naming = 0;
function nameAll() {
  const mine = ++naming;
  const parts = Array.from(document.querySelectorAll(LATE));
  const next = () => {
    if (mine !== naming) return; // begun anew
    const part = parts.shift();
    if (part) part.style.contentVisibility = "visible";
    nameWhatScrolls(part ?? document);
    if (part) setTimeout(next);
    else document.documentElement.dataset.whole = "";
  };
  next();
}

document.addEventListener("toggle", (event) => nameWhatScrolls(event.target), true);
addEventListener("resize", nameAll);
addEventListener("load", nameAll);
