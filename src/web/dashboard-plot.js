// One quantity over time on a canvas: a line from the right edge, redrawn with each sample.

import { clock, short } from "./dashboard-text.js";

const MOST = 15 * 60 * 2; // samples kept: the longest window at twice the pace
const LEFT = 40, RIGHT = 10, TOP = 8, BOTTOM = 20;

// The next number that is not below and has a half that is as round.
function roundUp(n) {
    const power = 10 ** Math.floor(Math.log10(n));
    return [1, 1.2, 1.6, 2, 3, 4, 6, 8, 10].map((step) => step * power).find((candidate) => candidate >= n);
}

export class Plot {
    #figure;
    #canvas;
    #what;
    #format;
    #samples = []; // {at, value}, oldest first; a value of null breaks the line
    #window = 300;
    #pointer = null;

    constructor(figure, { format }) {
        this.#figure = figure;
        this.#canvas = figure.querySelector("canvas");
        this.#what = this.#canvas.getAttribute("aria-label");
        this.#format = format;
        new ResizeObserver(() => this.draw()).observe(this.#canvas);
        this.#canvas.addEventListener("pointermove", (event) => {
            this.#pointer = event.offsetX;
            this.draw();
        });
        this.#canvas.addEventListener("pointerleave", () => {
            this.#pointer = null;
            this.draw();
        });
    }

    set window(seconds) {
        this.#window = seconds;
        this.draw();
    }

    add(at, value) {
        this.#samples.push({ at, value });
        if (this.#samples.length > MOST) this.#samples.splice(0, this.#samples.length - MOST);
        this.draw();
    }

    #shown(now) {
        // One more than fits, so that the line begins at the edge and not inside.
        const first = this.#samples.findIndex((sample) => sample.at >= now - this.#window * 1000);
        return first < 0 ? [] : this.#samples.slice(Math.max(0, first - 1));
    }

    draw() {
        const canvas = this.#canvas;
        const { clientWidth: width, clientHeight: height } = canvas;
        if (!width || !height) return;
        const scale = devicePixelRatio || 1;
        canvas.width = Math.round(width * scale);
        canvas.height = Math.round(height * scale);
        const pen = canvas.getContext("2d");
        pen.scale(scale, scale);

        // Colours are the style sheet's: text, grid (the border's) and line (the outline's).
        const style = getComputedStyle(canvas);
        const colour = { text: style.color, grid: style.borderTopColor, line: style.outlineColor };
        pen.font = `11px ${style.fontFamily}`;
        pen.textBaseline = "middle";

        const now = this.#samples.at(-1)?.at ?? Date.now();
        const samples = this.#shown(now);
        const values = samples.map((sample) => sample.value).filter((value) => value !== null);
        const peak = values.length ? Math.max(...values) : null;
        const top = roundUp(Math.max((peak ?? 0) * 1.05, 4));
        const x = (at) => width - RIGHT - ((now - at) / (this.#window * 1000)) * (width - LEFT - RIGHT);
        const y = (value) => height - BOTTOM - (value / top) * (height - TOP - BOTTOM);

        this.#grid(pen, { width, height, top, y, colour });
        pen.save();
        pen.beginPath();
        pen.rect(LEFT, 0, width - LEFT, height);
        pen.clip();
        this.#line(pen, { samples, x, y, colour });
        pen.restore();
        this.#readout(pen, { samples, x, y, width, height, colour });
        this.#words(peak);
    }

    #grid(pen, { width, height, top, y, colour }) {
        pen.strokeStyle = colour.grid;
        pen.fillStyle = colour.text;
        pen.lineWidth = 1;
        pen.textAlign = "right";
        for (const part of [0, 0.5, 1]) {
            const at = Math.round(y(top * part)) + 0.5;
            pen.beginPath();
            pen.moveTo(LEFT, at);
            pen.lineTo(width - RIGHT, at);
            pen.stroke();
            pen.fillText(short(top * part), LEFT - 6, at);
        }
        const below = height - BOTTOM / 2 + 2;
        pen.fillText("now", width - RIGHT, below);
        pen.textAlign = "center";
        pen.fillText(this.#ago(this.#window / 2), LEFT + (width - LEFT - RIGHT) / 2, below);
        pen.textAlign = "left";
        pen.fillText(this.#ago(this.#window), LEFT, below);
    }

    #ago(seconds) {
        return seconds < 60 ? `−${seconds} s` : `−${seconds / 60} min`;
    }

    #line(pen, { samples, x, y, colour }) {
        const bottom = y(0);
        const runs = [[]];
        for (const sample of samples) {
            if (sample.value === null) runs.push([]);
            else runs.at(-1).push([x(sample.at), y(sample.value)]);
        }
        for (const run of runs.filter((points) => points.length)) {
            pen.fillStyle = pen.strokeStyle = colour.line;
            pen.lineWidth = 1.5;
            pen.lineJoin = "round";
            pen.beginPath();
            for (const point of run) pen.lineTo(...point);
            if (run.length > 1) pen.stroke();
            pen.lineTo(run.at(-1)[0], bottom);
            pen.lineTo(run[0][0], bottom);
            pen.globalAlpha = 0.12;
            pen.fill();
            pen.globalAlpha = 1;
        }
        const last = samples.at(-1);
        if (last && last.value !== null) this.#dot(pen, x(last.at), y(last.value));
    }

    #dot(pen, x, y) {
        pen.beginPath();
        pen.arc(x, y, 2.5, 0, 2 * Math.PI);
        pen.fill();
    }

    // What was measured where the pointer is.
    #readout(pen, { samples, x, y, width, height, colour }) {
        if (this.#pointer === null || !samples.length) return;
        let nearest = null;
        for (const sample of samples) {
            const far = Math.abs(x(sample.at) - this.#pointer);
            if (sample.value !== null && far < 20 && (!nearest || far < nearest.far)) nearest = { far, ...sample };
        }
        if (!nearest) return;
        const at = x(nearest.at);
        pen.strokeStyle = colour.text;
        pen.beginPath();
        pen.moveTo(Math.round(at) + 0.5, TOP);
        pen.lineTo(Math.round(at) + 0.5, height - BOTTOM);
        pen.stroke();
        pen.fillStyle = colour.line;
        this.#dot(pen, at, y(nearest.value));
        const text = `${this.#format(nearest.value)}  ${clock(nearest.at).slice(0, 8)}`;
        const wide = pen.measureText(text).width + 12;
        const left = Math.min(Math.max(LEFT, at - wide / 2), width - RIGHT - wide);
        pen.fillStyle = getComputedStyle(this.#figure).backgroundColor;
        pen.fillRect(left, TOP - 4, wide, 18);
        pen.strokeRect(Math.round(left) + 0.5, TOP - 3.5, Math.round(wide), 18);
        pen.fillStyle = colour.text;
        pen.textAlign = "center";
        pen.fillText(text, left + wide / 2, TOP + 6);
    }

    #words(peak) {
        const value = this.#samples.at(-1)?.value ?? null;
        const [reading, most] = this.#figure.querySelectorAll(".number");
        reading.textContent = this.#format(value);
        most.textContent = this.#format(peak);
        this.#canvas.setAttribute("aria-label",
            `${this.#what}: now ${this.#format(value)}, peak ${this.#format(peak)}`);
    }
}
