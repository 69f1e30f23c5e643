// The dashboard: the status once a second, and what hangs on it; the sections are files of their own.

import { Away, get, post, whenTokenIsNeeded } from "./dashboard-api.js";
import { startConnections } from "./dashboard-connections.js";
import { startConsole } from "./dashboard-console.js";
import { askForToken, confirm, notice } from "./dashboard-dialog.js";
import { startExplain } from "./dashboard-explain.js";
import { startLog } from "./dashboard-log.js";
import { Plot } from "./dashboard-plot.js";
import { poll } from "./dashboard-poll.js";
import { Table } from "./dashboard-table.js";
import { $, bytes, count, duration, el, milliseconds, percent, rate, say } from "./dashboard-text.js";
import { startTheme } from "./dashboard-theme.js";
import { startTopics } from "./dashboard-topics.js";

const PACE = 1000;

const plots = {
    connections: new Plot($("#plot-connections"), { format: count }),
    in: new Plot($("#plot-in"), { format: rate }),
    out: new Plot($("#plot-out"), { format: rate }),
};

// Text, and the unit or total in small behind it.
const FIGURES = [
    ["Subscriptions", (s) => [count(s.subscriptions)]],
    ["Topics", (s) => [count(s.topics)]],
    ["Patterns", (s) => [count(s.patterns)]],
    ["Received", (s, per) => [bytes(per("bytes_received")), "/s"]],
    ["Sent", (s, per) => [bytes(per("bytes_sent")), "/s"]],
    ["Published", (s) => [count(s.totals.published)]],
    ["Delivered", (s) => [count(s.totals.deliveries)]],
    ["Dropped", (s) => [count(s.totals.dropped)]],
    ["Closed", (s) => [count(s.totals.closed)]],
    ["Memory", (s) => [bytes(s.memory.rss_bytes)]],
    ["Logs", (s) => [bytes(s.memory.log_bytes)]],
    ["Histories", (s) => [bytes(s.memory.history_bytes)]],
].map(([name, value]) => {
    const number = el("b", { className: "number" }, "–");
    const unit = el("small", { className: "muted" });
    $("#figures").append(el("div", {}, el("dt", {}, name), el("dd", {}, number, unit)));
    return (...all) => {
        const [text, behind = ""] = value(...all);
        say(number, text);
        say(unit, behind);
    };
});

const workers = new Table($("#workers"), [
    { class: "number", text: (row) => count(row.index) },
    { class: "number", text: (row) => count(row.sessions) },
    {
        class: "busy",
        make: () => el("div", { className: "meter" },
            el("div", {}, el("i")), el("span", { className: "number" })),
        fill: (meter, row) => {
            meter.querySelector("i").style.inlineSize = percent(row.busy ?? 0).replace(" ", "");
            meter.classList.toggle("hot", row.busy >= 0.8);
            say(meter.lastElementChild, percent(row.busy));
        },
    },
    { class: "number", text: (row) => milliseconds(row.loop_lag_ms) },
    { class: "number", text: (row) => bytes(row.mailbox_bytes) },
    { class: "number", text: (row) => bytes(row.log_bytes) },
], (row) => row.index);

const theConsole = startConsole();
const explain = startExplain($("#explain"));

let last = null; // {at, status} of the answer before
let answeredAt = null;

// How much a total has grown a second since the answer before; null where there is none to compare.
function growth(now) {
    const usable = last && now.status.uptime_seconds >= last.status.uptime_seconds && now.at > last.at;
    return (name) => {
        if (!usable) return null;
        const grown = now.status.totals[name] - last.status.totals[name];
        return grown < 0 ? null : (grown * 1000) / (now.at - last.at);
    };
}

function present(status) {
    const at = Date.now();
    const per = growth({ at, status });
    plots.connections.add(at, status.connections);
    plots.in.add(at, per("published"));
    plots.out.add(at, per("deliveries"));
    for (const figure of FIGURES) figure(status, per);
    workers.update(status.workers);
    say($("#version"), status.version);
    say($("#uptime"), duration(status.uptime_seconds));
    if (status.draining) state("Draining", "warn");
    else if (status.ready) state("Ready", "good");
    else state("Not ready", "warn");
    $("#drain").disabled = status.draining;
    document.title = `${count(status.connections)} · Hermes`;
    theConsole.know(status.public);
    last = { at, status };
}

function state(word, kind) {
    say($("#state"), word);
    $("#state").className = `pill ${kind}`;
}

function away(why) {
    if (why) {
        const since = answeredAt ? ` The figures are ${duration((Date.now() - answeredAt) / 1000)} old.` : "";
        say($("#away"), `Hermes does not answer (${why.toLowerCase()}).${since} Trying again every second.`);
        state("Away", "bad");
        $("#drain").disabled = true;
        document.title = "Away · Hermes";
        if (last) for (const plot of Object.values(plots)) plot.add(Date.now(), null);
        last = null;
    } else {
        answeredAt = Date.now();
    }
    $("#away").hidden = !why;
    document.body.classList.toggle("stale", Boolean(why));
}

async function askStatus() {
    let status;
    try {
        status = await get("status");
    } catch (fault) {
        away(fault instanceof Away ? fault.message : `it says: ${fault.message}`);
        return;
    }
    away(null);
    present(status);
}

async function drain() {
    const sure = await confirm({
        title: "Drain this Hermes?",
        body: [el("p", {}, "As SIGTERM does: it takes no more connections, sends what is queued, closes them all "
            + "and ends. This cannot be undone.")],
        action: "Drain and end",
    });
    if (!sure) return;
    try {
        await post("drain", "{}");
        notice("It drains.");
    } catch (fault) {
        notice(`It does not drain: ${fault.message}`, true);
    }
}

function choosePlots() {
    for (const plot of Object.values(plots)) plot.window = Number($("#window").value);
}

startTheme($("#theme"), choosePlots);
whenTokenIsNeeded(askForToken);
$("#window").addEventListener("change", choosePlots);
$("#drain").addEventListener("click", drain);
startLog($("#log"), notice);
startTopics($("#topics"), { notice, useInConsole: theConsole.use });
startConnections($("#connections"), { explain });
poll({ pause: PACE, ask: askStatus });
