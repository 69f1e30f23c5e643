// The newest of what the server has logged.

import { get } from "./dashboard-api.js";
import { poll } from "./dashboard-poll.js";
import { $, clock, el, plain } from "./dashboard-text.js";

const MOST = 300;

export function startLog(section, notice) {
    const lines = $("#log-lines");
    const level = $("#log-level");
    const find = $("#log-find");
    const pause = $("#log-pause");
    let after = 0;

    const matches = (line) => line.textContent.toLowerCase().includes(plain(find.value.trim()).toLowerCase());

    function add(events) {
        const made = events.slice(-MOST).map((event) => {
            const fields = Object.entries(event.fields ?? {}).map(([name, value]) =>
                `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
            const line = el("li", { className: event.level },
                el("time", { textContent: clock(event.time) }), " ",
                el("b", { textContent: event.level }), " ",
                el("span", { textContent: event.event }), " ",
                el("span", { className: "muted", textContent: fields.join("  ") }));
            line.hidden = !matches(line);
            return line;
        });
        lines.prepend(...made.reverse());
        while (lines.childElementCount > MOST) lines.lastElementChild.remove();
    }

    async function ask() {
        if (pause.ariaPressed === "true") return;
        const asked = level.value;
        const answer = await get("log", { after, level: asked });
        if (level.value !== asked) return; // what is shown has been emptied meanwhile
        after = answer.next;
        if (answer.events.length) add(answer.events);
    }

    const again = poll({ section, pause: 1000, ask, failed: (fault) => notice(`Log: ${fault.message}`, true) });

    level.addEventListener("change", () => {
        after = 0;
        lines.replaceChildren();
        again();
    });
    find.addEventListener("input", () => {
        for (const line of lines.children) line.hidden = !matches(line);
    });
    pause.addEventListener("click", () => {
        pause.ariaPressed = String(pause.ariaPressed !== "true");
        again();
    });
}
