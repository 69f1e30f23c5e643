// The Hermes client for browsers and Node: one ES module, no dependencies.
//
//     import { connect } from "/hermes.js";
//     const hermes = connect("wss://broker.example");
//     hermes.subscribe("stock:AAPL", (message) => console.log(message.offset, message.data));
//     const { offset, subscribers } = await hermes.publish("stock:AAPL", { price: 170.5 });
//     for await (const message of hermes.subscribe({ pattern: "chat:>" })) console.log(message.data);
//
// It speaks hermes.v2 and nothing else. It connects again by itself, subscribes again, and goes on
// in each topic behind the last message that came; what cannot be made up for is told by a `gap`.

const PROTOCOL = "hermes.v2";
const HIGH_WATER = 1 << 20; // bytes in the socket's buffer, past which publishes wait here
const DRAIN_MS = 25; // until the buffer is looked at again: no event tells
const STABLE_MS = 5000; // a connection that lasted this long makes the back-off start anew
const CLOSE_MS = 3000; // for the server's part of a close
const FAILED_MS = 100; // from an error to the close that must follow it
const PROBE_MS = 5000; // for an answer where the network is known to have changed
const AFTER_MAX_MS = 3600_000; // the most that the server may ask us to stay away
const HISTORY_PAGE = 1000;
const MATCHES_KEPT = 10_000; // topics of which is remembered which patterns match

const LOST = 1006; // as the WebSocket API says it: ended without a close frame

// Closed for what would happen again: 4500 to 4999 mean it, and these.
const FINAL = new Set([1002, 1003, 1007, 1010]);
// Coming back may help, but not at once.
const LATER = new Set([1008, 1013, 4003, 4009, 4029]);

/** Whether a connection that was closed with `code` is worth another: "retry", "later", "never". */
export function afterClose(code) {
    if (FINAL.has(code) || (code >= 4500 && code <= 4999)) return "never";
    return LATER.has(code) ? "later" : "retry";
}

export class HermesError extends Error {
    constructor(code, message, { cause, topic, pattern, closeCode } = {}) {
        super(message, cause === undefined ? undefined : { cause });
        this.code = code;
        if (topic !== undefined) this.topic = topic;
        if (pattern !== undefined) this.pattern = pattern;
        if (closeCode !== undefined) this.closeCode = closeCode;
    }

    get name() {
        return "HermesError";
    }
}

const passing = (error) => error.code === "rate_limited" || error.code === "unavailable";

// A fault in a program's callback is the program's: it must not stop what comes behind it.
function report(error) {
    if (typeof globalThis.reportError === "function") globalThis.reportError(error);
    else queueMicrotask(() => { throw error; });
}

function guarded(callback, ...given) {
    try {
        callback(...given);
    } catch (error) {
        report(error);
    }
}

const EMIT = Symbol("emit");

class Emitter {
    #listeners = new Map();

    /** Returns a function that takes the listener away again. */
    on(event, listener, { once = false, signal } = {}) {
        if (typeof listener !== "function") throw new TypeError("The listener must be a function.");
        if (signal?.aborted) return () => {};
        const entry = { listener, once };
        let all = this.#listeners.get(event);
        if (!all) this.#listeners.set(event, (all = new Set()));
        all.add(entry);
        const off = () => {
            all.delete(entry);
            signal?.removeEventListener("abort", off);
        };
        signal?.addEventListener("abort", off, { once: true });
        entry.off = off;
        return off;
    }

    once(event, listener, options) {
        return this.on(event, listener, { ...options, once: true });
    }

