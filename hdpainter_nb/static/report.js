// The report's own script: without it everything is there, only less handy.
"use strict";
const opened = () => document.querySelector(".hdp-case:popover-open");

// One picture after the other, instead of one above the other.
const step = (from, button) => {
  const to = button && document.getElementById(button.getAttribute("popovertarget"));
  if (!to) return;
  from.hidePopover();
  to.showPopover();
};
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-step]");
  if (!button) return;
  event.preventDefault();
  step(button.closest(".hdp-case"), button);
});
document.addEventListener("keydown", (event) => {
  const name = { ArrowLeft: "previous", ArrowRight: "next" }[event.key];
  const from = opened();
  if (!name || !from || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  step(from, from.querySelector(`[data-step=${name}]`));
});

// On paper nothing can be opened.
let closed = [];
addEventListener("beforeprint", () => {
  opened()?.hidePopover();
  closed = [...document.querySelectorAll("section:not(#facts) > details:not([open])")];
  for (const details of closed) details.open = true;
});
addEventListener("afterprint", () => {
  for (const details of closed) details.open = false;
});
