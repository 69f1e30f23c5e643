// What the tests of src/web/hermes.js share: the broker, a wire to it that can be cut, a server and a
// socket that do as they are told, and a clock that stands still.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { createRequire } from "node:module";
import net from "node:net";
import readline from "node:readline";

import { connect } from "../../../src/web/hermes.js";

export const ws = createRequire(import.meta.url)("ws");
const native = process.argv.includes("native");
export const WebSocket = native ? globalThis.WebSocket : ws;

const clients = [];

/** A client that is closed when the scenario is over. */
export function client(url, options = {}) {
    const made = connect(url, { WebSocket, backoff: { minimum: 20, maximum: 200 }, ...options });
    clients.push(made);
    return made;
}

export async function run(scenarios) {
    const name = process.argv[2];
    await scenarios[name]();
    await Promise.all(clients.map((one) => one.close()));
    process.exit(0);
}

// ---- the broker: the Python side starts and ends it ----

const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function tell(request) {
    process.stdout.write(`${JSON.stringify(request)}\n`);
    const { value, done } = await answers.next();
    assert.ok(!done, "the test has gone");
    return JSON.parse(value);
}

export class Broker {
    // Settings as in hermes_fixtures.py.
    static async start(settings = {}) {
        const broker = new Broker();
        broker.settings = settings;
        await broker.start();
        return broker;
    }
    async start() {
        Object.assign(this, await tell({ do: "start", settings: { ...this.settings, port: this.port ?? 0 } }));
    }
    stop() {
        return tell({ do: "stop" });
    }
    kill() {
        return tell({ do: "kill" });
    }
}

export const secret = "0123456789abcdef0123456789abcdef";

export function token(claims) {
    const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
    return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

export const inSeconds = (seconds) => Date.now() / 1000 + seconds;

// ---- a wire in between ----

export class Wire {
    static async to(broker) {
        const wire = new Wire();
        wire.pairs = new Set();
        wire.server = net.createServer((near) => {
            if (wire.broken) {
                near.destroy();
                return;
            }
            const far = net.connect(broker.port, "127.0.0.1");
            const pair = [near, far];
            wire.pairs.add(pair);
            const end = () => {
                near.destroy();
                far.destroy();
                wire.pairs.delete(pair);
            };
            for (const [from, to] of [[near, far], [far, near]]) {
                from.on("error", end);
                from.on("close", end);
                from.pipe(to);
            }
            wire.connections++;
        });
        wire.connections = 0;
        wire.server.listen(0, "127.0.0.1");
        await once(wire.server, "listening");
        wire.url = `ws://127.0.0.1:${wire.server.address().port}/`;
        return wire;
    }
    cut({ and_stay = false } = {}) {
        this.broken = and_stay;
        for (const pair of this.pairs) for (const end of pair) end.destroy();
    }
    mend() {
        this.broken = false;
    }
    // Towards the client nothing comes through.
    hold() {
        for (const [near, far] of this.pairs) far.unpipe(near);
    }
    release() {
        for (const [near, far] of this.pairs) far.pipe(near);
    }
}

// ---- waiting ----

/** The next event of that name. */
export function next(emitter, event) {
    return new Promise((resolve) => emitter.once(event, (...given) => resolve(given.length > 1 ? given : given[0])));
}

/** The client is in that state. */
export function until(one, state) {
    return new Promise((resolve) => {
        if (one.state === state) resolve();
        const off = one.on("state", (now) => {
            if (now !== state) return;
            off();
            resolve();
        });
    });
}

/** Keeps what comes, and waits for so many. */
export class Heard {
    all = [];
    #waiting = [];
    constructor() {
        this.push = this.push.bind(this);
    }
    push(one) {
        this.all.push(one);
        for (const wait of [...this.#waiting]) wait();
    }
    until(question) {
        return new Promise((resolve) => {
            const look = () => {
                if (!question(this.all)) return;
                this.#waiting = this.#waiting.filter((wait) => wait !== look);
                resolve(this.all);
            };
            this.#waiting.push(look);
            look();
        });
    }
    count(n) {
        return this.until((all) => all.length >= n);
    }
    get data() {
        return this.all.map((message) => message.data);
    }
}

/** Lets everything that is due happen: promises, not timers. */
export async function settle() {
    for (let i = 0; i < 20; i++) await Promise.resolve();
}

export async function failure(promise) {
    try {
        await promise;
    } catch (error) {
        return error;
    }
    throw new assert.AssertionError({ message: "it did not fail" });
}

// ---- a clock that moves when it is told to ----

export class Clock {
    time = 0;
    timers = new Map();
    ids = 0;
    setTimeout = (callback, ms) => {
        this.timers.set(++this.ids, { callback, at: this.time + ms });
        return this.ids;
    };
    clearTimeout = (id) => {
        this.timers.delete(id);
    };
    now = () => this.time;
    async move(ms) {
        const end = this.time + ms;
        for (;;) {
            await settle();
            const [due] = [...this.timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at);
            if (!due) break;
            this.timers.delete(due[0]);
            this.time = Math.max(this.time, due[1].at);
            due[1].callback();
        }
        this.time = end;
        await settle();
    }
}

// ---- sockets whose other end is the test ----

/** A WebSocket class; `all` has its sockets. */
export function fakeSockets({ greet = true } = {}) {
    return class Fake {
        static all = [];
        static get last() {
            return Fake.all.at(-1);
        }
        readyState = 0;
        bufferedAmount = 0;
        sent = [];
        constructor(url, protocols) {
            Object.assign(this, { url, protocols });
            Fake.all.push(this);
            if (greet) queueMicrotask(() => this.open());
        }
        open({ protocol = "hermes.v2", info = true } = {}) {
            if (this.readyState !== 0) return;
            this.readyState = 1;
            this.protocol = protocol;
            this.onopen?.({});
            if (info) this.say({ type: "info", message: "Connected to HERMES WebSocket server.", client: `c${Fake.all.length}` });
        }
        say(frame) {
            this.onmessage?.({ data: typeof frame === "string" ? frame : JSON.stringify(frame) });
        }
        send(text) {
            assert.equal(this.readyState, 1);
            this.sent.push(JSON.parse(text));
        }
        /** Takes what was sent last of that type. */
        take(type) {
            const at = this.sent.findLastIndex?.((one) => one.type === type)
                ?? this.sent.map((one) => one.type).lastIndexOf(type);
            assert.ok(at >= 0, `no ${type} among ${JSON.stringify(this.sent)}`);
            return this.sent.splice(at, 1)[0];
        }
        answer(type, fields) {
            const { id, topic, pattern } = this.take(type);
            this.say({ type: `ack_${type}`, id, topic, pattern, ...fields });
        }
        message(topic, offset, data = offset, more) {
            this.say({ type: "message", topic, data, offset, ...more });
        }
        close(code = 1000, reason = "") {
            if (this.readyState === 3) return;
            this.closedWith = code;
            this.readyState = 2;
            queueMicrotask(() => this.end(code, reason));
        }
        end(code = 1006, reason = "") {
            if (this.readyState === 3) return;
            this.readyState = 3;
            this.onclose?.({ code, reason });
        }
    };
}