    off(event, listener) {
        for (const entry of [...(this.#listeners.get(event) ?? [])])
            if (entry.listener === listener) entry.off();
    }

    [EMIT](event, ...given) {
        for (const entry of [...(this.#listeners.get(event) ?? [])]) {
            if (entry.once) entry.off();
            guarded(entry.listener, ...given);
        }
    }
}

// ---- the exact text of a value: JSON.parse rounds numbers past 2^53 ----

// All of these walk text that JSON.parse has already taken.

function skipSpace(text, at) {
    while (text.charCodeAt(at) <= 32) at++;
    return at;
}

// From the opening quote to behind the closing one.
function skipString(text, at) {
    for (at++; ; at++) {
        const c = text.charCodeAt(at);
        if (c === 34) return at + 1;
        if (c === 92) at++;
    }
}

function skipValue(text, at) {
    const first = text[at];
    if (first === '"') return skipString(text, at);
    if (first !== "{" && first !== "[") {
        while (at < text.length && !",]} \t\r\n".includes(text[at])) at++;
        return at;
    }
    for (let depth = 0; ;) {
        const c = text[at];
        if (c === '"') {
            at = skipString(text, at);
            continue;
        }
        at++;
        if (c === "{" || c === "[") depth++;
        else if ((c === "}" || c === "]") && --depth === 0) return at;
    }
}

// Where the value of `key` begins in the object that begins at `at`; the last one counts.
function findMember(text, at, key) {
    let found = -1;
    at = skipSpace(text, at + 1);
    while (text[at] !== "}") {
        const end = skipString(text, at);
        const name = JSON.parse(text.slice(at, end));
        at = skipSpace(text, skipSpace(text, end) + 1);
        if (name === key) found = at;
        at = skipSpace(text, skipValue(text, at));
        if (text[at] === ",") at = skipSpace(text, at + 1);
    }
    return found;
}

function memberText(text, at, key) {
    const from = findMember(text, at, key);
    return from < 0 ? undefined : text.slice(from, skipValue(text, from));
}

// Where the elements of the array that is the member `key` begin.
function elementsOf(text, key) {
    const starts = [];
    let at = skipSpace(text, findMember(text, skipSpace(text, 0), key) + 1);
    while (text[at] !== "]") {
        starts.push(at);
        at = skipSpace(text, skipValue(text, at));
        if (text[at] === ",") at = skipSpace(text, at + 1);
    }
    return starts;
}

// A history answer, whose rows are found once, when the text of the first is asked for.
class Rows {
    #text;
    #starts;

    constructor(text) {
        this.#text = text;
    }

    raw(row) {
        this.#starts ??= elementsOf(this.#text, "messages");
        return memberText(this.#text, this.#starts[row], "data");
    }
}

/** One message of a topic; see hermes.d.ts. */
class Message {
    #source;
    #row;

    constructor(topic, epoch, { data, offset, pattern }, source, row) {
        this.topic = topic;
        this.data = data;
        this.offset = offset;
        if (epoch !== undefined) this.epoch = epoch;
        if (pattern !== undefined) this.pattern = pattern;
        this.#source = source;
        this.#row = row;
    }

    get raw() {
        return typeof this.#source === "string"
            ? memberText(this.#source, skipSpace(this.#source, 0), "data") : this.#source.raw(this.#row);
    }
}

// ---- patterns ----

// Segments are separated by `:`; `*` is exactly one (an empty one too), a last `>` one or more.
function matches(pattern, topic) {
    const wanted = pattern.split(":");
    const has = topic.split(":");
    for (let i = 0; i < wanted.length; i++) {
        if (i >= has.length) return false;
        if (wanted[i] === ">" && i === wanted.length - 1) return true;
        if (wanted[i] !== "*" && wanted[i] !== has[i]) return false;
    }
    return wanted.length === has.length;
}

// ---- gaps ----

// What is missing in front of one message, of which two gaps tell. Where offsets have started anew in
// between, or where the end is not known, the later one is what there is to say.
function joined(earlier, later) {
    if (earlier?.from === undefined || later.from === undefined || later.epoch !== undefined) return later;
    return { ...later, from: earlier.from, ...(earlier.epoch !== undefined && { epoch: earlier.epoch }) };
}

// ---- a subscription ----

// What the client does with a subscription, out of its users' reach.
const GIVE = Symbol("give");
const LOSE = Symbol("lose");
const BEGIN = Symbol("begin");
const END = Symbol("end");

/** What subscribe returns: events, and with no callback an async iterator. */
export class Subscription extends Emitter {
    #callback;
    #leave;
    #later;
    #policy;
    #most;
    #queue = [];
    #looking = false; // whether it fits, as soon as the loop has had a turn
    #waiting = []; // calls of next() that found nothing
    #begun;
    #ended = false;
    #error;
    #told = new Map(); // topic, or "" for any → the gap in front of its next message
    #dropped = new Map(); // the same, of what this queue had no room for
    #position;

    #signal;
    #abort;

    constructor({ topic, pattern, callback, policy, buffer, signal, leave, later }) {
        super();
        if (topic !== undefined) this.topic = topic;
        if (pattern !== undefined) this.pattern = pattern;
        this.#callback = callback;
        this.#policy = policy ?? "disconnect";
        this.#most = buffer;
        this.#leave = leave;
        this.#later = later;
        /** Settles when the server has answered for the first time. */
        this.ready = new Promise((resolve, reject) => (this.#begun = { resolve, reject }));
        this.ready.catch(() => {}); // it is told by an event as well
        // With a callback that is how one says that it is enough; an iterator has somebody waiting.
        this.#signal = signal;
        this.#abort = () => leave(this, callback ? undefined : signal.reason);
        signal?.addEventListener("abort", this.#abort, { once: true });
    }

    get ended() {
        return this.#ended;
    }

    /** The last message that came, to be given as `since` another time; not of a pattern. */
    get position() {
        return this.#position && { ...this.#position };
    }

    /** Resolves when nothing will come any more. */
    unsubscribe() {
        return this.#leave(this);
    }

    [Symbol.asyncIterator]() {
        if (this.#callback) throw new TypeError("A subscription with a callback cannot be iterated.");
        return {
            next: () => this.#next(),
            // Who leaves a loop does not wait for the network.
            return: async (value) => {
                this.unsubscribe();
                this.#queue.length = 0;
                return { value, done: true };
            },
            [Symbol.asyncIterator]() {
                return this;
            },
        };
    }

    #next() {
        if (this.#queue.length > 0) return Promise.resolve({ value: this.#take(), done: false });
        if (!this.#ended) return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
        const error = this.#error;
        this.#error = undefined; // once, as a generator would
        return error === undefined ? Promise.resolve({ value: undefined, done: true }) : Promise.reject(error);
    }

    #take() {
        const message = this.#queue.shift();
        const gap = this.#dropped.get(message.topic);
        if (gap) {
            this.#dropped.delete(message.topic);
            message.gap = message.gap ? joined(gap, message.gap) : gap;
            this[EMIT]("gap", gap);
        }
        return message;
    }

    // Many may come at once, as the past does, before any loop could take one: what still waits when
    // it has had a turn is what it is too slow for.
    #look() {
        if (this.#looking || this.#queue.length <= this.#most) return;
        this.#looking = true;
        this.#later(() => {
            this.#looking = false;
            if (!this.#ended && this.#queue.length > this.#most) this.#makeRoom();
        });
    }

    // The queue is too long: as the server would do it, by the policy.
    #makeRoom() {
        if (this.#policy === "disconnect") {
            this.#leave(this, new HermesError("too_slow",
                `More than ${this.#most} messages wait to be taken from this subscription.`, this));
            return;
        }
        let over = this.#queue.length - this.#most;
        if (this.#policy === "latest") {
            const of = new Map(); // topic → how many
            for (const { topic } of this.#queue) of.set(topic, (of.get(topic) ?? 0) + 1);
            this.#queue = this.#queue.filter((message) => {
                const has = of.get(message.topic);
                if (over === 0 || has === 1) return true;
                of.set(message.topic, has - 1);
                over--;
                this.#lose(message);
                return false;
            });
        }
        for (const message of this.#queue.splice(0, over)) this.#lose(message);
    }

    #lose({ topic, offset, gap }) {
        const before = this.#dropped.get(topic);
        const { from = offset, epoch } = (gap ? joined(before, gap) : before) ?? {};
        this.#dropped.set(topic, { topic, from, to: offset, ...(epoch !== undefined && { epoch }), reason: "buffer" });
    }

    [GIVE](message) {
        if (this.#ended) return;
        const of = this.#told.has(message.topic) ? message.topic : "";
        if (this.#told.has(of)) {
            message.gap = this.#told.get(of);
            this.#told.delete(of);
        }
        if (message.epoch !== undefined) this.#position = { epoch: message.epoch, offset: message.offset };
        if (this.#callback) {
            guarded(this.#callback, message, this);
        } else if (this.#waiting.length > 0) {
            this.#waiting.shift().resolve({ value: message, done: false });
        } else {
            this.#queue.push(message);
            this.#look();
        }
    }

    [LOSE](gap) {
        if (this.#ended) return;
        const of = gap.topic ?? "";
        this.#told.set(of, joined(this.#told.get(of), gap));
        // Nothing of the new offsets has come: history may have what was missed.
        if (gap.epoch !== undefined && this.#position && this.#position.epoch !== gap.epoch)
            this.#position = { epoch: gap.epoch, offset: 0 };
        this[EMIT]("gap", gap);
    }

    [BEGIN](answer, from) {
        if (answer.epoch !== undefined) this.#position ??= { epoch: answer.epoch, offset: from };
        this.#begun.resolve(answer);
    }

    [END](error, why = error) {
        if (this.#ended) return;
        this.#ended = true;
        this.#error = error;
        this.#signal?.removeEventListener("abort", this.#abort);
        this.#begun.reject(why ?? new HermesError("closed", "The subscription was ended.", this));
        const waiting = this.#waiting.splice(0);
        if (waiting.length > 0) this.#error = undefined;
        for (const { resolve, reject } of waiting)
            if (error === undefined) resolve({ value: undefined, done: true });
            else reject(error);
        if (error instanceof HermesError) this[EMIT]("error", error);
        this[EMIT]("end", error);
    }
}

// ---- a topic or pattern as the server knows it ----

// IDLE: not asked for. ASKED, LEAVING: until the answer.
const [IDLE, ASKED, LIVE, LEAVING] = ["idle", "asked", "live", "leaving"];

class Channel {
    state = IDLE;
    subs = new Map(); // Subscription → what is known of it here
    tries = 0; // refusals that may pass, in a row
    policy; // the last that was asked for
    presence = false;
    // Of a topic. `epoch` is known from the first answer on; messages to `offset` are here.
    epoch;
    offset = 0;
    past = 0; // up to here it is history, which only those get who asked for it
    first; // {since} or {replay}, of the first subscription, until it was answered
    replaying = 0; // so many were asked for, and nothing came yet
    own = new Set(); // published by us with echo:false: to be left out of a replay
    quiet = false; // published to without an id: a refusal may be of that
    before = false; // of a pattern: it was subscribed on an earlier connection
    leaving = []; // who waits until nothing comes any more
    was; // while it is left: what it will be again if the server does not let go of it

    constructor(topic, pattern) {
        this.topic = topic;
        this.pattern = pattern;
    }

    get name() {
        return this.pattern === undefined ? { topic: this.topic } : { pattern: this.pattern };
    }

    // Who joins while it is left gets what comes behind the answer to that.
    takers() {
        return this.state === LIVE ? [...this.subs] : [];
    }

    // Steps over what we have published ourselves.
    reach(offset) {
        this.offset = offset;
        while (this.own.delete(this.offset + 1)) this.offset++;
    }

    // Offsets have started anew; what comes next is behind this one.
    restart(epoch, offset) {
        if (this.state === LEAVING) this.was.epoch = epoch;
        else this.epoch = epoch;
        this.own.clear();
        Object.assign(this, { offset, past: 0, replaying: 0 });
        for (const wish of this.subs.values()) wish.from = offset;
    }

    notEchoed(offset) {
        for (const old of this.own) if (old <= this.offset) this.own.delete(old);
        if (offset <= this.offset) return;
        this.own.add(offset);
        this.reach(this.offset);
    }
}

// ---- the client ----

function resolveUrl(url) {
    let found;
    try {
        found = new URL(url ?? "/", globalThis.location?.href);
    } catch (cause) {
        throw new HermesError("bad_url", url === undefined
            ? "Say where the server is: connect(\"ws://host:port\")." : `Not a URL: ${url}`, { cause });
    }
    if (found.protocol === "http:") found.protocol = "ws:";
    if (found.protocol === "https:") found.protocol = "wss:";
    if (found.protocol !== "ws:" && found.protocol !== "wss:")
        throw new HermesError("bad_url", `Not a ws:// or wss:// URL: ${found.href}`);
    found.hash = "";
    return found.href;
}

// A server that lets in only so many a second lets those in first who were there before.
function comingBack(url) {
    return `${url}${url.includes("?") ? "&" : "?"}resume=1`;
}

function positive(options, name, fallback) {
    const value = options[name] ?? fallback;
    if (typeof value !== "number" || !(value > 0))
        throw new HermesError("bad_option", `${name} must be a number above 0.`);
    return value;
}

const realClock = {
    setTimeout: (callback, ms) => setTimeout(callback, ms),
    clearTimeout: (timer) => clearTimeout(timer),
    now: () => performance.now(),
};

/** One connection that lasts. Made by connect(); see hermes.d.ts for what each option means. */
export class Hermes extends Emitter {
    #url;
    #known = false; // the server has greeted this client before
    #Socket;
    #token; // text, or a function that gives one
    #minimum;
    #maximum;
    #connectMs;
    #heartbeatMs;
    #pongMs;
    #maxMessageBytes;
    #maxQueued;
    #maxQueuedBytes;
    #clock;
    #random;

    #state = "connecting";
    #client;
    #link = null; // of the attempt or connection that counts: all else about an older one is ignored
    #attempt = 0;
    #byAuth = false; // the last handshake that carried the token failed, for a reason nobody tells us
    #retryTimer;
    #patient = false; // the server has said how long to wait
    #refusedToken = false;
    #final; // why it is over, from close() on or from the server's last word on
    #aborting = new AbortController(); // ends with the client
    #opening = []; // who waits for it to be open
    #closed;
    #closedResolve;

    #channels = new Map();
    #patterns = 0;
    #matching = new Map();
    #ids = 0;
    #joins = new Set(); // channels to be subscribed one after the other, where the server wants it slowly
    #joinGap = 0; // milliseconds between two; 0: at once
    #joinTimer;
    #delays = new Set(); // timers of what is tried again on this connection, those of joins too
    #slowedAt = 0;
    #pending = new Map(); // id → who waits for the answer
    #queue = []; // commands of the program that did not go out yet, in order
    #queuedBytes = 0;

    constructor(url, options = {}) {
        super();
        this.#url = resolveUrl(url);
        this.#Socket = options.WebSocket ?? globalThis.WebSocket;
        if (typeof this.#Socket !== "function")
            throw new HermesError("no_websocket", "There is no WebSocket here (Node has one from 22 on): "
                + "pass one, as in connect(url, { WebSocket }) with that of the package ws.");
        this.#token = options.token;
        if (!["undefined", "string", "function"].includes(typeof this.#token))
            throw new HermesError("bad_option", "token must be a string or a function.");
        const { backoff = {}, queue = {} } = options;
        this.#minimum = positive(backoff, "minimum", 250);
        this.#maximum = Math.max(positive(backoff, "maximum", 30_000), this.#minimum);
        this.#maxQueued = positive(queue, "messages", 1000);
        this.#maxQueuedBytes = positive(queue, "bytes", 4 << 20);
        this.#connectMs = positive(options, "connectTimeout", 10_000);
        this.#heartbeatMs = positive(options, "heartbeat", 30_000);
        this.#pongMs = positive(options, "heartbeatTimeout", 10_000);
        this.#maxMessageBytes = positive(options, "maxMessageBytes", 1 << 20);
        this.#clock = options.clock ?? realClock;
        this.#random = options.random ?? Math.random;
        this.#closed = new Promise((resolve) => (this.#closedResolve = resolve));
        options.signal?.throwIfAborted();
        options.signal?.addEventListener("abort", () => this.close(),
            { once: true, signal: this.#aborting.signal });
        this.#watchPage();
        this.#connect();
    }

    /** "connecting", "open", "waiting" (to connect again) or "closed". */
    get state() {
        return this.#state;
    }

    get url() {
        return this.#url;
    }

    /** The server's name for this connection, as presence has it. */
    get client() {
        return this.#client;
    }

    /** Settles when it is open (at once, if it is), or closed for good. */
    get ready() {
        if (this.#final) return this.#refuse(this.#final);
        if (this.#state === "open") return Promise.resolve(this);
        const ready = new Promise((resolve, reject) => this.#opening.push({ resolve, reject }));
        ready.catch(() => {});
        return ready;
    }

    /** Settles when it is closed for good, with the reason; undefined after close(). */
    get closed() {
        return this.#closed;
    }

    #refuse(error) {
        const refused = Promise.reject(error);
        refused.catch(() => {});
        return refused;
    }

    // ---- connecting ----

    async #connect() {
        this.#clock.clearTimeout(this.#retryTimer);
        this.#retryTimer = undefined;
        const link = { open: false, heard: this.#clock.now() };
        this.#link = link;
        link.deadline = this.#clock.setTimeout(
            () => this.#abandon(link, "No connection in time."), this.#connectMs);
        this.#enter("connecting");
        let token;
        try {
            token = await this.#askToken(this.#refusedToken ? "refused" : "connect");
        } catch (cause) {
            if (this.#link !== link) return;
            link.error = new HermesError("token_failed", "No token could be got.", { cause });
            this.#ended(link, LOST, "");
            return;
        }
        if (this.#link !== link) return;
        const protocols = [PROTOCOL];
        // A failed handshake does not say why, where pages run. The command auth does.
        if (token !== undefined && !this.#byAuth && /^[\w.~+-]{1,6000}$/.test(token)) {
            protocols.push(`token.${token}`);
            link.showed = true;
        } else {
            link.token = token;
        }
        let socket;
        try {
            socket = new this.#Socket(this.#known ? comingBack(this.#url) : this.#url, protocols);
        } catch (cause) {
            this.#finish(new HermesError("bad_url", `Cannot connect to ${this.#url}: ${cause.message}`, { cause }));
            return;
        }
        link.socket = socket;
        // They stay: an abandoned socket of Node's `ws` throws what nobody listens to.
        socket.onopen = () => {
            if (this.#link === link && socket.protocol !== PROTOCOL)
                this.#finish(new HermesError("no_level_2", "This server does not speak hermes.v2."));
        };
        socket.onmessage = ({ data }) => {
            if (this.#link === link) this.#heard(link, data);
        };
        socket.onerror = (event) => {
            link.cause ??= event.error ?? event.message;
            // A close follows; but not of a handshake that failed, where the WebSocket is Node 20's own.
            if (this.#link === link && !link.open)
                link.failed ??= this.#clock.setTimeout(() => this.#abandon(link, ""), FAILED_MS);
        };
        socket.onclose = ({ code, reason }) => {
            if (this.#link === link) this.#ended(link, code, String(reason ?? ""));
        };
    }

    async #askToken(reason) {
        if (typeof this.#token !== "function") return this.#token;
        const token = await this.#token({ reason, signal: this.#aborting.signal });
        if (token !== undefined && token !== null && typeof token !== "string")
            throw new TypeError("The token must be a string.");
        return token || undefined;
    }

    // The first frame: what the server calls us.
    async #greeted(link, frame) {
        if (link.greeted) return;
        link.greeted = true;
        this.#known = true;
        link.client = frame.client;
        if (link.token !== undefined) {
            // Nothing else goes out before the answer: it would be done as somebody else.
            try {
                await this.#ask({ type: "auth", token: link.token });
            } catch (error) {
                if (this.#link !== link) return;
                if (typeof this.#token === "string" && !passing(error)) {
                    this.#finish(error);
                    return;
                }
                this.#refusedToken = !passing(error);
                link.error = error;
                this.#drop(link);
                this.#ended(link, LOST, "");
                return;
            }
        }
        if (this.#link === link) this.#opened(link);
    }

    #opened(link) {
        this.#clock.clearTimeout(link.deadline);
        link.deadline = undefined;
        link.open = true;
        link.since = this.#clock.now();
        this.#client = link.client;
        this.#byAuth = this.#refusedToken = false;
        this.#watch(link);
        for (const channel of [...this.#channels.values()]) this.#settle(channel);
        this.#flush();
        this.#enter("open");
        this[EMIT]("open", { client: this.#client });
        for (const { resolve } of this.#opening.splice(0)) resolve(this);
    }

    #enter(state) {
        const before = this.#state;
        if (before === state || before === "closed") return;
        this.#state = state;
        this[EMIT]("state", state, before);
    }

    // ---- the end of a connection ----

    #drop(link) {
        if (!link.socket) return;
        try {
            // A close would wait for the answer of a peer that may not be there any more.
            if (typeof link.socket.terminate === "function") link.socket.terminate();
            else link.socket.close();
        } catch {
            // It is not needed any more, whatever it says.
        }
    }

    #abandon(link, reason) {
        if (this.#link !== link) return;
        this.#drop(link);
        this.#ended(link, LOST, reason);
    }

    #unlink() {
        const link = this.#link;
        this.#link = null;
        if (link)
            for (const timer of [link.deadline, link.failed, link.beat, link.probe, link.drain, link.closing, ...this.#delays])
                this.#clock.clearTimeout(timer);
        this.#delays.clear();
        // In the order in which they went out; what may be asked twice goes to the front again.
        this.#joins.clear();
        this.#joinTimer = undefined;
        const again = [];
        const pending = [...this.#pending.values()];
        this.#pending.clear();
        for (const channel of [...this.#channels.values()]) this.#forget(channel);
        for (const one of pending)
            if (one.repeat) again.push(one);
            else one.lost?.();
        this.#queue.unshift(...again);
        for (const { bytes } of again) this.#queuedBytes += bytes;
    }

    // The connection on which it was subscribed is gone.
    #forget(channel) {
        if (channel.state !== IDLE) channel.quiet = false;
        if (channel.state === LIVE && channel.replaying > 0) {
            // Nothing of the replay came: live messages go on from here, and it is asked for by itself.
            for (const wish of channel.subs.values())
                if (wish.first) Object.assign(wish, { first: false, begun: false, need: { replay: channel.replaying } });
            channel.reach(channel.past);
            channel.replaying = 0;
        }
        Object.assign(channel, { state: IDLE, was: undefined });
        this.#settle(channel);
        if (channel.subs.size === 0) this.#left(channel);
    }

    #ended(link, code, reason) {
        this.#unlink();
        if (this.#final) {
            this.#finish(this.#final);
            return;
        }
        const fresh = typeof this.#token === "function";
        const expired = code === 4001;
        if (link.showed && !link.open) this.#byAuth = true;
        else if (!link.open) this.#byAuth = false;
        if (expired) this.#refusedToken = true;
        if (code === 4029) this.#slower();
        let fate = afterClose(code);
        if (expired && this.#token !== undefined && !fresh) fate = "never";
        if (fate === "never") {
            if (link.open) this[EMIT]("close", { code, reason, final: true });
            this.#finish(expired
                ? new HermesError("token_expired", "The token has expired, and there is no other.", { closeCode: code })
                : new HermesError("refused", `The server does not want us: ${code} ${reason}`.trim(), { closeCode: code }));
            return;
        }
        const lasted = link.open && this.#clock.now() - link.since >= STABLE_MS;
        if (lasted) this.#attempt = 0;
        this.#patient = link.after !== undefined || fate === "later";
        // It counts from when it was said. A server that says so each time at once is not to be asked
        // without end.
        const delay = link.after === undefined ? this.#backoff(fate === "later")
            : Math.max(link.after - this.#clock.now(), lasted ? 0 : this.#backoff(false));
        this.#retryTimer = this.#clock.setTimeout(() => this.#connect(), delay);
        this.#enter("waiting");
        if (this.#state !== "waiting") return;
        if (link.open) {
            this[EMIT]("close", { code, reason, final: false, delay });
        } else {
            this[EMIT]("error", link.error ?? new HermesError("connect_failed",
                `No connection to ${this.#url}${reason ? `: ${reason}` : ""}`,
                { cause: link.cause, closeCode: code }));
        }
    }

    // Full jitter: clients that lost the same server do not come back at the same moment. `later`: at
    // least half of a longer time.
    #backoff(later) {
        if (later) this.#attempt = Math.max(this.#attempt, 5);
        const bound = Math.min(this.#maximum, this.#minimum * 2 ** this.#attempt++);
        return later ? bound / 2 + this.#random() * bound / 2 : this.#random() * bound;
    }

    /** Does not wait any longer, where it waits to connect again. */
    reconnect() {
        if (this.#state !== "waiting") return;
        this.#attempt = 0;
        this.#connect();
    }

    /** Ends it for good; resolves when the connection is closed. Nothing is delivered any more. */
    close(code = 1000, reason = "") {
        if (this.#final) return this.#closed.then(() => {});
        if (code !== 1000 && !(code >= 3000 && code <= 4999))
            throw new HermesError("bad_option", "A program closes with 1000, or 3000 to 4999.");
        this.#final = new HermesError("closed", "The client was closed.");
        this.#final.wanted = true;
        this.#clock.clearTimeout(this.#retryTimer);
        this.#aborting.abort(this.#final);
        this.#endAll();
        const link = this.#link;
        if (link?.socket && link.open) {
            link.closing = this.#clock.setTimeout(() => this.#abandon(link, ""), CLOSE_MS);
            link.socket.close(code, reason);
        } else {
            if (link) this.#drop(link);
            this.#finish(this.#final);
        }
        return this.#closed.then(() => {});
    }

    // Subscriptions and what did not go out yet. Answers to what did may still come.
    #endAll() {
        const error = this.#final.wanted ? undefined : this.#final;
        for (const channel of [...this.#channels.values()]) {
            for (const sub of [...channel.subs.keys()]) sub[END](error, this.#final);
            channel.subs.clear();
        }
        this.#matching.clear();
        for (const job of this.#queue.splice(0)) job.reject(this.#final);
        this.#queuedBytes = 0;
    }

    #finish(error) {
        if (this.#state === "closed") return;
        this.#final = error;
        const link = this.#link;
        this.#clock.clearTimeout(this.#retryTimer);
        if (link) this.#drop(link);
        this.#unlink();
        this.#endAll();
        this.#channels.clear();
        if (!this.#aborting.signal.aborted) this.#aborting.abort(error);
        this.#enter("closed");
        for (const { reject } of this.#opening.splice(0)) reject(error);
        if (!error.wanted) this[EMIT]("error", error);
        this.#closedResolve(error.wanted ? undefined : error);
    }

    [Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose")]() {
        return this.close();
    }

    // ---- whether the other side is still there ----

    // Looks when it has been quiet for long: a message costs no timer.
    #watch(link) {
        const quiet = this.#clock.now() - link.heard;
        if (quiet >= this.#heartbeatMs) this.#probe(link, this.#pongMs);
        link.beat = this.#clock.setTimeout(() => this.#watch(link),
            quiet >= this.#heartbeatMs ? this.#heartbeatMs : this.#heartbeatMs - quiet);
    }

    #probe(link, ms) {
        if (link.probe !== undefined || !link.open) return;
        const before = link.socket.bufferedAmount ?? 0;
        const wait = (left) => {
            link.probe = this.#clock.setTimeout(() => {
                const now = link.socket.bufferedAmount ?? 0;
                // What is ahead of the ping is still going out: that is a sign of life too.
                if (now > 0 && now < left) wait(now);
                else this.#abandon(link, "The server does not answer.");
            }, ms);
        };
        this.#ask({ type: "ping" }).catch(() => {});
        wait(before);
    }

    // Where pages run, they are told when the network comes and goes.
    #watchPage() {
        const options = { signal: this.#aborting.signal };
        const look = () => {
            if (this.#state === "waiting") {
                if (this.#patient) return;
                this.#clock.clearTimeout(this.#retryTimer);
                this.#attempt = 0;
                this.#retryTimer = this.#clock.setTimeout(() => this.#connect(), this.#backoff(false));
            } else if (this.#link?.open) {
                this.#probe(this.#link, Math.min(PROBE_MS, this.#pongMs));
            }
        };
        const page = globalThis.document;
        if (typeof globalThis.addEventListener === "function") {
            globalThis.addEventListener("online", look, options);
            globalThis.addEventListener("offline", () => {
                if (this.#link?.open) look();
            }, options);
        }
        page?.addEventListener?.("visibilitychange", () => {
            if (page.visibilityState === "visible") look();
        }, options);
    }

    // ---- what comes ----

    #heard(link, text) {
        link.heard = this.#clock.now();
        if (link.probe !== undefined) {
            this.#clock.clearTimeout(link.probe);
            link.probe = undefined;
        }
        let frame;
        try {
            frame = JSON.parse(text);
        } catch {
            // No server sends this: what else it sends may be damaged too.
            this.#abandon(link, "Something came that is not JSON.");
            return;
        }
        switch (frame?.type) {
        case "message":
            if (typeof frame.topic !== "string" || !Number.isSafeInteger(frame.offset))
                this.#abandon(link, "A message came without its topic or offset.");
            else this.#arrived(frame, text);
            break;
        case "gap":
            if (typeof frame.topic === "string" ? !Number.isSafeInteger(frame.to) : typeof frame.pattern !== "string")
                this.#abandon(link, "A gap came without its topic or end.");
            else if (typeof frame.topic !== "string") this.#missedByPattern(frame);
            else if (typeof frame.epoch === "string") this.#startedAnew(frame);
            else this.#missed(frame);
            break;
        case "join":
        case "leave":
            this.#cameOrWent(frame);
            break;
        case "error":
            this.#fault(frame);
            break;
        case "info":
            this.#greeted(link, frame);
            break;
        case "reconnect":
            if (frame.after_ms >= 0) {
                link.afterMs = Math.min(frame.after_ms, AFTER_MAX_MS);
                link.after = this.#clock.now() + link.afterMs;
            }
            this[EMIT]("reconnect", { afterMs: link.afterMs });
            break;
        default:
            this.#take(frame?.id)?.answer?.(frame, text);
        }
    }

    #take(id) {
        const waiting = this.#pending.get(id);
        this.#pending.delete(id);
        return waiting;
    }

    #topic(topic) {
        const channel = this.#channels.get(`t${topic}`);
        return channel && (channel.state === LIVE || channel.state === LEAVING) ? channel : undefined;
    }

    // The patterns that are subscribed and match.
    *#matched(topic) {
        if (this.#patterns === 0) return;
        let found = this.#matching.get(topic);
        if (!found) {
            if (this.#matching.size >= MATCHES_KEPT) this.#matching.clear();
            found = [...this.#channels.values()].filter(({ pattern }) => pattern !== undefined && matches(pattern, topic));
            this.#matching.set(topic, found);
        }
        for (const channel of found) if (channel.state === LIVE) yield channel;
    }

    #arrived(frame, text) {
        const { topic, offset } = frame;
        // Where the topic itself is subscribed the server says it comes for that.
        const channel = frame.pattern === undefined ? this.#topic(topic) : undefined;
        if (channel) {
            if (offset <= channel.offset) return;
            channel.replaying = 0;
            channel.reach(offset);
            for (const [sub, wish] of channel.takers())
                if (wish.held) wish.held.push({ frame, text });
                else if (offset > wish.from) sub[GIVE](new Message(topic, channel.epoch, frame, text));
            if (offset <= channel.past) return;
        }
        for (const { pattern, subs } of this.#matched(topic))
            for (const sub of [...subs.keys()])
                sub[GIVE](new Message(topic, undefined, { ...frame, pattern }, text));
    }

    #missed({ topic, from, to }) {
        const channel = this.#topic(topic);
        const gap = { topic, from, to, reason: "slow" };
        this[EMIT]("gap", gap);
        if (channel) {
            channel.replaying = 0;
            if (to > channel.offset) channel.reach(to);
            for (const [sub, wish] of channel.takers()) if (to > wish.from) sub[LOSE](gap);
            if (to <= channel.past) return;
        }
        this.#missedOf(topic, gap);
    }

    #missedOf(topic, gap) {
        for (const { subs } of this.#matched(topic)) for (const sub of [...subs.keys()]) sub[LOSE](gap);
    }

    // The brokers were cut off from each other: what of the old epoch was missed nobody knows.
    #startedAnew({ topic, from, to, epoch }) {
        const channel = this.#topic(topic);
        const gap = { topic, from, to, epoch, reason: "cluster" };
        this[EMIT]("gap", gap);
        if (channel && epoch === (channel.was ?? channel).epoch) {
            // It was subscribed when they had started anew already.
            if (to > channel.offset) channel.reach(to);
            for (const [sub, wish] of channel.takers()) if (to > wish.from) sub[LOSE](gap);
        } else if (channel) {
            channel.restart(epoch, to);
            for (const [sub, wish] of channel.takers()) {
                if (!wish.need) {
                    sub[LOSE](gap);
                    continue;
                }
                // The past is asked for anew; if that is of the old epoch, it is told then.
                wish.busy = undefined;
                this.#admit(channel, sub);
            }
        }
        this.#missedOf(topic, gap);
    }

    #missedByPattern({ pattern }) {
        const gap = { pattern, reason: "cluster" };
        const channel = this.#channels.get(`p${pattern}`);
        this[EMIT]("gap", gap);
        for (const [sub] of channel?.takers() ?? []) sub[LOSE](gap);
    }

    #cameOrWent({ type, topic, client }) {
        for (const [sub, { presence }] of [...(this.#topic(topic)?.subs ?? [])])
            if (presence) sub[EMIT](type, { topic, client });
    }

    #fault(frame) {
        const error = new HermesError(frame.code, frame.message, frame);
        const waiting = frame.id === undefined ? undefined : this.#take(frame.id);
        if (waiting) {
            waiting.refuse?.(error);
            return;
        }
        if (error.code === "token_expired" && frame.id === undefined) {
            this.#refresh(error);
            return;
        }
        if (error.code === "forbidden" && frame.id === undefined) {
            const channel = this.#channels.get(frame.pattern === undefined ? `t${frame.topic}` : `p${frame.pattern}`);
            if (channel?.state === LIVE) {
                // A new token does not grant it; unless this is about a publish that has no id.
                if (channel.quiet) this.#subscribeAgain(channel, () => {}, true);
                else this.#refused(channel, error);
                return;
            }
        }
        this[EMIT]("error", error);
    }

    // ---- what goes out ----

    #send(text) {
        this.#link.socket.send(text);
    }

    #command(fields, waiting) {
        const id = ++this.#ids;
        this.#pending.set(id, waiting);
        this.#send(JSON.stringify({ ...fields, id }));
    }

    // Of the client's own accord: on this connection, or not at all.
    #ask(fields) {
        return new Promise((resolve, reject) => {
            const lost = () => reject(new HermesError("connection_lost", "The connection was lost."));
            if (!this.#link?.socket) lost();
            else this.#command(fields, { answer: (frame, text) => resolve({ frame, text }), refuse: reject, lost });
        });
    }

    // A command of the program's. `head`: its JSON without the closing brace. `repeat`: may be asked
    // again on the next connection. `read` makes what the program gets of the answer.
    #submit({ head, answered = true, repeat = false, read, signal, timeout }) {
        return new Promise((resolve, reject) => {
            if (this.#final) throw this.#final;
            if (signal?.aborted) throw signal.reason;
            let timer;
            const abort = () => this.#giveUp(job, signal.reason);
            const done = (settle) => (value) => {
                this.#clock.clearTimeout(timer);
                signal?.removeEventListener("abort", abort);
                settle(value);
            };
            const job = {
                head, answered, repeat, bytes: head.length, resolve: done(resolve), reject: done(reject),
                answer: (frame, text) => job.resolve(read(frame, text)),
                refuse: (error) => job.reject(error),
                lost: () => job.reject(new HermesError("unknown_outcome",
                    "The connection ended before the answer: it may be done or not.")),
            };
            // Before it is sent: what nobody answers is done with as soon as it is.
            signal?.addEventListener("abort", abort, { once: true });
            if (timeout !== undefined)
                timer = this.#clock.setTimeout(
                    () => this.#giveUp(job, new HermesError("timeout", `No answer within ${timeout} ms.`)), timeout);
            this.#queue.push(job);
            this.#queuedBytes += job.bytes;
            this.#flush();
            const waits = this.#queue.at(-1) === job;
            if (waits && (this.#queue.length > this.#maxQueued || this.#queuedBytes > this.#maxQueuedBytes))
                this.#giveUp(job, new HermesError("queue_full", this.#state === "open"
                    ? "Too much waits to be sent." : "Too much waits for a connection."));
        });
    }

    #unqueue(job) {
        const at = this.#queue.indexOf(job);
        if (at < 0) return;
        this.#queue.splice(at, 1);
        this.#queuedBytes -= job.bytes;
    }

    // What has not gone out will not; else only its answer is not waited for.
    #giveUp(job, reason) {
        this.#unqueue(job);
        job.repeat = false;
        job.reject(reason);
    }

    #flush() {
        const link = this.#link;
        // What a closing socket is given it drops without a word.
        while (link?.open && link.socket.readyState === 1 && this.#queue.length > 0) {
            if (link.socket.bufferedAmount > HIGH_WATER) {
                link.drain ??= this.#clock.setTimeout(() => {
                    link.drain = undefined;
                    if (this.#link === link) this.#flush();
                }, DRAIN_MS);
                return;
            }
            const job = this.#queue.shift();
            this.#queuedBytes -= job.bytes;
            if (job.answered) {
                const id = ++this.#ids;
                this.#pending.set(id, job);
                this.#send(`${job.head},"id":${id}}`);
            } else {
                this.#send(`${job.head}}`);
                job.resolve();
            }
        }
    }

    // ---- publishing and asking ----

    /** Resolves with {topic, offset, subscribers}; see hermes.d.ts. */
    async publish(topic, data, { echo = true, ack = true, raw = false, signal, timeout } = {}) {
        if (typeof topic !== "string") throw new HermesError("bad_topic", "A topic is a string.");
        const text = this.#jsonOf(data, raw);
        const head = `{"type":"publish","topic":${JSON.stringify(topic)},"data":${text}${echo ? "" : ',"echo":false'}`;
        // Three bytes a UTF-16 unit at the most; 24 for the id.
        const most = this.#maxMessageBytes - 24;
        if (head.length * 3 > most && new TextEncoder().encode(head).length > most)
            throw new HermesError("too_large", `The message is larger than maxMessageBytes, ${this.#maxMessageBytes}.`, { topic });
        const channel = this.#channels.get(`t${topic}`);
        if (!ack && channel) channel.quiet = true;
        return this.#submit({ head, answered: ack, signal, timeout, read: (frame) => {
            if (!echo) this.#topic(topic)?.notEchoed(frame.offset);
            return { topic, offset: frame.offset, subscribers: frame.subscribers };
        } });
    }

    #jsonOf(data, raw) {
        let text;
        try {
            text = raw ? String(data) : JSON.stringify(data);
            if (raw) JSON.parse(text);
        } catch (cause) {
            throw new HermesError("bad_json", "The data cannot be written as JSON.", { cause });
        }
        if (text === undefined) throw new HermesError("bad_json", "undefined and functions are no JSON.");
        return text;
    }

    #question(fields, read, { signal, timeout = 30_000 } = {}) {
        return this.#submit({ head: JSON.stringify(fields).slice(0, -1), repeat: true, read, signal, timeout });
    }

    /** One page of the topics that there are: {topics: [{topic, subscribers}], next}. */
    async topics({ prefix, pattern, after, limit, ...options } = {}) {
        return this.#question({ type: "topics", prefix, pattern, after, limit },
            ({ topics, next }) => ({ topics, next }), options);
    }

    /** What is kept of a topic: {topic, epoch, offset, recovered, messages}. */
    async history(topic, { since, limit, ...options } = {}) {
        return this.#question({ type: "history", topic, since: since && positionOf(since), limit }, (frame, text) => {
            const rows = new Rows(text);
            const messages = frame.messages.map((row, at) => new Message(topic, frame.epoch, row, rows, at));
            return { topic, epoch: frame.epoch, offset: frame.offset, recovered: frame.recovered, messages };
        }, options);
    }

    /** Who is subscribed: {topic, clients}. */
    async presence(topic, options) {
        return this.#question({ type: "presence", topic }, ({ clients }) => ({ topic, clients }), options);
    }

    /** Milliseconds there and back. */
    async ping(options) {
        const sent = this.#clock.now();
        return this.#question({ type: "ping" }, () => this.#clock.now() - sent, options);
    }

    // ---- tokens ----

    /** Shows another token, now and on connections to come; {expires} in seconds since 1970. */
    async auth(token) {
        if (typeof token !== "string") throw new HermesError("bad_option", "A token is a string.");
        if (this.#final) throw this.#final;
        if (!this.#link?.open) {
            // Where a function gives them, the next connection asks that one.
            if (typeof this.#token !== "function") this.#token = token;
            await this.ready;
            return {};
        }
        const { frame } = await this.#ask({ type: "auth", token });
        if (typeof this.#token !== "function") this.#token = token;
        return { expires: frame.expires };
    }

    // The server has said that the token ends soon; at its end it closes with 4001.
    async #refresh(warning) {
        const link = this.#link;
        if (typeof this.#token !== "function") {
            this[EMIT]("error", warning);
            return;
        }
        try {
            const token = await this.#askToken("expiring");
            if (this.#link !== link || token === undefined) return;
            await this.#ask({ type: "auth", token });
        } catch (cause) {
            if (this.#link !== link) return;
            this[EMIT]("error", cause instanceof HermesError ? cause
                : new HermesError("token_failed", "No token could be got.", { cause }));
        }
    }

    // ---- subscribing ----

    /** See hermes.d.ts. */
    subscribe(target, ...rest) {
        const callback = typeof rest[0] === "function" ? rest.shift() : undefined;
        const options = rest[0] ?? {};
        const { topic, pattern } = typeof target === "string" ? { topic: target } : target ?? {};
        const { replay = 0, policy, presence = false, signal, buffer } = options;
        const since = options.since ? positionOf(options.since) : undefined;
        const named = pattern === undefined ? topic : pattern;
        if (typeof named !== "string" || named === "" || (topic !== undefined && pattern !== undefined))
            throw new HermesError("bad_topic", "Subscribe to a topic, a string, or to {pattern}.");
        if (!Number.isSafeInteger(replay) || replay < 0)
            throw new HermesError("bad_option", "replay must be a whole number.");
        if (pattern !== undefined && (since || replay))
            throw new HermesError("bad_option", "A pattern has no past: since and replay are for topics.");
        if (since && replay) throw new HermesError("bad_option", "Give since or replay, not both.");
        if (![undefined, "disconnect", "drop_oldest", "latest"].includes(policy))
            throw new HermesError("bad_option", "policy is disconnect, drop_oldest or latest.");
        const most = positive({ buffer }, "buffer", 1000);
        if (this.#final) throw this.#final;
        signal?.throwIfAborted();

        const key = pattern === undefined ? `t${topic}` : `p${pattern}`;
        let channel = this.#channels.get(key);
        if (!channel) this.#channels.set(key, (channel = new Channel(topic, pattern)));
        const need = since ? { since } : replay ? { replay } : undefined;
        const wish = { from: 0, begun: false, presence, first: false, need, held: null, epoch: undefined };
        const sub = new Subscription({ topic, pattern, callback, policy, signal,
            buffer: most, leave: (one, error) => this.#unsubscribe(channel, one, error),
            later: (callback) => this.#clock.setTimeout(callback, 0) });
        if (need && channel.state !== ASKED && channel.subs.size === 0 && channel.epoch === undefined) {
            channel.first = need;
            wish.first = true;
            wish.need = undefined;
        }
        if (pattern !== undefined && channel.subs.size === 0) this.#patternsChanged();
        channel.subs.set(sub, wish);
        // Nothing more comes for those that are gone, and it is not left for them any more.
        if (channel.state !== LEAVING) this.#left(channel);
        const changed = (policy !== undefined && policy !== channel.policy) || (presence && !channel.presence);
        if (policy !== undefined) channel.policy = policy;
        channel.presence ||= presence;
        if (channel.state === LIVE) {
            wish.from = channel.offset;
            if (changed) this.#subscribeAgain(channel, (error) => this.#admit(channel, sub, error));
            else this.#admit(channel, sub);
        } else {
            this.#settle(channel);
        }
        return sub;
    }

    /** Ends all subscriptions to a topic or {pattern}. */
    async unsubscribe(target) {
        const { topic, pattern } = typeof target === "string" ? { topic: target } : target ?? {};
        const channel = this.#channels.get(pattern === undefined ? `t${topic}` : `p${pattern}`);
        await Promise.all([...(channel?.subs.keys() ?? [])].map((sub) => sub.unsubscribe()));
    }

    #patternsChanged() {
        this.#matching.clear();
        this.#patterns = [...this.#channels.values()].filter(({ pattern }) => pattern !== undefined).length;
    }

    #unsubscribe(channel, sub, error) {
        if (!channel.subs.delete(sub)) return Promise.resolve();
        sub[END](error);
        if (channel.subs.size > 0) return Promise.resolve();
        this.#settle(channel);
        if (channel.state === IDLE || this.#final) return Promise.resolve();
        return new Promise((resolve) => channel.leaving.push(resolve));
    }

    #left(channel) {
        for (const resolve of channel.leaving.splice(0)) resolve();
    }

    // Brings what the server knows nearer to what is wanted; one command at a time for each.
    #settle(channel) {
        const wanted = channel.subs.size > 0;
        if (channel.state === IDLE && !wanted) {
            const key = channel.pattern === undefined ? `t${channel.topic}` : `p${channel.pattern}`;
            if (this.#channels.get(key) === channel) this.#channels.delete(key);
            if (channel.pattern !== undefined) this.#patternsChanged();
        }
        if (!this.#link?.open || this.#final) return;
        if (channel.state === IDLE && wanted) this.#joinInTurn(channel);
        else if (channel.state === LIVE && !wanted) this.#part(channel);
    }

    #settleLater(channel) {
        const ms = (1 + this.#random()) * Math.min(this.#maximum, 500 * 2 ** channel.tries++);
        this.#delay(() => this.#settle(channel), ms);
    }

    // As long as this connection lasts: the next one does all that is to be done by itself.
    #delay(callback, ms) {
        const timer = this.#clock.setTimeout(() => {
            this.#delays.delete(timer);
            callback();
        }, ms);
        this.#delays.add(timer);
        return timer;
    }

    // Thousands of subscriptions that come back at once may be more than WS_MAX_MESSAGES_PER_SECOND.
    #joinInTurn(channel) {
        if (this.#joinGap === 0) {
            this.#join(channel);
            return;
        }
        this.#joins.add(channel);
        this.#joinTimer ??= this.#delay(() => {
            this.#joinTimer = undefined;
            const [first, second] = this.#joins;
            if (!first) return;
            this.#joins.delete(first);
            if (this.#link?.open && first.state === IDLE && first.subs.size > 0) this.#join(first);
            if (second) this.#joinInTurn(second);
        }, this.#joinGap);
    }

    // All that were under way are refused together, which is one refusal.
    #slower() {
        const now = this.#clock.now();
        if (this.#joinGap > 0 && now - this.#slowedAt < 500) return;
        this.#slowedAt = now;
        this.#joinGap = Math.min(1000, this.#joinGap * 2 || 20);
    }

    #join(channel) {
        const asked = { type: "subscribe", ...channel.name, policy: channel.policy };
        if (channel.presence) asked.presence = true;
        if (channel.epoch !== undefined) asked.since = { epoch: channel.epoch, offset: channel.offset };
        else Object.assign(asked, channel.first);
        channel.state = ASKED;
        this.#command(asked, {
            answer: (frame) => this.#joined(channel, asked, frame),
            refuse: (error) => this.#refused(channel, error),
        });
    }

    #joined(channel, { since, replay }, { epoch, offset, recovered }) {
        channel.state = LIVE;
        channel.tries = 0;
        let gap;
        if (channel.pattern !== undefined) {
            // Nobody knows what was published meanwhile.
            if (channel.before) gap = { pattern: channel.pattern, recovered: false, reason: "reconnect" };
            channel.before = true;
        } else {
            if (since && !recovered) {
                const known = since.epoch === epoch;
                gap = { topic: channel.topic, from: known ? since.offset + 1 : undefined,
                    to: known ? offset : undefined, recovered: false, reason: "reconnect" };
            }
            if (channel.epoch !== epoch) channel.own.clear();
            channel.epoch = epoch;
            channel.past = offset;
            channel.first = undefined;
            channel.replaying = replay ? replay : 0;
            channel.offset = since && recovered ? since.offset : replay ? Math.max(0, offset - replay) : offset;
        }
        for (const [sub, wish] of channel.subs)
            if (wish.first && !wish.begun) wish.from = channel.offset;
            else if (!wish.begun || gap) wish.from = offset;
        if (gap) {
            this[EMIT]("gap", gap);
            // Who comes only now, or asks for the past by itself, has missed nothing.
            for (const [sub, wish] of [...channel.subs]) if (wish.begun || wish.first) sub[LOSE](gap);
        }
        for (const [sub, wish] of [...channel.subs])
            if (!wish.begun) this.#admit(channel, sub, undefined, recovered);
        this.#settle(channel);
    }

    // It gets what comes from now on.
    #admit(channel, sub, error, recovered) {
        const wish = channel.subs.get(sub);
        if (!wish || wish.begun) return;
        if (error) {
            this.#unsubscribe(channel, sub, error);
            return;
        }
        if (wish.need) {
            if (channel.state === LIVE && wish.busy !== this.#link) this.#catchUp(channel, sub, wish);
            return;
        }
        wish.begun = true;
        sub[BEGIN](channel.pattern === undefined
            ? { topic: channel.topic, epoch: channel.epoch, offset: channel.past, ...(wish.first && { recovered }) }
            : { pattern: channel.pattern }, wish.from);
    }

    // For the policy or presence of a subscription that is there; or, `doubtful`, to see whether it is.
    #subscribeAgain(channel, done, doubtful = false) {
        const asked = { type: "subscribe", ...channel.name, policy: channel.policy };
        if (channel.presence) asked.presence = true;
        this.#command(asked, {
            answer: ({ epoch, offset }) => {
                if (doubtful && channel.pattern === undefined && (epoch !== channel.epoch || offset > channel.offset)) {
                    const gap = { topic: channel.topic, from: channel.offset + 1, to: offset, recovered: false, reason: "reconnect" };
                    Object.assign(channel, { epoch, past: offset });
                    channel.reach(offset);
                    this[EMIT]("gap", gap);
                    for (const sub of [...channel.subs.keys()]) sub[LOSE](gap);
                }
                done();
            },
            refuse: (error) => {
                if (doubtful) this.#refused(channel, error);
                else done(error);
            },
        });
    }

    #refused(channel, error) {
        channel.state = IDLE;
        if (error.code === "rate_limited") {
            this.#slower();
            this.#settle(channel);
            return;
        }
        if (passing(error)) {
            this.#settleLater(channel);
            return;
        }
        this[EMIT]("error", error);
        const subs = [...channel.subs.keys()];
        channel.subs.clear();
        this.#settle(channel);
        this.#left(channel);
        for (const sub of subs) sub[END](error);
    }

    #part(channel) {
        channel.state = LEAVING;
        const { epoch, policy, presence, before } = channel;
        const was = { epoch, policy, presence, before };
        Object.assign(channel, { was, epoch: undefined, first: undefined, policy: undefined, presence: false, before: false });
        const left = () => {
            Object.assign(channel, { state: IDLE, was: undefined });
            this.#left(channel);
            this.#settle(channel);
        };
        this.#command({ type: "unsubscribe", ...channel.name }, {
            answer: left,
            refuse: (error) => {
                if (!passing(error)) return left();
                this.#stayed(channel, was);
                this.#settleLater(channel);
            },
        });
    }

    // The server has not let go of it: as it `was`, for those who came meanwhile.
    #stayed(channel, was) {
        const { first } = channel;
        const changed = (channel.policy !== undefined && channel.policy !== was.policy)
            || (channel.presence && !was.presence);
        Object.assign(channel, { state: LIVE, was: undefined, epoch: was.epoch, before: was.before, first: undefined,
            policy: channel.policy ?? was.policy, presence: channel.presence || was.presence });
        if (channel.subs.size > 0) this.#left(channel);
        for (const wish of channel.subs.values())
            Object.assign(wish, { from: channel.offset, first: false, need: wish.first ? first : wish.need });
        const subs = [...channel.subs.keys()];
        const admit = (error) => subs.forEach((sub) => this.#admit(channel, sub, error));
        if (subs.length > 0 && changed) this.#subscribeAgain(channel, admit);
        else admit();
    }

    // The past for one that came to a topic which is subscribed already: by history, while what comes
    // live is held back. A lost connection begins it anew.
    async #catchUp(channel, sub, wish) {
        const link = this.#link;
        const { topic, epoch } = channel;
        const { since, replay } = wish.need;
        wish.busy = link;
        // What was held of another epoch is among what a gap tells of.
        if (wish.epoch !== epoch) wish.held = null;
        wish.epoch = epoch;
        wish.held ??= [];
        const over = () => this.#link !== link || wish.epoch !== epoch || wish.begun || sub.ended;
        const found = new Map(); // offset → message
        let at = since;
        let end = wish.from;
        let complete = true;
        try {
            for (let more = true; more;) {
                const asked = { type: "history", topic, since: at, limit: Math.min(replay ?? HISTORY_PAGE, HISTORY_PAGE) };
                const { frame, text } = await this.#ask(asked);
                const rows = new Rows(text);
                complete = frame.epoch === epoch && frame.recovered !== false;
                end = frame.offset;
                if (!complete) break;
                frame.messages.forEach((row, n) => found.set(row.offset, new Message(topic, epoch, row, rows, n)));
                const last = frame.messages.at(-1)?.offset ?? end;
                more = since !== undefined && last < end;
                at = { epoch, offset: last };
            }
        } catch (error) {
            if (over()) return;
            if (passing(error)) {
                const again = () => {
                    wish.busy = undefined;
                    if (this.#link === link) this.#admit(channel, sub);
                };
                this.#delay(again, (1 + this.#random()) * 500);
                return;
            }
            // Nothing is kept: that is no loss where nothing came since.
            end = wish.held.length > 0 ? wish.held[0].frame.offset - 1 : channel.offset;
            complete = !since || (since.epoch === epoch && since.offset === end);
        }
        if (over()) return;
        const held = wish.held;
        if (complete)
            for (const { frame, text } of held) found.set(frame.offset, new Message(topic, epoch, frame, text));
        else
            for (const { frame, text } of held)
                if (frame.offset > end) found.set(frame.offset, new Message(topic, epoch, frame, text));
        const offsets = [...found.keys()].sort((a, b) => a - b);
        Object.assign(wish, { begun: true, held: null, need: undefined, from: Math.max(end, offsets.at(-1) ?? 0) });
        sub[BEGIN]({ topic, epoch, offset: end, ...(since && { recovered: complete }) }, end);
        if (!complete) {
            const known = since?.epoch === epoch;
            sub[LOSE]({ topic, from: known ? since.offset + 1 : undefined, to: known ? end : undefined,
                recovered: false, reason: "reconnect" });
        }
        for (const offset of offsets) sub[GIVE](found.get(offset));
    }
}

function positionOf({ epoch, offset }) {
    if (typeof epoch !== "string" || !Number.isSafeInteger(offset) || offset < 0)
        throw new HermesError("bad_option", "since is {epoch, offset}, as a message has them.");
    return { epoch, offset };
}

/** Connects, and keeps connecting. `url` may be relative to the page; without one it is the page's host. */
export function connect(url, options) {
    if (typeof url === "object" && url !== null && !(url instanceof URL)) return new Hermes(url.url, url);
    return new Hermes(url ?? options?.url, options);
}
