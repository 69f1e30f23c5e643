// Level 2 as Node's `ws` speaks it: nodejs level2.mjs URL SCENARIO
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const WebSocket = createRequire(import.meta.url)("ws");
const [url, scenario] = process.argv.slice(2);
const open = [];
let fences = 0;

class Client {
    static async connect() {
        const client = new Client();
        client.arrived = [];
        client.waiting = [];
        client.ids = 0;
        client.socket = new WebSocket(url, ["hermes.v2", "hermes.v1"]);
        open.push(client.socket);
        client.socket.on("message", (data, binary) => {
            assert.equal(binary, false);
            const next = client.waiting.shift();
            if (next) next.resolve(data.toString());
            else client.arrived.push(data.toString());
        });
        client.closed = new Promise((resolve) =>
            client.socket.on("close", (code, reason) => {
                client.waiting.forEach(({ reject }) => reject(new Error("closed " + code)));
                resolve({ code, reason: reason.toString() });
            }));
        await new Promise((resolve, reject) => {
            client.socket.on("open", resolve);
            client.socket.on("error", reject);
        });
        assert.equal(client.socket.protocol, "hermes.v2");
        const info = await client.json();
        assert.equal(info.type, "info");
        assert.equal(typeof info.client, "string");
        client.me = info.client;
        return client;
    }
    async text() {
        return this.arrived.shift() ??
            new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
    }
    async json() {
        return JSON.parse(await this.text());
    }
    send(message) {
        this.socket.send(typeof message === "string" ? message : JSON.stringify(message));
    }
    tell(type, fields = {}) {
        const id = `c${++this.ids}`;
        this.send({ type, ...fields, id });
        return id;
    }
    // The answer, which is the next to come, without its id.
    async ask(type, fields = {}) {
        const asked = this.tell(type, fields);
        const { id, ...answer } = await this.json();
        assert.equal(id, asked, JSON.stringify(answer));
        return answer;
    }
    async subscribe(fields) {
        const answer = await this.ask("subscribe", fields);
        assert.equal(answer.type, "ack_subscribe", JSON.stringify(answer));
        return answer;
    }
    async message(topic, data, offset, pattern) {
        const expected = { type: "message", topic, data, offset };
        if (pattern) expected.pattern = pattern;
        assert.deepEqual(await this.json(), expected);
    }
    // Nothing has come meanwhile: what the client publishes now is the next.
    async fence() {
        const topic = `fence~${fences++}`;
        await this.subscribe({ topic });
        this.send({ topic, data: "fence" });
        await this.message(topic, "fence", 1);
        assert.equal((await this.ask("unsubscribe", { topic })).type, "ack_unsubscribe");
    }
}

