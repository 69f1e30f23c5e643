// Follows topics with hermes.js and prints a line of JSON for everything it is told:
//   cluster_follow.mjs URL TOPIC...
import { createRequire } from "node:module";

import { connect } from "../../../src/web/hermes.js";

const ws = createRequire(import.meta.url)("ws");
const [url, ...topics] = process.argv.slice(2);
const hermes = connect(url, { WebSocket: ws, backoff: { minimum: 20, maximum: 500 } });
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

const open = topics.map((topic) => hermes.subscribe(topic, (m) => say(["message", m.topic, m.epoch, m.offset, m.data])));
hermes.on("gap", (gap) => say(["gap", gap]));
hermes.on("close", (close) => say(["close", close.code]));
await Promise.all(open.map((sub) => sub.ready));
say(["ready"]);
