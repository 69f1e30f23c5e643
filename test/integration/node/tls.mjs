// TLS as Node's `ws` speaks it: nodejs tls.mjs URL SCENARIO
import assert from "node:assert/strict";
import crypto from "node:crypto";
import fs from "node:fs";
import { createRequire } from "node:module";

const WebSocket = createRequire(import.meta.url)("ws");
const [url, scenario] = process.argv.slice(2);
const open = [];

class Client {
    static async connect(options = {}) {
        const client = new Client();
        client.arrived = [];
        client.waiting = [];
        client.socket = new WebSocket(url, options);
        open.push(client.socket);
        client.socket.on("message", (data) => {
            const next = client.waiting.shift();
            if (next) next.resolve(data.toString());
            else client.arrived.push(data.toString());
        });
        client.closed = new Promise((resolve) =>
            client.socket.on("close", (code) => {
                client.waiting.forEach(({ reject }) => reject(new Error("closed " + code)));
                resolve(code);
            }));
        await new Promise((resolve, reject) => {
            client.socket.on("open", resolve);
            client.socket.on("error", reject);
        });
        assert.equal(JSON.parse(await client.text()).type, "info");
        return client;
    }
    async text() {
        return this.arrived.shift() ??
            new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
    }
    send(message) {
        this.socket.send(typeof message === "string" ? message : JSON.stringify(message));
    }
    async subscribe(topic) {
        this.send({ type: "subscribe", topic });
        assert.equal(JSON.parse(await this.text()).type, "ack_subscribe");
    }
}

const scenarios = {
    // Eight clients, each of which sends what it likes, as fast as it can.
    async everything() {
        const clients = [];
        for (let n = 0; n < 8; n++) {
            clients.push(await Client.connect());
            assert.ok(clients[n].socket._socket.authorized);
            await clients[n].subscribe("all");
        }
        const sent = clients.map((_, n) => [0, 1, 100, 16000, 17000, 200000].map((size, k) =>
            JSON.stringify([n, k, crypto.randomBytes(size).toString("base64")])));
        clients.forEach((client, n) =>
            sent[n].forEach((data) => client.send(`{"topic":"all","data":${data}}`)));
        const got = [];
        for (const client of clients) {
            const texts = [];
            while (texts.length < 48) texts.push(await client.text());
            got.push(texts);
        }
        got.forEach((texts) => assert.deepEqual(texts, got[0]));
        sent.forEach((texts, n) =>
            assert.deepEqual(got[0].filter((text) => JSON.parse(text)[0] === n), texts));
    },
    async resumed() {
        let session;
        for (let n = 0; n < 6; n++) {
            const client = await Client.connect({ session });
            const socket = client.socket._socket;
            assert.equal(socket.isSessionReused(), n > 0);
            await client.subscribe("t");
            session = socket.getSession();
            assert.ok(session);
        }
    },
    async closed() {
        const client = await Client.connect();
        await client.subscribe("ready");
        assert.equal(await client.closed, 1012);
    },
    async refuses() {
        await assert.rejects(Client.connect(), { code: process.env.EXPECTED });
    },
    async certified() {
        const client = await Client.connect({
            cert: fs.readFileSync(process.env.CERT), key: fs.readFileSync(process.env.KEY)
        });
        await client.subscribe("authenticated");
        client.send({ topic: "authenticated", data: 1 });
        assert.equal(await client.text(), "1");
    },
    async unknown() {
        await assert.rejects(Client.connect());
    }
};

await scenarios[scenario]();
open.forEach((socket) => socket.terminate());
