// Asks again and again, and only for what somebody can see.

import { Away, Refused } from "./dashboard-api.js";

const seen = new WeakMap(); // element → whether any of it is in sight
const wakers = new Set();

const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) seen.set(entry.target, entry.isIntersecting);
    wake();
}, { rootMargin: "100px" });

function wake() {
    for (const waker of wakers) waker();
}

document.addEventListener("visibilitychange", wake);

// Calls ask() now and `pause` after each end of it, while `section` (or, without one, anything at
// all) is in sight. failed(fault) is told what the server refused. That it is away is for the status
// to tell. Answers a function that asks at once.
export function poll({ section, pause, ask, failed }) {
    let timer;
    let busy = false;
    let again = false;
    if (section) observer.observe(section);
    const inSight = () => !section || (!document.hidden && seen.get(section));

    async function go() {
        clearTimeout(timer);
        if (busy) {
            again = true;
            return;
        }
        busy = true;
        try {
            do {
                again = false;
                await ask();
            } while (again);
        } catch (fault) {
            if (fault instanceof Refused) failed(fault);
            else if (!(fault instanceof Away)) reportError(fault); // ours: go on all the same
        }
        busy = false;
        timer = inSight() ? setTimeout(go, pause) : undefined;
    }

    wakers.add(() => {
        if (timer === undefined && !busy && inSight()) go();
    });
    if (!section) go();
    return go;
}
