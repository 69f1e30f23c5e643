// Requests to /api: the token that they may need, and the words for what goes wrong.

const KEPT = "hermes-admin-token";
const PATIENCE = 8000;
const SENDABLE = /^[\x21-\x7e]*$/; // with others in a header fetch() fails as if there were no network

let token = read();
let asking = null;

// Replaced by the page; resolves with what was typed in.
let ask = async () => "";

export function whenTokenIsNeeded(question) {
    ask = question;
}

function read() {
    try {
        const kept = sessionStorage.getItem(KEPT) ?? "";
        return SENDABLE.test(kept) ? kept : "";
    } catch {
        return ""; // storage is switched off: asked for again in each tab
    }
}

function keep(text) {
    token = text;
    try {
        sessionStorage.setItem(KEPT, text);
    } catch {
        // as above
    }
}

// The server answered, and said no.
export class Refused extends Error {
    constructor(status, code, message) {
        super(message);
        this.status = status;
        this.code = code;
    }
}

// The server did not answer, or something else did in its place.
export class Away extends Error {}

async function askFor(wrong) {
    let typed = (await ask(wrong)).trim();
    while (!SENDABLE.test(typed)) typed = (await ask(true)).trim();
    keep(typed);
}

// However many requests find out at once, it is asked for once.
function tokenAfter(used) {
    if (token !== used) return Promise.resolve();
    asking ??= askFor(used !== "").finally(() => {
        asking = null;
    });
    return asking;
}

function strange(response) {
    return new Away(`An answer that is not Hermes' (HTTP ${response.status})`);
}

async function answer(response) {
    let body;
    try {
        body = await response.json();
    } catch {
        throw strange(response);
    }
    if (response.ok) return body;
    if (!body?.error?.message) throw strange(response);
    throw new Refused(response.status, body.error.code, body.error.message);
}

async function request(path, body) {
    for (;;) {
        const used = token;
        const headers = {};
        if (used) headers.Authorization = `Bearer ${used}`;
        if (body !== undefined) headers["Content-Type"] = "application/json";
        let response;
        try {
            response = await fetch(`api/${path}`, {
                method: body === undefined ? "GET" : "POST",
                headers, body, cache: "no-store", credentials: "omit", redirect: "error",
                signal: AbortSignal.timeout(PATIENCE),
            });
        } catch (fault) {
            throw new Away(fault.name === "TimeoutError" ? "No answer in time" : "No connection");
        }
        if (response.status === 401) {
            await tokenAfter(used);
            continue;
        }
        return answer(response);
    }
}

export function get(path, parameters = {}) {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(parameters)) {
        if (value !== "" && value !== null && value !== undefined) query.set(name, value);
    }
    return request(query.size ? `${path}?${query}` : path);
}

// `text` is JSON that goes out as it stands: what was typed as 170.50 is published as 170.50.
export function post(path, text) {
    return request(path, text);
}
