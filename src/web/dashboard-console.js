// Subscribe as any client does, over the public port, and publish by the API.

import { post } from "./dashboard-api.js";
import { $, clock, count, el, label, rate, say, some } from "./dashboard-text.js";

const MOST = 200; // messages shown
const LONGEST = 2000; // characters of one
const STATES = {
    connecting: ["connecting", "warn"],
    open: ["connected", "good"],
    waiting: ["no connection", "bad"],
    closed: ["not connected", "idle"],
};
const HINT = ". Is the address right, and may this page connect (WS_ALLOWED_ORIGINS)?";

// Where clients connect, as far as the server and this page's own address tell.
function publicUrl({ port, tls, tls_port: tlsPort }) {
    const secure = tls || (location.protocol === "https:" && tlsPort);
    const usual = secure ? 443 : 80;
    const chosen = tls ? port : secure ? tlsPort : port;
    return `${secure ? "wss" : "ws"}://${location.hostname}${chosen === usual ? "" : `:${chosen}`}/`;
}

export function startConsole() {
    const url = $("#console-url");
    const token = $("#console-token");
    const chips = $("#subscriptions");
    const list = $("#messages");
    const pause = $("#messages-pause");
    const topic = $("#publish-topic");
    const data = $("#publish-data");
    const answer = $("#publish-answer");
    const quote = $("#publish-quote");
    const wanted = new Map(); // "topic T" or "pattern P" → its chip

    let client = null;
    let waiting = []; // messages not yet shown
    let received = 0;
    let before = 0; // what it was a second ago
    let newest = "";

    // ---- the connection ----

    function state(word, kind = "idle") {
        say($("#console-state"), word);
        $("#console-state").className = `pill ${kind}`;
        $("#console-disconnect").disabled = client === null;
    }

    // Only when somebody subscribes: looking at the figures makes no connection more.
    async function connected() {
        const { connect } = await import("./hermes.js");
        if (client) return client;
        const mine = connect(url.value, { token: token.value || undefined });
        let told = ""; // once, however often it is tried
        let hint = HINT; // of no use where it was connected before
        client = mine;
        mine.on("state", (now) => {
            if (client === mine && now !== "closed") state(...STATES[now]);
            if (now === "open") told = hint = "";
            newest = "";
        });
        mine.on("error", (fault) => {
            if (client !== mine || fault.message === told) return;
            told = fault.message;
            aside(told + (fault.code === "connect_failed" ? hint : ""), "error");
        });
        mine.closed.then((fault) => {
            if (client === mine && fault) disconnect();
        });
        state(...STATES[mine.state]);
        return client;
    }

    function disconnect() {
        const old = client;
        client = null;
        old?.close();
        wanted.clear();
        chips.replaceChildren();
        state(...STATES.closed);
    }

    // ---- messages ----

    function line({ at, message, kind, text }) {
        const time = el("time", {}, clock(at));
        if (kind) return el("li", { className: kind }, time, " ", el("b", {}, kind), " ", text);
        const { topic: name, offset, raw } = message;
        const shown = raw.length > LONGEST ? `${raw.slice(0, LONGEST)}… (${count(raw.length)} characters)` : raw;
        return el("li", {}, time, " ", el("b", {}, name), " ",
            el("span", { className: "muted" }, `#${offset}`), " ", shown);
    }

    // However fast they come, the page is touched a few times a second.
    function flush() {
        if (pause.ariaPressed === "true" || !waiting.length) return;
        list.prepend(...waiting.map(line).reverse());
        while (list.childElementCount > MOST) list.lastElementChild.remove();
        waiting = [];
    }

    function note() {
        say($("#messages-note"), received ? `${some(received, "message")}, ${rate(received - before)}/s` : "");
        before = received;
    }

    function keep(entry) {
        waiting.push({ at: Date.now(), ...entry });
        if (waiting.length > MOST) waiting.shift();
    }

    // What is not a message, among them.
    function aside(text, kind) {
        keep({ kind, text });
    }

    // Comes once for each subscription that it matches, one right behind the other.
    function heard(message) {
        const key = `${message.offset} ${message.topic}`;
        if (key === newest) return;
        newest = key;
        received++;
        keep({ message });
    }

    // ---- subscribing ----

    async function subscribe(name, isPattern) {
        const key = `${isPattern ? "pattern" : "topic"} ${name}`;
        if (wanted.has(key)) return;
        const end = el("button", { type: "button", textContent: "×" });
        label(end, `Unsubscribe from ${name}`);
        const chip = el("li", {}, el("span", { title: name }, isPattern ? `${name} (pattern)` : name), end);
        wanted.set(key, chip);
        chips.append(chip);
        newest = "";
        const remove = () => {
            if (wanted.get(key) === chip) wanted.delete(key);
            chip.remove();
        };
        try {
            const subscription = (await connected()).subscribe(isPattern ? { pattern: name } : name, heard);
            subscription.on("gap", (gap) => aside(gap.from === undefined ? `some of ${name} may be missing`
                : `${gap.topic} ${gap.from} to ${gap.to} will not come`, "gap"));
            subscription.on("end", remove);
            end.addEventListener("click", () => {
                subscription.unsubscribe();
                $("#subscribe-topic").focus();
            });
        } catch (fault) {
            remove();
            aside(fault.message, "error");
        }
    }

    $("#subscribe").addEventListener("submit", (event) => {
        event.preventDefault();
        const input = $("#subscribe-topic");
        subscribe(input.value, $("#subscribe-pattern").checked);
        if (!topic.value && !$("#subscribe-pattern").checked) topic.value = input.value;
        input.select();
    });
    $("#console-disconnect").addEventListener("click", disconnect);
    pause.addEventListener("click", () => {
        pause.ariaPressed = String(pause.ariaPressed !== "true");
        flush();
    });
    $("#messages-clear").addEventListener("click", () => {
        waiting = [];
        list.replaceChildren();
    });

    // ---- publishing ----

    function told(text, bad = false) {
        say(answer, text);
        answer.classList.toggle("bad", bad);
    }

    function isJson(text) {
        try {
            JSON.parse(text);
            return true;
        } catch {
            return false;
        }
    }

    async function publish() {
        const text = data.value.trim();
        quote.hidden = isJson(text);
        if (!quote.hidden) return told("That is not JSON. A text stands in quotes.", true);
        try {
            const did = await post("publish", `{"topic":${JSON.stringify(topic.value)},"data":${text}}`);
            told(`Message ${count(did.offset)} of ${did.topic}, to ${some(did.subscribers, "subscriber")}.`);
        } catch (fault) {
            told(`Not published: ${fault.message}`, true);
        }
    }

    $("#publish").addEventListener("submit", (event) => {
        event.preventDefault();
        publish();
    });
    data.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
            event.preventDefault();
            $("#publish").requestSubmit();
        }
    });
    data.addEventListener("input", () => {
        quote.hidden = true;
    });
    quote.addEventListener("click", () => {
        data.value = JSON.stringify(data.value);
        quote.hidden = true;
        told("");
        data.focus();
    });

    setInterval(flush, 200);
    setInterval(note, 1000);
    state(...STATES.closed);

    return {
        // What /api/status says of the public port; what was typed in meanwhile stays.
        know(listener) {
            const found = publicUrl(listener);
            if (!url.value || url.value === url.dataset.found) url.value = found;
            url.dataset.found = found;
        },
        use(name) {
            $("#subscribe-topic").value = topic.value = name;
            $("#subscribe-pattern").checked = false;
            $("#console").scrollIntoView({ block: "nearest" });
            $("#subscribe-topic").focus({ preventScroll: true });
        },
    };
}
