// "Why did X not get message N?"

import { get } from "./dashboard-api.js";
import { $, clock, el } from "./dashboard-text.js";

function value(of) {
  return typeof of === "object" && of !== null ? JSON.stringify(of) : String(of);
}

export function startExplain(section) {
  const form = $("form", section);
  const { client, topic, offset } = form.elements;
  const answer = $("#explanation");

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const told = await get("explain", { client: client.value, topic: topic.value, offset: offset.value });
      answer.replaceChildren(
        el("p", { className: "verdict" }, el("span", { className: "pill" }, told.verdict), ` ${told.words}`));
      if (told.facts?.length) {
        answer.append(el("ol", { className: "lines short" }, ...told.facts.map(({ at, what, ...more }) =>
          el("li", {}, el("time", {}, typeof at === "number" || typeof at === "string" ? clock(at) : "–"), " ",
            el("span", {}, what), " ",
            el("span", { className: "muted" },
              Object.entries(more).map(([name, of]) => `${name}=${value(of)}`).join("  "))))));
      }
    } catch (fault) {
      answer.replaceChildren(el("p", { className: "verdict bad" }, fault.message));
    }
  });

  // From elsewhere on the page: what is known is filled in, what is not gets the focus.
  return (known) => {
    client.value = known;
    section.scrollIntoView({ block: "center" });
    (topic.value ? offset : topic).focus({ preventScroll: true });
  };
}
