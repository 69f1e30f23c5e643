// The one dialog, and the line that says what became of something.

import { $, el, say } from "./dashboard-text.js";

const dialog = $("#dialog");
let turn = Promise.resolve();
let quiet;

// Shows it and resolves with the value of the button that closed it, "" when it was left by Escape.
// `buttons`: [{value, label, kind}], the first is the one that Enter in a field presses. One at a
// time; `must`: it cannot be left but by a button.
export function show({ title, body, buttons, must = false }) {
    const mine = turn.then(() => shown({ title, body, buttons, must }));
    turn = mine.catch(() => {});
    return mine;
}

function shown({ title, body, buttons, must }) {
    say($("#dialog-title"), title);
    $("#dialog-body").replaceChildren(...body);
    $("#dialog-buttons").replaceChildren(...buttons.map(({ value, label, kind = "" }) => el("button", {
        type: "submit", value, textContent: label, className: kind, formNoValidate: value === "",
    })));
    dialog.returnValue = "";
    dialog.oncancel = (event) => {
        if (must) event.preventDefault();
    };
    return new Promise((resolve) => {
        dialog.onclose = () => {
            // Chromium lets a second Escape through, whatever oncancel says.
            if (must && dialog.returnValue === "") dialog.showModal();
            else resolve(dialog.returnValue);
        };
        dialog.showModal();
        ($("#dialog-body input") ?? $("#dialog-buttons [value='']")).focus();
    });
}

export async function confirm({ title, body, action }) {
    const answer = await show({
        title, body,
        buttons: [{ value: "yes", label: action, kind: "danger main" }, { value: "", label: "Cancel" }],
    });
    return answer === "yes";
}

export async function askForToken(wrong) {
    const input = el("input", { type: "password", required: true, autocomplete: "off" });
    await show({
        title: "This Hermes asks for its token",
        body: [
            el("p", {}, wrong ? "That one was refused. " : "",
                  "It is what WS_ADMIN_TOKEN says, and is kept in this tab only."),
            el("label", {}, "Token", input),
        ],
        buttons: [{ value: "token", label: "Go on", kind: "main" }],
        must: true,
    });
    return input.value;
}

export function notice(text, bad = false) {
    const line = $("#notice");
    say(line, text);
    line.classList.toggle("bad", bad);
    clearTimeout(quiet);
    quiet = setTimeout(() => {
        line.textContent = "";
    }, bad ? 10000 : 5000);
}
