// Who is connected, slowest first, and ending a connection.

import { get, post } from "./dashboard-api.js";
import { confirm, notice, show } from "./dashboard-dialog.js";
import { poll } from "./dashboard-poll.js";
import { settled, sorting, Table } from "./dashboard-table.js";
import { $, bytes, count, duration, el, hint, label, milliseconds, say, some } from "./dashboard-text.js";

const CODES = [
    [4003, "4003, forbidden"],
    [1000, "1000, normal"],
    [1001, "1001, going away"],
    [1008, "1008, policy"],
    [1012, "1012, service restart"],
    [1013, "1013, try again later"],
];

const HINTS = { client: "its id", user: "the name", address: "IP address, with port or without" };

export function startConnections(section, { explain }) {
    const by = $("#connections-by");
    const find = $("#connections-find");
    const limit = $("#connections-limit");
    let sort = "queued";
    let anew = true;

    const table = new Table(section, [
        {
            make: (now) => {
                const button = el("button", { type: "button", className: "link" });
                button.addEventListener("click", () => details(now()));
                return button;
            },
            fill: (button, row) => {
                say(button, row.client);
                hint(button, row.client);
            },
        },
        { class: "wide", text: (row) => row.address ?? "–" },
        { class: "wide", text: (row) => row.user ?? "–" },
        { class: "wide", text: (row) => row.protocol + (row.tls ? ", TLS" : "") },
        { class: "number wide", text: (row) => count(row.worker) },
        { class: "number wide", text: (row) => count(row.topics) },
        {
            class: "number",
            make: () => el("span"),
            fill: (cell, row) => {
                say(cell, bytes(row.queued_bytes));
                cell.className = row.blocked ? "blocked" : "";
                cell.title = row.blocked ? "Its socket takes no more" : "";
            },
        },
        { class: "number", text: (row) => bytes(row.unsent_bytes) },
        { class: "number", text: (row) => milliseconds(row.rtt_ms) },
        { class: "number wide", text: (row) => count(row.retransmits) },
        { class: "number wide", text: (row) => duration(row.age_seconds) },
        {
            class: "wide act",
            make: (now) => {
                const button = el("button", { type: "button", className: "small", textContent: "Disconnect…" });
                button.addEventListener("click", () => disconnect(now().client));
                return button;
            },
            fill: (button, row) => label(button, `Disconnect ${row.client}`),
        },
    ], (row) => row.client);

    async function ask() {
        const asked = `${sort} ${limit.value} ${by.value} ${find.value}`;
        const answer = await get("connections", { sort, limit: limit.value, [by.value]: find.value.trim() });
        if (asked !== `${sort} ${limit.value} ${by.value} ${find.value}`) return;
        const held = table.update(answer.connections, {
            anew, empty: find.value.trim() ? `No connection with this ${by.value}.` : "Nobody is connected.",
        });
        anew = false;
        say($(".note", section), held ? "order held while you are in it" : "");
        say($(".page", section), `${count(answer.connections.length)} of ${some(answer.total, "connection")}`);
    }

    // What cannot be found by is told where the rows would be.
    function failed(fault) {
        table.update([], { anew: true, empty: fault.message });
        say($(".page", section), "");
    }

    const again = poll({ section, pause: 2000, ask, failed });

    function fresh() {
        anew = true;
        again();
    }

    sorting(section, sort, {}, (name) => {
        sort = name;
        fresh();
    });
    settled(find, fresh);
    by.addEventListener("change", () => {
        find.placeholder = HINTS[by.value];
        fresh();
    });
    limit.addEventListener("change", fresh);
    $("form", section).addEventListener("submit", (event) => event.preventDefault());

    async function details(row) {
        const facts = [
            ["Address", row.address], ["User", row.user], ["Protocol", row.protocol + (row.tls ? ", TLS" : "")],
            ["Worker", count(row.worker)], ["Topics", count(row.topics)], ["Connected for", duration(row.age_seconds)],
            ["Queued here", bytes(row.queued_bytes) + (row.blocked ? ", its socket takes no more" : "")],
            ["Unsent in the kernel", bytes(row.unsent_bytes)], ["Round trip", `${milliseconds(row.rtt_ms)} ms`],
            ["Sent again", some(row.retransmits, "segment")],
        ];
        const answer = await show({
            title: row.client,
            body: [el("dl", { className: "facts" }, ...facts.flatMap(([name, value]) =>
                [el("dt", {}, name), el("dd", {}, String(value ?? "–"))]))],
            buttons: [
                { value: "", label: "Close", kind: "main" },
                { value: "explain", label: "Explain a message" },
                { value: "disconnect", label: "Disconnect…", kind: "danger" },
            ],
        });
        if (answer === "explain") explain(row.client);
        if (answer === "disconnect") disconnect(row.client);
    }

    async function disconnect(client) {
        const code = el("select", {}, ...CODES.map(([value, label]) => el("option", { value, textContent: label })));
        const reason = el("input", { maxLength: 123, autocomplete: "off" });
        const sure = await confirm({
            title: `Disconnect ${client}?`,
            body: [
                el("p", {}, "It loses its subscriptions. Whether it comes back is for the client to decide, "
                    + "by the code."),
                el("label", {}, "Close code", code),
                el("label", {}, "Reason, which the client is told", reason),
            ],
            action: "Disconnect",
        });
        if (!sure) return;
        const body = { client, code: Number(code.value) };
        if (reason.value) body.reason = reason.value;
        try {
            const answer = await post("disconnect", JSON.stringify(body));
            notice(`Disconnected ${some(answer.disconnected, "connection")}.`);
            find.focus({ preventScroll: true }); // its row goes, with the button that had the focus
            fresh();
        } catch (fault) {
            notice(`Not disconnected: ${fault.message}`, true);
        }
    }
}
