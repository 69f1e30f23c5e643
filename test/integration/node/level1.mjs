// Level 1 as Node's `ws` speaks it: nodejs level1.mjs URL SCENARIO
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const WebSocket = createRequire(import.meta.url)("ws");
const [url, scenario] = process.argv.slice(2);
const open = [];
let fences = 0;

class Client {
    static async connect(...protocols) {
        const client = new Client();
        client.arrived = [];
        client.waiting = [];
        client.ended = false;
        client.socket = new WebSocket(url, protocols, { perMessageDeflate: true });
        open.push(client.socket);
        client.socket.on("message", (data, binary) => client.settle({ data, binary }));
        client.closed = new Promise((resolve) =>
            client.socket.on("close", (code, reason) => {
                client.ended = true;
                client.waiting.forEach(({ reject }) => reject(new Error("closed " + code)));
                resolve({ code, reason: reason.toString() });
            }));
        await new Promise((resolve, reject) => {
            client.socket.on("open", resolve);
            client.socket.on("error", reject);
        });
        client.greeting = JSON.parse(await client.text());
        return client;
    }
    settle(message) {
        const next = this.waiting.shift();
        if (next) next.resolve(message);
        else this.arrived.push(message);
    }
    async text() {
        const { data, binary } = this.arrived.shift() ??
            await new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
        assert.equal(binary, false);
        return data.toString();
    }
    async json() {
        return JSON.parse(await this.text());
    }
    send(message) {
        this.socket.send(typeof message === "object" && !Buffer.isBuffer(message)
            ? JSON.stringify(message) : message);
    }
    async subscribe(topic) {
        this.send({ type: "subscribe", topic });
        assert.deepEqual(await this.json(), {
            type: "ack_subscribe", topic, message: "Successfully subscribed to " + topic,
        });
    }
    async unsubscribe(topic) {
        this.send({ type: "unsubscribe", topic });
        assert.deepEqual(await this.json(), {
            type: "ack_unsubscribe", topic, message: "Successfully unsubscribed from " + topic,
        });
    }
    // Nothing has come meanwhile: what the client publishes now is the next.
    async fence() {
        const topic = `fence~${fences++}`;
        await this.subscribe(topic);
        this.send({ topic, data: "fence" });
        assert.equal(await this.text(), '"fence"');
        await this.unsubscribe(topic);
    }
}

