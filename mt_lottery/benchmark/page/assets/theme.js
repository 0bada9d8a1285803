"use strict";

// The system's theme unless the reader chose the other one.
{
  const button = document.getElementById("theme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try {
    chosen = localStorage.getItem("mt-lottery-theme");
  } catch {
    // a page opened from a file may not be allowed to remember
  }

  const show = () => {
    if (chosen) document.documentElement.dataset.theme = chosen;
    else delete document.documentElement.dataset.theme;
    const dark = chosen ? chosen === "dark" : system.matches;
    button.setAttribute("aria-pressed", String(dark));
  };

  button.addEventListener("click", () => {
    const next = button.getAttribute("aria-pressed") === "true" ? "light" : "dark";
    chosen = (next === "dark") === system.matches ? null : next;
    try {
      if (chosen) localStorage.setItem("mt-lottery-theme", chosen);
      else localStorage.removeItem("mt-lottery-theme");
    } catch {
      // see above
    }
    show();
  });
  system.addEventListener("change", show);
  button.hidden = false;
  show();
}
