// Numbers as people read them, and elements made without markup.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const NONE = "–";

const missing = (n) => n === null || n === undefined || Number.isNaN(n);

export function count(n) {
    return missing(n) ? NONE : whole.format(n);
}

// One place behind the point where it matters, none where it would only flicker.
export function rate(n) {
    if (missing(n)) return NONE;
    return n > 0 && n < 100 ? tenth.format(n) : whole.format(n);
}

// For places as narrow as a plot's axis.
export function short(n) {
    for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
        if (n >= size) return `${+(n / size).toPrecision(3)}${unit}`;
    }
    return `${+n.toPrecision(3)}`;
}

export function bytes(n) {
    if (missing(n)) return NONE;
    if (n < 1024) return `${whole.format(n)} B`;
    const units = ["KiB", "MiB", "GiB", "TiB"];
    let at = -1;
    do {
        n /= 1024;
        at++;
    } while (n >= 1023.95 && at < units.length - 1);
    return `${tenth.format(n)} ${units[at]}`;
}

export function milliseconds(n) {
    return missing(n) ? NONE : n < 0.05 ? "0.0" : rate(n);
}

export function percent(part) {
    return missing(part) ? NONE : `${whole.format(Math.min(1, Math.max(0, part)) * 100)} %`;
}

export function duration(seconds) {
    if (missing(seconds)) return NONE;
    const s = Math.floor(seconds);
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
    if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
    return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export function clock(time) {
    const two = (n) => String(n).padStart(2, "0");
    const at = new Date(time);
    if (Number.isNaN(at.getTime())) return NONE;
    const part = String(at.getMilliseconds()).padStart(3, "0");
    return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${part}`;
}

// "1 subscriber", "2 subscribers"
export function some(n, what) {
    return `${count(n)} ${what}${n === 1 ? "" : "s"}`;
}

export const $ = (selector, root = document) => root.querySelector(selector);

// Invisible characters, and those that turn the order of others around, as escapes: what strangers
// named reads as what it is.
export function plain(text) {
    return String(text).replace(/[\p{Cf}\p{Zl}\p{Zp}]/gu, (c) => {
        const digits = c.codePointAt(0).toString(16);
        return digits.length > 4 ? `\\u{${digits}}` : `\\u${digits.padStart(4, "0")}`;
    });
}

// Strings become text nodes, never markup.
export function el(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    for (const key of ["textContent", "title"]) {
        if (key in properties) made[key] = plain(properties[key]);
    }
    made.append(...children.map((child) => (child instanceof Node ? child : plain(child))));
    return made;
}

// Writing the same text again would end a selection in it.
export function say(element, text) {
    const shown = plain(text);
    if (element.textContent !== shown) element.textContent = shown;
}

// What shows up beside an element, or is read out in its place.
export function hint(element, text) {
    element.title = plain(text);
}

export function label(element, text) {
    element.ariaLabel = plain(text);
}
