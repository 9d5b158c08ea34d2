// What the theme and its extensions leave undone for readers without a mouse or a screen.
// Run once when a page has loaded; the page reads without it.

// Their labels hide the words that stand there ("Search Ctrl+K", "Show the code").
for (const labelled of document.querySelectorAll(
  ".search-button-field[aria-label], summary[aria-label]"
)) {
  labelled.removeAttribute("aria-label");
}

// The sidebar holds the book's title, which is then in no landmark.
const sidebar = document.getElementById("pst-primary-sidebar");
sidebar?.setAttribute("role", "complementary");
sidebar?.setAttribute("aria-label", "Book");

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
      setTimeout(() => button.focus());
    }
  });
}
for (const name of ["primary", "secondary"]) {
  const drawer = document.getElementById(`pst-${name}-sidebar-modal`);
  drawer?.addEventListener("close", () =>
    setTimeout(() => document.querySelector(`.${name}-toggle`)?.focus())
  );
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

function nameWhatScrolls() {
  for (const [selector, name] of Object.entries(WIDE)) {
    for (const box of document.querySelectorAll(selector)) {
      const scrolls =
        box.scrollWidth > box.clientWidth &&
        ["auto", "scroll"].includes(getComputedStyle(box).overflowX);
      if (!scrolls || box.dataset.scrolls) continue;
      box.dataset.scrolls = "";
      box.tabIndex = 0;
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", `${name}, scrolls sideways`);
    }
  }
}

// On a phone, a picture of two or more panels scrolls, at a size one can read (book.css).
for (const picture of document.querySelectorAll(".bd-article figure img")) {
  const wrap = () => {
    if (picture.naturalWidth < 700) return; // one panel
    const box = document.createElement("div");
    box.className = "wide-figure";
    picture.replaceWith(box);
    box.append(picture);
    nameWhatScrolls();
  };
  if (picture.complete) wrap();
  else picture.addEventListener("load", wrap, { once: true });
}

document.addEventListener("toggle", nameWhatScrolls, true); // a fold opens
addEventListener("resize", nameWhatScrolls);
addEventListener("load", nameWhatScrolls);
nameWhatScrolls();