const scenarios = {
    async greeting() {
        const c = await Client.connect();
        assert.equal(c.greeting.type, "info");
        assert.match(c.greeting.message, /^Connected to HERMES WebSocket server\. /);
        await c.fence();
    },
    async subprotocol() {
        const c = await Client.connect("hermes.v1");
        assert.equal(c.socket.protocol, "hermes.v1");
        await c.subscribe("t");
    },
    async subscribe_and_unsubscribe() {
        const c = await Client.connect();
        await c.subscribe("t");
        await c.subscribe("t");
        c.send({ topic: "t", data: 1 });
        assert.equal(await c.text(), "1");
        await c.unsubscribe("t");
        c.send({ topic: "t", data: 2 });
        await c.fence();
        c.send({ type: "unsubscribe", topic: "t" });
        assert.deepEqual(await c.json(), { type: "error", message: "Not subscribed to t" });
        await c.fence();
    },
    async publish_to_self_and_others() {
        const [a, b, c] = [await Client.connect(), await Client.connect(), await Client.connect()];
        await a.subscribe("t");
        await b.subscribe("t");
        await c.subscribe("u");
        a.send({ topic: "t", data: { n: 1 } });
        assert.equal(await a.text(), '{"n":1}');
        assert.equal(await b.text(), '{"n":1}');
        await Promise.all([a, b, c].map((x) => x.fence()));
    },
    async data_byte_for_byte() {
        const [a, b] = [await Client.connect(), await Client.connect()];
        await a.subscribe("t");
        for (const data of ["null", "false", "0", '""', "170.50", "1e400", "-0", "[ 1 , 2 ]",
            "123456789012345678901234567890", '{"a":1,"a":2}', '{ "z" : 1, "a" :\t{} }',
            '"ż🐢\u2028"', '"\\u0041\\/\\ud800"', '[[[[{"x":[]}]]]]', '"' + "x".repeat(70000) + '"'])
            for (const from of [a, b]) {
                from.send(`{"topic":"t","data":${data}}`);
                assert.equal(await a.text(), data);
            }
        a.send('{"type":"publish","data": 7.0 ,"topic":"t","more":[]}');
        assert.equal(await a.text(), "7.0");
    },
    async malformed() {
        const c = await Client.connect();
        for (const message of ["[]", "5", '"x"', "null", "true", "{}", '{"topic":"t"}', '{"data":1}',
            '{"topic":"","data":1}', '{"topic":1,"data":1}', '{"topic":null,"data":1}',
            '{"type":"subscribe"}', '{"type":"unsubscribe","topic":""}', '{"type":"dance","topic":"t"}',
            '{"type":7,"topic":"t"}', '{"type":"publish","topic":"t"}', '{"type":"topics","limit":0}']) {
            c.send(message);
            const answer = await c.json();
            assert.equal(answer.type, "error");
            assert.match(answer.message, /^Malformed message or unknown type\. Expected /, message);
        }
        await c.subscribe("t");
    },
    async bad_json() {
        const c = await Client.connect();
        for (const message of ["", "x", "{", '{"topic":"t","data":}', '{"topic":"t","data":01}',
            '{"a":1,}', '{"topic":"t","data":1} 2', "NaN", "\u0000"]) {
            c.send(message);
            assert.deepEqual(await c.json(),
                { type: "error", message: "Message must be valid JSON." });
        }
        await c.subscribe("t");
    },
    async binary() {
        const c = await Client.connect();
        c.send(Buffer.from('{"type":"subscribe","topic":"t"}'));
        assert.equal((await c.json()).type, "error");
        await c.fence();
        await c.subscribe("t");
    },
    async bad_topics() {
        const c = await Client.connect();
        for (const topic of ["a\nb", "\u0000", "x".repeat(1025)]) {
            c.send({ type: "subscribe", topic });
            assert.equal((await c.json()).type, "error");
            c.send({ topic, data: 1 });
            assert.equal((await c.json()).type, "error");
        }
        await c.fence();
    },
    async disconnecting_removes_topics() {
        const [a, b] = [await Client.connect(), await Client.connect()];
        const list = async () => {
            a.send({ type: "topics", prefix: "node:" });
            const { type, topics, next } = await a.json();
            assert.equal(type, "topics");
            assert.equal(next ?? null, null);
            return topics;
        };
        await b.subscribe("node:a");
        await b.subscribe("node:b");
        await a.subscribe("node:b");
        assert.deepEqual(await list(),
            [{ topic: "node:a", subscribers: 1 }, { topic: "node:b", subscribers: 2 }]);
        b.socket.terminate();
        while ((await list()).length !== 1);
        assert.deepEqual(await list(), [{ topic: "node:b", subscribers: 1 }]);
    },
    async ping_and_close() {
        const c = await Client.connect();
        const pong = new Promise((resolve) => c.socket.on("pong", resolve));
        c.socket.ping("hello");
        assert.equal((await pong).toString(), "hello");
        c.socket.close(4321, "that is all");
        assert.equal((await c.closed).code, 4321);
    },
    async order_among_many() {
        const clients = await Promise.all(Array.from({ length: 12 }, () => Client.connect()));
        await Promise.all(clients.map((c) => c.subscribe("t")));
        const each = 50;
        clients.forEach((c, n) => {
            for (let i = 0; i < each; i++) c.send({ topic: "t", data: [n, i] });
        });
        const all = await Promise.all(clients.map(async (c) => {
            const got = [];
            while (got.length < each * clients.length) got.push(await c.text());
            return got;
        }));
        for (const got of all) assert.deepEqual(got, all[0]);
        clients.forEach((_, n) => assert.deepEqual(
            all[0].map(JSON.parse).filter(([from]) => from === n).map(([, i]) => i),
            Array.from({ length: each }, (_, i) => i)));
        await Promise.all(clients.map((c) => c.fence()));
    },
};

if (scenario === "--list") {
    console.log(Object.keys(scenarios).join("\n"));
} else {
    await scenarios[scenario]();
    open.forEach((socket) => socket.terminate());
}
