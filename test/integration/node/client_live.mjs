// hermes.js against the broker: nodejs client_live.mjs SCENARIO ws|native
import assert from "node:assert/strict";

import { Broker, Heard, Wire, client, failure, inSeconds, next, run, secret, token, until } from "./client_lib.mjs";

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, n) => from + n);
const kept = [{ match: "h:*", history: 100000 }, { match: "shut", publish: "nobody" }];

const scenarios = {
    async round_trip() {
        const { url } = await Broker.start({ rules: kept });
        const [a, b] = [client(url), client(url)];
        const heard = new Heard();
        const sub = a.subscribe("h:t", heard.push);
        const { topic, epoch, offset } = await sub.ready;
        assert.deepEqual([topic, typeof epoch, offset], ["h:t", "string", 0]);
        assert.deepEqual(await b.publish("h:t", { price: 170.5 }), { topic: "h:t", offset: 1, subscribers: 1 });
        assert.equal(await b.publish("h:t", null, { ack: false }), undefined);
        const [first, second] = await heard.count(2);
        assert.deepEqual({ ...first }, { topic: "h:t", data: { price: 170.5 }, offset: 1, epoch });
        assert.deepEqual({ ...second }, { topic: "h:t", data: null, offset: 2, epoch });
        assert.deepEqual(sub.position, { epoch, offset: 2 });
        assert.deepEqual(await b.topics({ prefix: "h:" }), { topics: [{ topic: "h:t", subscribers: 1 }], next: undefined });
        assert.deepEqual(await b.presence("h:t"), { topic: "h:t", clients: [a.client] });
        const history = await b.history("h:t", { since: { epoch, offset: 1 } });
        assert.deepEqual([history.recovered, history.offset, history.messages.map((m) => [m.offset, m.data])],
            [true, 2, [[2, null]]]);
        assert.ok(await b.ping() >= 0);
        assert.equal((await failure(b.history("none"))).code, "no_history");
        const refused = await failure(b.publish("shut", 1));
        assert.deepEqual([refused.name, refused.code, refused.topic], ["HermesError", "forbidden", "shut"]);
        assert.equal((await failure(a.subscribe({ pattern: "a*" }).ready)).code, "bad_pattern");
        await sub.unsubscribe();
        assert.equal((await b.publish("h:t", 3)).subscribers, 0);
        assert.equal(heard.all.length, 2);
        await a.close();
        assert.equal(a.state, "closed");
        assert.equal(await a.closed, undefined);
        assert.equal((await failure(a.publish("h:t", 1))).code, "closed");
    },
    async exact_text() {
        const { url } = await Broker.start({ rules: kept });
        const a = client(url);
        const heard = new Heard();
        await a.subscribe("h:t", heard.push).ready;
        const texts = ["170.50", "123456789012345678901234567890", '{"b":1,"a":[1,{"x":"\\"}]"}],"a":2}', '"data"',
            "[ 1 , 2 ]", '{"data":5}', '"ż🐢\\u2028\\ud800"', "false"];
        for (const text of texts) await a.publish("h:t", text, { raw: true });
        await heard.count(texts.length);
        assert.deepEqual(heard.all.map((m) => m.raw), texts);
        assert.deepEqual((await a.history("h:t")).messages.map((m) => m.raw), texts);
        assert.deepEqual(heard.data, texts.map((text) => JSON.parse(text)));
        for (const bad of [["{", true], [undefined, false], [() => 1, false], [1n, false]])
            assert.equal((await failure(a.publish("h:t", bad[0], { raw: bad[1] }))).code, "bad_json");
    },
    // The connection is cut while messages flow: each comes once, in order.
    async recovery() {
        const broker = await Broker.start({ rules: kept, workers: 2 });
        const wire = await Wire.to(broker);
        const [a, b] = [client(wire.url), client(broker.url)];
        const heard = new Heard();
        const gaps = new Heard();
        a.on("gap", gaps.push);
        const sub = a.subscribe("h:t", heard.push);
        const iterated = [];
        const loop = (async () => {
            for await (const message of a.subscribe("h:t", { buffer: 1e6 })) {
                iterated.push(message.data);
                if (message.data === 3000) break;
            }
        })();
        await sub.ready;
        for (let n = 1; n <= 3000; n++) {
            if (n % 100 === 0) {
                await heard.until((all) => all.length >= n - 60);
                wire.cut();
            }
            b.publish("h:t", n, { ack: false });
            if (n % 50 === 0) await b.ping();
        }
        await heard.count(3000);
        await loop;
        assert.deepEqual(heard.data, range(1, 3000));
        assert.deepEqual(iterated, range(1, 3000));
        assert.deepEqual(heard.all.map((m) => m.offset), range(1, 3000));
        assert.deepEqual(gaps.all, []);
        assert.ok(wire.connections > 10, `${wire.connections} connections`);
    },
    // What was not asked for again would be lost: a gap tells it, and where.
    async gap_without_history() {
        const broker = await Broker.start({ rules: [{ match: "few", history: 2 }] });
        const wire = await Wire.to(broker);
        const [a, b] = [client(wire.url), client(broker.url)];
        await b.ready;
        const heard = new Heard();
        const gaps = new Heard();
        const sub = a.subscribe("few", heard.push);
        sub.on("gap", gaps.push);
        const told = next(a, "gap");
        await sub.ready;
        await b.publish("few", 1);
        await heard.count(1);
        wire.cut({ and_stay: true });
        for (const n of range(2, 9)) await b.publish("few", n);
        wire.mend();
        await told;
        await b.publish("few", 10);
        await heard.count(2);
        assert.deepEqual(gaps.all, [{ topic: "few", from: 2, to: 9, recovered: false, reason: "reconnect" }]);
        assert.deepEqual(heard.data, [1, 10]);
        assert.deepEqual(heard.all[1].gap, gaps.all[0]);
    },
    // The broker itself is stopped, and killed: its offsets start anew, which is told as well.
    async restarts() {
        const broker = await Broker.start({ rules: kept });
        const [a, b] = [client(broker.url), client(broker.url)];
        const heard = new Heard();
        const gaps = new Heard();
        const ends = new Heard();
        const asked = new Heard();
        a.on("gap", gaps.push);
        a.on("close", ends.push);
        a.on("reconnect", ({ afterMs }) => asked.push(afterMs));
        const sub = a.subscribe("h:t", heard.push);
        a.subscribe({ pattern: "p:*" }, heard.push);
        const epochs = [(await sub.ready).epoch];
        let n = 0;
        for (const how of ["stop", "kill", "stop", "kill"]) {
            await b.publish("h:t", ++n);
            await heard.count(n);
            // Both have seen the end: nothing is published into the old broker.
            const lost = [a, b].map((one) => until(one, "waiting"));
            await broker[how]();
            await Promise.all(lost);
            await broker.start();
            // Not when its back-off is over, which is later than a test wants to wait.
            for (const one of [a, b]) one.reconnect();
            await gaps.count(epochs.length * 2);
            await b.publish("p:x", ++n);
            await heard.count(n);
            epochs.push((await b.history("h:t", { limit: 1 }).catch(() => a.subscribe("h:t").ready)).epoch);
        }
        assert.deepEqual(heard.data, range(1, 8));
        assert.equal(new Set(epochs).size, 5);
        assert.deepEqual(gaps.all.filter((gap) => gap.topic).map(({ topic, from, recovered }) => [topic, from, recovered]),
            Array(4).fill(["h:t", undefined, false]));
        assert.deepEqual(gaps.all.filter((gap) => gap.pattern).map(({ pattern, recovered }) => [pattern, recovered]),
            Array(4).fill(["p:*", false]));
        assert.deepEqual(ends.all.map(({ code, final }) => [code, final]),
            [[1012, false], [1006, false], [1012, false], [1006, false]]);
        // Of so few clients none has to wait.
        assert.equal(asked.all.length, 2);
        assert.ok(asked.all.every((ms) => ms <= 20), asked.all);
    },
    // What is published while there is no broker goes out when there is one, in order.
    async queue() {
        const broker = await Broker.start({ rules: kept });
        const a = client(broker.url, { queue: { messages: 10 } });
        await a.ready;
        const waiting = until(a, "waiting");
        await broker.stop();
        await waiting;
        const stop = new AbortController();
        const sent = range(1, 9).map((n) => a.publish("h:t", n));
        const given = a.publish("h:t", "given up", { signal: stop.signal });
        const full = await failure(a.publish("h:t", "no room"));
        assert.deepEqual([full.code, full.message], ["queue_full", "Too much waits for a connection."]);
        stop.abort(new Error("enough"));
        assert.equal((await failure(given)).message, "enough");
        const asked = a.history("h:t");
        assert.equal((await failure(a.publish("h:t", "x", { timeout: 1 }))).code, "queue_full");
        await broker.start();
        a.reconnect();
        assert.deepEqual((await Promise.all(sent)).map(({ offset }) => offset), range(1, 9));
        assert.deepEqual((await asked).messages.map(({ data }) => data), range(1, 9));
        await broker.kill();
        const late = a.publish("h:t", 10);
        const timed = await failure(a.publish("h:t", 11, { timeout: 1 }));
        assert.ok(["timeout", "unknown_outcome"].includes(timed.code), timed.code);
        const closing = a.close();
        assert.ok(["closed", "unknown_outcome"].includes((await failure(late)).code));
        await closing;
        await broker.start();
    },
    // A publish that went out into a connection that is lost: nobody knows.
    async unknown_outcome() {
        const broker = await Broker.start();
        const wire = await Wire.to(broker);
        const a = client(wire.url);
        await a.ready;
        wire.hold();
        const published = a.publish("t", 1);
        const asked = a.topics();
        const b = client(broker.url);
        await b.ready;
        wire.cut();
        assert.equal((await failure(published)).code, "unknown_outcome");
        // A question may be asked twice.
        assert.ok(Array.isArray((await asked).topics));
    },
    async token_refresh() {
        const { url } = await Broker.start({ jwt_secret: secret, jwt_leeway_seconds: 0,
            rules: [{ match: "in", subscribe: "authenticated", publish: "authenticated" }] });
        const reasons = [];
        const made = [6, 6, 60, 60];
        const a = client(url, { token: async ({ reason }) => {
            reasons.push(reason);
            // The second time it comes too late, so that the server closes.
            if (reason === "expiring" && reasons.length > 2) throw new Error("no token today");
            return token({ sub: "alice", exp: Math.floor(inSeconds(made.shift())) });
        } });
        const heard = new Heard();
        const sub = a.subscribe("in", heard.push);
        await sub.ready;
        await a.publish("in", 1);
        const errors = new Heard();
        a.on("error", errors.push);
        const { code, final } = await next(a, "close");
        assert.deepEqual([code, final], [4001, false]);
        await next(a, "open");
        const gap = await next(sub, "gap");
        assert.equal(gap.recovered, false);
        await a.publish("in", 2);
        await heard.count(2);
        assert.deepEqual(heard.data, [1, 2]);
        assert.deepEqual(reasons, ["connect", "expiring", "expiring", "refused"]);
        assert.deepEqual(errors.all.map((error) => [error.code, error.cause.message]), [["token_failed", "no token today"]]);
    },
    async bad_tokens() {
        const { url } = await Broker.start({ jwt_secret: secret,
            rules: [{ match: "in", subscribe: "authenticated", publish: "authenticated" }] });
        const old = token({ sub: "alice", exp: 1000 });
        // A handshake does not say why it fails; the second attempt finds out.
        const a = client(url, { token: old });
        const ended = a.closed;
        assert.equal((await failure(a.ready)).code, "token_expired");
        assert.equal((await ended).code, "token_expired");
        const forged = `${old.slice(0, -4)}AAAA`;
        assert.equal((await failure(client(url, { token: forged }).ready)).code, "unauthorized");
        const reasons = [];
        const b = client(url, { token: ({ reason }) => {
            reasons.push(reason);
            return reason === "refused" ? token({ sub: "bob" }) : forged;
        } });
        await b.ready;
        assert.deepEqual(reasons, ["connect", "connect", "refused"]);
        await b.publish("in", 1);
        const c = client(url);
        assert.equal((await failure(c.subscribe("in").ready)).code, "forbidden");
        const { expires } = await c.auth(token({ sub: "carol", exp: 4e9 }));
        assert.equal(expires, 4e9);
        await c.subscribe("in").ready;
        assert.equal((await failure(c.auth(forged))).code, "unauthorized");
        await c.publish("in", 1);
    },
    // A newer token grants less.
    async ungranted() {
        const { url } = await Broker.start({ jwt_secret: secret, rules: kept });
        const may = (...subscribe) => token({ sub: "alice", hermes: { subscribe, publish: ["h:*", "shut"] } });
        const a = client(url, { token: may("h:*", "shut") });
        const kept_one = new Heard();
        const x = a.subscribe("h:x", kept_one.push);
        const y = a.subscribe("h:y", () => {});
        const iterated = a.subscribe("h:y");
        const pulled = iterated[Symbol.asyncIterator]().next();
        const p = a.subscribe({ pattern: "h:*" }, () => {});
        const shut = a.subscribe("shut", () => {});
        await Promise.all([x, y, p, shut].map((sub) => sub.ready));
        // Not this: a publish that nobody answers is refused, its topic is subscribed all the same.
        a.publish("shut", 1, { ack: false });
        await a.ping();
        assert.equal(shut.ended, false);
        const ends = Promise.all([next(y, "end"), next(p, "end")]);
        await a.auth(may("h:x", "shut"));
        assert.deepEqual((await ends).map(({ code }) => code), ["forbidden", "forbidden"]);
        assert.equal((await failure(pulled)).code, "forbidden");
        assert.deepEqual([x.ended, y.ended, p.ended, shut.ended], [false, true, true, false]);
        await a.publish("h:x", 1);
        await kept_one.count(1);
    },
    // Second subscriptions to a topic have a past of their own.
    async several_pasts() {
        const broker = await Broker.start({ rules: kept });
        const wire = await Wire.to(broker);
        const [a, b] = [client(wire.url), client(broker.url)];
        await b.ready;
        for (const n of range(1, 2500)) b.publish("h:t", n, { ack: false });
        const { epoch } = await b.history("h:t");
        const all = [new Heard(), new Heard(), new Heard(), new Heard(), new Heard()];
        const pattern = new Heard();
        await a.subscribe({ pattern: "h:>" }, pattern.push).ready;
        const subs = [
            a.subscribe("h:t", all[0].push, { replay: 10 }),
            a.subscribe("h:t", all[1].push),
            a.subscribe("h:t", all[2].push, { replay: 100 }),
            a.subscribe("h:t", all[3].push, { since: { epoch, offset: 20 } }),
        ];
        for (const n of range(2501, 2600)) b.publish("h:t", n, { ack: false });
        const first = await subs[0].ready;
        for (const sub of subs) await sub.ready;
        subs.push(a.subscribe("h:t", all[4].push, { since: { epoch: "another", offset: 7 } }));
        const gap = await next(subs[4], "gap");
        assert.deepEqual([gap.recovered, gap.from], [false, undefined]);
        assert.equal((await subs[4].ready).recovered, false);
        assert.equal((await subs[3].ready).recovered, true);
        const end = await b.publish("h:t", 2601);
        assert.equal(end.offset, 2601);
        for (const heard of [...all, pattern]) await heard.until((one) => one.at(-1)?.data === 2601);
        assert.deepEqual(all[0].data, range(first.offset - 9, 2601));
        assert.deepEqual(all[1].data, range(first.offset + 1, 2601));
        assert.deepEqual(all[2].data, range(all[2].data[0], 2601));
        assert.ok(all[2].data.length >= 100);
        assert.deepEqual(all[3].data, range(21, 2601));
        assert.equal(all[4].data.at(-1), 2601);
        assert.deepEqual(pattern.data, range(pattern.data[0], 2601));
        assert.ok(pattern.data[0] > 2500, "what is replayed is for those who asked");
        wire.cut();
        await next(a, "open");
        await b.publish("h:t", 2602);
        for (const heard of all) await heard.until((one) => one.at(-1)?.data === 2602);
        assert.deepEqual(all[3].data, range(21, 2602));
    },
    // A replay that the server gives in pieces, cut in its midst.
    async large_replay() {
        const broker = await Broker.start({ rules: kept, max_backlog_bytes: "4m" });
        const wire = await Wire.to(broker);
        const [a, b] = [client(wire.url), client(broker.url)];
        const filler = "x".repeat(10000);
        for (const n of range(1, 600)) await b.publish("h:t", [n, filler]);
        const by_pattern = new Heard();
        await a.subscribe({ pattern: "h:*" }, by_pattern.push).ready;
        const heard = new Heard();
        const sub = a.subscribe("h:t", heard.push, { replay: 600 });
        await sub.ready;
        await heard.count(50);
        wire.cut();
        await next(a, "open");
        await a.ping(); // what it subscribes again was asked for before
        await b.publish("h:t", [601, filler]);
        await heard.until((all) => all.at(-1)?.data[0] === 601);
        assert.deepEqual(heard.all.map((m) => m.data[0]), range(1, 601));
        assert.deepEqual(by_pattern.all.map((m) => m.data[0]), [601]);
    },
    async patterns() {
        const { url } = await Broker.start();
        const [a, b] = [client(url), client(url)];
        const [star, rest, topic] = [new Heard(), new Heard(), new Heard()];
        const s = a.subscribe({ pattern: "s:*" }, star.push);
        const r = a.subscribe({ pattern: "s:>" }, rest.push);
        const t = a.subscribe({ topic: "s:x" }, topic.push);
        await Promise.all([s.ready, r.ready, t.ready]);
        const names = ["s:x", "s:y", "s:y:z", "s:", "s", "t:x"];
        for (const name of names) await b.publish(name, name);
        await b.publish("s:end", 1);
        await star.until((all) => all.at(-1)?.data === 1);
        await rest.until((all) => all.at(-1)?.data === 1);
        assert.deepEqual(star.data, ["s:x", "s:y", "s:", 1]);
        assert.deepEqual(rest.data, ["s:x", "s:y", "s:y:z", "s:", 1]);
        assert.deepEqual(topic.data, ["s:x"]);
        assert.deepEqual(star.all.map((m) => m.pattern), Array(4).fill("s:*"));
        assert.equal(topic.all[0].pattern, undefined);
        // The topic's own subscription ends, those by pattern go on.
        await t.unsubscribe();
        await b.publish("s:x", 2);
        await star.until((all) => all.at(-1)?.data === 2);
        assert.equal(topic.all.length, 1);
        await a.unsubscribe({ pattern: "s:>" });
        await b.publish("s:x", 3);
        await star.until((all) => all.at(-1)?.data === 3);
        assert.equal(rest.data.at(-1), 2);
    },
    async presence() {
        const { url } = await Broker.start();
        const [a, b] = [client(url), client(url)];
        const went = new Heard();
        const sub = a.subscribe("p", () => {}, { presence: true });
        sub.on("join", (who) => went.push(["join", who.topic, who.client]));
        sub.on("leave", (who) => went.push(["leave", who.topic, who.client]));
        await sub.ready;
        const other = b.subscribe("p", () => {});
        await other.ready;
        await went.count(1);
        assert.deepEqual((await b.presence("p")).clients.sort(), [a.client, b.client].sort());
        await other.unsubscribe();
        await went.count(2);
        assert.deepEqual(went.all, [["join", "p", b.client], ["leave", "p", b.client]]);
    },
    // What the second asks of the past is not what the first asked, who left before it had an answer.
    async successor() {
        const broker = await Broker.start({ rules: kept });
        const a = client(broker.url);
        for (let n = 1; n <= 5; n++) await a.publish("h:t", n);
        const { epoch } = await a.history("h:t", { limit: 1 });
        const heard = new Heard();
        const first = a.subscribe("h:t", () => assert.fail("it has left"));
        const left = first.unsubscribe();
        const second = a.subscribe("h:t", heard.push, { since: { epoch, offset: 2 } });
        assert.equal((await second.ready).recovered, true);
        await left;
        await heard.count(3);
        assert.deepEqual(heard.all.map((m) => m.offset), [3, 4, 5]);
    },
    // A publisher that subscribes does not see its own, not even in what it is given again.
    async echo() {
        const broker = await Broker.start({ rules: kept });
        const wire = await Wire.to(broker);
        const [a, b] = [client(wire.url), client(broker.url)];
        const heard = new Heard();
        await a.subscribe("h:t", heard.push).ready;
        await b.publish("h:t", 1);
        await a.publish("h:t", "mine", { echo: false });
        await a.publish("h:t", "mine", { echo: false });
        wire.cut();
        await next(a, "open");
        await b.publish("h:t", 4);
        await heard.count(2);
        assert.deepEqual(heard.all.map((m) => [m.offset, m.data]), [[1, 1], [4, 4]]);
    },
    // This client does not read; the messages that it loses are told in their place.
    async slow() {
        const broker = await Broker.start({ max_backlog_bytes: "1m" });
        const wire = await Wire.to(broker);
        const [a, b] = [client(wire.url), client(broker.url)];
        const heard = new Heard();
        const gaps = new Heard();
        const sub = a.subscribe("slow", heard.push, { policy: "drop_oldest" });
        sub.on("gap", gaps.push);
        await sub.ready;
        wire.hold();
        const filler = "x".repeat(30000);
        const count = 800;
        for (const n of range(1, count)) await b.publish("slow", [n, filler]);
        wire.release();
        await heard.until((all) => all.at(-1)?.offset === count);
        let expected = 1;
        for (const message of heard.all) {
            if (message.gap) {
                assert.equal(message.gap.from, expected);
                expected = message.gap.to + 1;
            }
            assert.equal(message.offset, expected++);
        }
        assert.ok(gaps.all.length > 0);
        assert.deepEqual(new Set(gaps.all.map((gap) => gap.reason)), new Set(["slow"]));
    },
    // More subscriptions than the server takes at once: all are there in the end, and come again.
    async rate_limited() {
        const broker = await Broker.start({ max_messages_per_second: 40 });
        const wire = await Wire.to(broker);
        const a = client(wire.url);
        const codes = new Heard();
        a.on("close", ({ code }) => codes.push(code));
        const subs = range(1, 120).map((n) => a.subscribe(`r:${n}`, () => {}));
        await Promise.all(subs.map((sub) => sub.ready));
        assert.equal(codes.all[0], 4029);
        wire.cut();
        await next(a, "open");
        const b = client(broker.url);
        for (let found = 0; found < 120;) {
            found = (await b.topics({ prefix: "r:", limit: 1000 })).topics.length;
            await new Promise((resolve) => setTimeout(resolve, 100));
        }
        assert.deepEqual(codes.all, [4029, 1006]);
    },
    async many_topics_at_once() {
        const broker = await Broker.start({ rules: kept });
        const wire = await Wire.to(broker);
        const [a, b] = [client(wire.url), client(broker.url)];
        const heard = range(0, 199).map(() => new Heard());
        // A topic with nothing kept would be gone with its only subscriber, and its epoch with it.
        await Promise.all([...heard.keys()].map((n) => b.publish(`h:${n}`, 0)));
        const subs = heard.map((one, n) => a.subscribe(`h:${n}`, one.push));
        await Promise.all(subs.map((sub) => sub.ready));
        for (let round = 1; round <= 5; round++) {
            for (const n of heard.keys()) b.publish(`h:${n}`, round, { ack: false });
            wire.cut();
            await b.ping();
        }
        for (const one of heard) await one.count(5);
        for (const one of heard) assert.deepEqual(one.data, range(1, 5));
        await Promise.all(subs.map((sub) => sub.unsubscribe()));
        assert.deepEqual((await a.topics({ limit: 1000 })).topics.filter(({ subscribers }) => subscribers), []);
    },
    // Somebody pulls the plug: no close comes, nothing at all does.
    async half_open() {
        const broker = await Broker.start({ rules: kept });
        const wire = await Wire.to(broker);
        const a = client(wire.url, { heartbeat: 100, heartbeatTimeout: 100 });
        const b = client(broker.url);
        const heard = new Heard();
        await a.subscribe("h:t", heard.push).ready;
        wire.hold();
        await b.publish("h:t", 1);
        await b.publish("h:t", 2);
        const { code, reason } = await next(a, "close");
        assert.deepEqual([code, reason], [1006, "The server does not answer."]);
        await heard.count(2);
        assert.deepEqual(heard.data, [1, 2]);
    },
    async too_large() {
        const { url } = await Broker.start({ max_message_bytes: 1000 });
        const a = client(url, { maxMessageBytes: 1000 });
        const heard = new Heard();
        await a.subscribe("t", heard.push).ready;
        await a.publish("t", "é".repeat(400));
        assert.equal((await failure(a.publish("t", "é".repeat(500)))).code, "too_large");
        // Who does not know the server's limit finds out: the others go on.
        const b = client(url);
        await b.ready;
        const closing = next(b, "close");
        assert.equal((await failure(b.publish("t", "x".repeat(2000)))).code, "unknown_outcome");
        assert.equal((await closing).code, 1009);
        await b.publish("t", 2);
        await heard.count(2);
    },
};

await run(scenarios);
