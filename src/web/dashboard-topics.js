// Topics: the table, and what there is to know of one.

import { get } from "./dashboard-api.js";
import { show } from "./dashboard-dialog.js";
import { poll } from "./dashboard-poll.js";
import { settled, sorting, Table } from "./dashboard-table.js";
import { $, bytes, count, el, hint, rate, say, some } from "./dashboard-text.js";

const PAGE = 15;
const TOP = 1000; // by subscribers or rate the server gives so many and no more

export function startTopics(section, { notice, useInConsole }) {
    const prefix = $("#topics-prefix");
    const [previous, next] = [$(".previous", section), $(".next", section)];
    let sort = "subscribers";
    let page = 0;
    let cursors = [""]; // by name: where each page that was seen begins
    let anew = true;

    const table = new Table(section, [
        {
            make: (now) => {
                const button = el("button", { type: "button", className: "link" });
                button.addEventListener("click", () => details(now().topic));
                return button;
            },
            fill: (button, row) => {
                say(button, row.topic);
                hint(button, row.topic);
            },
        },
        { class: "number", text: (row) => count(row.subscribers) },
        { class: "number", text: (row) => rate(row.rate) },
        { class: "number wide", text: (row) => count(row.offset) },
        { class: "number wide", text: (row) => count(row.history) },
    ], (row) => row.topic);

    async function ask() {
        const asked = `${sort} ${page} ${prefix.value}`;
        const byName = sort === "name";
        const answer = await get("topics", {
            prefix: prefix.value, sort,
            after: byName ? cursors[page] : "",
            limit: byName ? PAGE : TOP,
        });
        if (asked !== `${sort} ${page} ${prefix.value}`) return;
        let rows = answer.topics;
        let more;
        if (byName) {
            more = answer.next !== null && answer.next !== undefined;
            cursors.length = page + 1;
            if (more) cursors.push(answer.next);
        } else {
            page = Math.min(page, Math.max(0, Math.ceil(rows.length / PAGE) - 1));
            more = rows.length > (page + 1) * PAGE;
            rows = rows.slice(page * PAGE, (page + 1) * PAGE);
        }
        const held = table.update(rows, {
            anew,
            empty: prefix.value ? `No topic begins with “${prefix.value}”.` : "There are no topics.",
        });
        anew = false;
        say($(".note", section), held ? "order held while you are in it"
            : !byName && answer.topics.length === TOP ? `the first ${count(TOP)}` : "");
        say($(".page", section), `Page ${count(page + 1)}`);
        previous.disabled = page === 0;
        next.disabled = !more;
    }

    function failed(fault) {
        table.update([], { anew: true, empty: fault.message });
        [previous.disabled, next.disabled] = [page === 0, true];
    }

    const again = poll({ section, pause: 2000, ask, failed });

    function from(place) {
        page = place;
        if (place === 0) cursors = [""];
        anew = true;
        again();
    }

    sorting(section, sort, { name: "ascending" }, (name) => {
        sort = name;
        from(0);
    });
    settled(prefix, () => from(0));
    previous.addEventListener("click", () => from(page - 1));
    next.addEventListener("click", () => from(page + 1));
    $("form", section).addEventListener("submit", (event) => event.preventDefault());

    async function details(topic) {
        try {
            const body = await describe(topic);
            const answer = await show({
                title: topic, body,
                buttons: [{ value: "", label: "Close", kind: "main" }, { value: "use", label: "Use in the console" }],
            });
            if (answer === "use") useInConsole(topic);
        } catch (fault) {
            notice(`${topic}: ${fault.message}`, true);
        }
    }
}

async function describe(topic) {
    const about = await get("topics", { topic });
    const kept = about.history;
    const [presence, past] = await Promise.all([
        get("presence", { topic }),
        kept?.messages ? get("history", { topic, limit: 10 }) : null,
    ]);
    const facts = [
        ["Subscribers", count(about.subscribers)],
        ["Messages/s", rate(about.rate)],
        ["Offset", count(about.offset)],
        ["Epoch", about.epoch],
        ["Kept", kept ? `${some(kept.messages, "message")}, ${bytes(kept.bytes)}` : "nothing"],
        ["Patterns", about.patterns?.length ? about.patterns.join("  ") : "none match"],
    ];
    facts.push(["Clients", presence.clients.join("  ") || "none"]);
    const body = [el("dl", { className: "facts" },
        ...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value ?? "–"))]))];
    if (past?.messages?.length) {
        body.push(el("h3", {}, "Kept messages"), el("ol", { className: "lines short" },
            ...past.messages.toReversed().map((message) => el("li", {},
                el("b", { className: "number" }, count(message.offset)), " ", JSON.stringify(message.data)))));
    }
    return body;
}
