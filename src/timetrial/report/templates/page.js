"use strict";
// Without this script the page is complete, only still: everything it shows is drawn already.
(() => {
  const root = document.documentElement;
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = (selector) => [...document.querySelectorAll(selector)];

  // Light and dark: the system's choice until the reader makes one.
  const theme = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const showTheme = () => {
    theme.setAttribute("aria-pressed", String(isDark()));
  };
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    showTheme();
  });
  system.addEventListener("change", showTheme);
  showTheme();

  // What is switched off is hidden by one rule each, so that no drawing has to be walked through.
  const sheet = document.head.appendChild(document.createElement("style")).sheet;
  const hidden = new Set();
  const workload = document.getElementById("workload");
  const filter = () => {
    while (sheet.cssRules.length) sheet.deleteRule(0);
    for (const place of hidden) sheet.insertRule(`figure svg .s${place} { display: none }`);
    if (workload && workload.value !== "") {
      sheet.insertRule(`#hyperparameters figure g[class*=" w"]:not(.w${workload.value}) { display: none }`);
    }
  };
  const switches = all("input[data-place]");
  const turn = (place, on) => {
    hidden[on ? "delete" : "add"](place);
    for (const box of switches) {
      if (box.dataset.place === place) box.checked = on;
    }
  };
  for (const box of switches) {
    box.addEventListener("change", () => {
      turn(box.dataset.place, box.checked);
      filter();
    });
  }
  for (const button of all("button[data-every]")) {
    button.addEventListener("click", () => {
      for (const box of switches) turn(box.dataset.place, button.dataset.every === "on");
      filter();
    });
  }
  if (workload) workload.addEventListener("change", filter);

  // Performance profiles: by time or by steps, and values at τ.
  const figures = all("figure.profile");
  const tau = document.getElementById("tau");
  const tauValue = document.getElementById("tau-value");
  const by = () => document.querySelector("input[name=by]:checked").value;
  const height = ([taus, heights], at) => {
    let found = 0;
    taus.forEach((jump, i) => {
      if (jump <= at + 1e-9) found = heights[i];
    });
    return found;
  };
  const read = () => {
    const at = Number(tau.value);
    tauValue.textContent = at.toFixed(2);
    const x = data.left + (data.width * (at - 1)) / (data.r_max - 1);
    for (const figure of figures) {
      const cursor = figure.querySelector(".cursor");
      cursor.setAttribute("transform", `translate(${x} 0)`);
      cursor.style.visibility = "visible";
    }
    data.profiles[by()].forEach((profile, place) => {
      const output = document.querySelector(`output[data-value="${place}"]`);
      output.textContent = `${Math.round(100 * height(profile, at))} %`;
    });
  };
  const show = () => {
    for (const figure of figures) figure.hidden = figure.dataset.by !== by();
    read();
  };
  tau.addEventListener("input", read);
  for (const choice of all("input[name=by]")) choice.addEventListener("change", show);
  for (const figure of figures) {
    figure.addEventListener("pointermove", (event) => {
      const box = figure.querySelector("svg").getBoundingClientRect();
      const share = (((event.clientX - box.left) / box.width) * data.view - data.left) / data.width;
      tau.value = 1 + Math.min(1, Math.max(0, share)) * (data.r_max - 1);
      read();
    });
  }
  show();
  root.dataset.ready = "true";
})();