const scenarios = {
    async envelope() {
        const [a, b] = [await Client.connect(), await Client.connect()];
        const { epoch, offset, message } = await a.subscribe({ topic: "t" });
        assert.equal(typeof epoch, "string");
        assert.equal(offset, 0);
        assert.equal(message, "Successfully subscribed to t");
        let n = 0;
        for (const data of ["null", "170.50", '{"a":1,"a":2}', '"ż🐢\u2028"', '"\\ud800"', "[ 1 ]"])
            for (const from of [a, b]) {
                from.send(`{"topic":"t","data":${data}}`);
                assert.equal(await a.text(),
                    `{"type":"message","topic":"t","data":${data},"offset":${++n}}`);
            }
        await a.fence();
    },
    async acks_and_echo() {
        const [a, b] = [await Client.connect(), await Client.connect()];
        await b.subscribe({ topic: "t" });
        assert.deepEqual(await a.ask("publish", { topic: "t", data: 1 }),
            { type: "ack_publish", topic: "t", offset: 1, subscribers: 1 });
        await b.message("t", 1, 1);
        b.send({ topic: "t", data: 2, echo: false });
        b.send({ topic: "t", data: 3 });
        await b.message("t", 3, 3);
        assert.deepEqual(await a.ask("ping"), { type: "pong" });
        await a.fence();
    },
    async batch() {
        const a = await Client.connect();
        const topics = Array.from({ length: 50 }, (_, n) => `batch:${n}`);
        a.send({ type: "subscribe", topics, id: 7 });
        for (const topic of topics) {
            const answer = await a.json();
            assert.deepEqual([answer.type, answer.topic, answer.id], ["ack_subscribe", topic, 7]);
        }
        a.send({ type: "unsubscribe", topics, id: 8 });
        for (const topic of topics) {
            const answer = await a.json();
            assert.deepEqual([answer.type, answer.topic, answer.id], ["ack_unsubscribe", topic, 8]);
        }
        await a.fence();
    },
    async recovery() {
        const a = await Client.connect();
        for (let n = 1; n <= 30; n++) a.send({ topic: "h:t", data: n });
        const { epoch } = await a.ask("history", { topic: "h:t", limit: 1 });
        let last = 0;
        for (let cut = 0; cut < 10; cut++) {
            const b = await Client.connect();
            const answer = await b.subscribe({ topic: "h:t", since: { epoch, offset: last } });
            assert.equal(answer.recovered, true);
            for (let k = 0; k < 3; k++) await b.message("h:t", ++last, last);
            b.socket.terminate();
        }
        const b = await Client.connect();
        assert.equal((await b.subscribe({ topic: "h:t", since: { epoch, offset: last } })).offset, 30);
        await b.fence();
        const c = await Client.connect();
        await c.subscribe({ topic: "h:t", replay: 2 });
        await c.message("h:t", 29, 29);
        await c.message("h:t", 30, 30);
        const other = await Client.connect();
        assert.equal((await other.subscribe({ topic: "h:t", since: { epoch: "x", offset: 3 } })).recovered,
            false);
        await other.fence();
    },
    async history() {
        const a = await Client.connect();
        for (let n = 1; n <= 30; n++) a.send({ topic: "h:p", data: n });
        const newest = await a.ask("history", { topic: "h:p", limit: 3 });
        assert.deepEqual(newest.messages.map((m) => m.data), [28, 29, 30]);
        const since = { epoch: newest.epoch, offset: 5 };
        const page = await a.ask("history", { topic: "h:p", since, limit: 3 });
        assert.equal(page.recovered, true);
        assert.deepEqual(page.messages, [6, 7, 8].map((n) => ({ offset: n, data: n })));
        assert.equal((await a.ask("history", { topic: "none" })).code, "no_history");
    },
    async patterns() {
        const [a, b] = [await Client.connect(), await Client.connect()];
        assert.equal((await a.subscribe({ pattern: "s:*" })).pattern, "s:*");
        await a.subscribe({ pattern: "s:>" });
        await a.subscribe({ topic: "s:x" });
        for (const topic of ["s:x", "s:y", "s:y:z", "s", "t:x"])
            assert.equal((await b.ask("publish", { topic, data: 1 })).type, "ack_publish");
        await a.message("s:x", 1, 1);
        await a.message("s:y", 1, 1, "s:*");
        await a.message("s:y:z", 1, 1, "s:>");
        await a.fence();
        assert.equal((await a.ask("subscribe", { pattern: "s:>:x" })).code, "bad_pattern");
    },
    async presence() {
        const [a, b] = [await Client.connect(), await Client.connect()];
        await a.subscribe({ topic: "p", presence: true });
        await b.subscribe({ topic: "p" });
        assert.deepEqual(await a.json(), { type: "join", topic: "p", client: b.me });
        const { clients } = await b.ask("presence", { topic: "p" });
        assert.deepEqual(clients.sort(), [a.me, b.me].sort());
        b.socket.terminate();
        assert.deepEqual(await a.json(), { type: "leave", topic: "p", client: b.me });
        assert.deepEqual((await a.ask("presence", { topic: "p" })).clients, [a.me]);
    },
    async slow() {
        const [a, b] = [await Client.connect(), await Client.connect()];
        await a.subscribe({ topic: "slow", policy: "drop_oldest" });
        a.socket.pause();
        const filler = "x".repeat(30000);
        const count = 600;
        for (let n = 1; n <= count; n++) b.send({ topic: "slow", data: [n, filler] });
        await b.fence();
        a.socket.resume();
        let next = 1;
        let gaps = 0;
        while (next <= count) {
            const got = await a.json();
            if (got.type === "gap") {
                assert.equal(got.from, next);
                next = got.to + 1;
                gaps++;
            } else {
                assert.deepEqual([got.offset, got.data[0]], [next, next]);
                next++;
            }
        }
        assert.ok(gaps > 0);
        await a.fence();
    },
    async errors() {
        const a = await Client.connect();
        for (const [message, code] of [["{", "bad_json"], ['{"type":"dance"}', "malformed"],
            ['{"type":"subscribe","topic":"a\\n"}', "bad_topic"],
            ['{"type":"subscribe","topic":"t","policy":"slow"}', "malformed"],
            ['{"type":"subscribe","pattern":"a*"}', "bad_pattern"],
            ['{"type":"unsubscribe","topic":"t"}', "not_subscribed"],
            ['{"topic":"shut","data":1}', "forbidden"], ['{"topic":"small","data":"0123456789"}', "too_large"],
            ['{"type":"history","topic":"t"}', "no_history"]]) {
            a.send(message);
            const answer = await a.json();
            assert.deepEqual([answer.type, answer.code], ["error", code], message);
            assert.ok(answer.message);
        }
        a.socket.send(Buffer.from("{}"));
        assert.equal((await a.json()).type, "error");
        await a.fence();
    },
};

await scenarios[scenario]();
open.forEach((socket) => socket.terminate());
