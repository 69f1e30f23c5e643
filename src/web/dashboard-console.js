// Subscribe as any client does, over the public port, and publish by the API.

import { post } from "./dashboard-api.js";
import { $, clock, count, el, rate, say, some } from "./dashboard-text.js";

const MOST = 200; // messages shown

// Where clients connect, as far as the server and this page's own address tell.
function publicUrl({ port, tls, tls_port: tlsPort }) {
  const secure = tls || (location.protocol === "https:" && tlsPort);
  const usual = secure ? 443 : 80;
  const chosen = tls ? port : secure ? tlsPort : port;
  return `${secure ? "wss" : "ws"}://${location.hostname}${chosen === usual ? "" : `:${chosen}`}/`;
}

export function startConsole(notice) {
  const url = $("#console-url");
  const token = $("#console-token");
  const chips = $("#subscriptions");
  const list = $("#messages");
  const pause = $("#messages-pause");
  const topic = $("#publish-topic");
  const data = $("#publish-data");
  const answer = $("#publish-answer");
  const quote = $("#publish-quote");
  const wanted = new Map(); // key → {subscription, chip}

  let client = null;
  let waiting = []; // messages not yet shown
  let received = 0;
  let before = 0; // what it was a second ago

  // ---- the connection ----

  function state(word, kind = "idle") {
    say($("#console-state"), word);
    $("#console-state").className = `pill ${kind}`;
    $("#console-disconnect").disabled = client === null;
  }

  async function connected() {
    if (client) return client;
    const { connect } = await import("./hermes.js");
    client = connect(url.value, { token: token.value || undefined });
    return client;
  }

  function disconnect() {
    client?.close();
    client = null;
    wanted.clear();
    chips.replaceChildren();
    state("not connected");
  }

  // ---- messages ----

  function line(message) {
    return el("li", {},
      el("time", {}, clock(message.at)), " ", el("b", {}, message.topic), " ",
      el("span", { className: "muted number" }, message.offset === undefined ? "" : `#${message.offset}`), " ",
      el("span", {}, message.text));
  }

  // However fast they come, the page is touched a few times a second.
  function flush() {
    if (pause.ariaPressed !== "true" && waiting.length) {
      list.prepend(...waiting.map(line).reverse());
      while (list.childElementCount > MOST) list.lastElementChild.remove();
      waiting = [];
    }
  }

  function note() {
    say($("#messages-note"), received ? `${some(received, "message")}, ${rate(received - before)}/s` : "");
    before = received;
  }

  function heard(message) {
    received++;
    waiting.push(message);
    if (waiting.length > MOST) waiting.shift();
  }

  // ---- subscribing ----

  async function subscribe(name, isPattern) {
    const key = `${isPattern ? "pattern" : "topic"} ${name}`;
    if (wanted.has(key)) return;
    const end = el("button", { type: "button", textContent: "×" });
    end.setAttribute("aria-label", `Unsubscribe from ${name}`);
    const chip = el("li", {}, el("span", { title: name }, isPattern ? `${name} (pattern)` : name), end);
    const entry = { subscription: null };
    wanted.set(key, entry);
    chips.append(chip);
    const remove = () => {
      wanted.delete(key);
      chip.remove();
    };
    end.addEventListener("click", () => {
      entry.subscription?.unsubscribe();
      remove();
      $("#subscribe-topic").focus();
    });
    void remove;
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
    answer.textContent = text;
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
  state("not connected");

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
