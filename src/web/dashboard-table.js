// Tables that live: rows are kept by key, and none moves away under a pointer or the keyboard's focus.

import { el, say } from "./dashboard-text.js";

export class Table {
    #body;
    #columns;
    #key;
    #rows = new Map();
    #empty;
    #pointed = false;

    // A column is {class, text(row)} or {class, make(row of now), fill(element, row)}.
    constructor(section, columns, key) {
        this.#body = section.querySelector("tbody");
        this.#empty = section.querySelector(".empty");
        this.#columns = columns;
        this.#key = key;
        // A finger is nowhere when it does not touch, whatever :hover says.
        this.#body.addEventListener("pointerenter", (event) => (this.#pointed = event.pointerType === "mouse"));
        this.#body.addEventListener("pointerleave", () => (this.#pointed = false));
    }

    // Whoever is about to press a button here must not find another row's below the pointer.
    get held() {
        return this.#pointed || this.#body.contains(document.activeElement);
    }

    // Answers whether the order was kept as it was. `anew`: another page, sorting or search.
    update(rows, { anew = false, empty = "" } = {}) {
        const held = !anew && this.#rows.size > 0 && this.held;
        const fresh = new Map(rows.map((row) => [this.#key(row), row]));
        if (held) {
            for (const [key, line] of this.#rows) {
                line.classList.toggle("gone", !fresh.has(key));
                if (fresh.has(key)) this.#fill(line, fresh.get(key));
            }
            return true;
        }
        for (const [key, line] of this.#rows) {
            if (fresh.has(key)) continue;
            line.remove();
            this.#rows.delete(key);
        }
        let place = this.#body.firstElementChild;
        for (const [key, row] of fresh) {
            let line = this.#rows.get(key);
            if (!line) this.#rows.set(key, line = this.#make());
            line.classList.remove("gone");
            this.#fill(line, row);
            if (line === place) place = place.nextElementSibling;
            else this.#body.insertBefore(line, place);
        }
        if (this.#empty) {
            this.#empty.hidden = rows.length > 0;
            say(this.#empty, empty);
        }
        return false;
    }

    #make() {
        const line = el("tr");
        for (const column of this.#columns) {
            const cell = el("td", { className: column.class ?? "" });
            if (column.make) cell.append(column.make(() => line.row));
            line.append(cell);
        }
        return line;
    }

    #fill(line, row) {
        line.row = row;
        this.#columns.forEach((column, i) => {
            if (column.fill) column.fill(line.cells[i].firstElementChild, row);
            else say(line.cells[i], column.text(row));
        });
    }
}

// The heads that sort: buttons in <th data-sort>. Each column has the one direction that is of use.
export function sorting(section, initial, directions, changed) {
    const heads = [...section.querySelectorAll("th[data-sort]")];
    const show = (name) => {
        for (const head of heads) {
            if (head.dataset.sort === name) head.setAttribute("aria-sort", directions[name] ?? "descending");
            else head.removeAttribute("aria-sort");
        }
    };
    for (const head of heads) {
        head.querySelector("button").addEventListener("click", () => {
            show(head.dataset.sort);
            changed(head.dataset.sort);
        });
    }
    show(initial);
}

// Types stop before it is asked for.
export function settled(input, changed) {
    let timer;
    input.addEventListener("input", () => {
        clearTimeout(timer);
        timer = setTimeout(changed, 200);
    });
}
