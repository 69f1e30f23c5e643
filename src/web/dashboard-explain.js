// "Why did X not get message N?"

import { get } from "./dashboard-api.js";
import { $, clock, el } from "./dashboard-text.js";

function text(value) {
    return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function factLine({ at, what, ...more }) {
    const rest = Object.entries(more).map(([name, value]) => `${name}=${text(value)}`).join("  ");
    return el("li", {}, el("time", {}, clock(at)), " ", what, " ", el("span", { className: "muted" }, rest));
}

export function startExplain(section) {
    const form = $("form", section);
    const { client, topic, offset } = form.elements;
    const answer = $("#explanation");

    form.addEventListener("submit", async (event) => {
        event.preventDefault();
        try {
            const told = await get("explain", { client: client.value, topic: topic.value, offset: offset.value });
            answer.replaceChildren(el("p", { className: "verdict" },
                el("span", { className: "pill" }, told.verdict), " ", told.words));
            if (told.facts?.length) {
                answer.append(el("ol", { className: "lines short" }, ...told.facts.map(factLine)));
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
