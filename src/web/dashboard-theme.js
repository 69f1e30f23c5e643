// Light or dark: the system's choice unless another was made here.

const KEPT = "hermes-theme";

function kept() {
    try {
        return localStorage.getItem(KEPT) ?? "";
    } catch {
        return "";
    }
}

// changed() is called after each change, the system's too.
export function startTheme(select, changed) {
    const apply = () => {
        document.documentElement.dataset.theme = select.value;
        changed();
    };
    select.value = kept();
    select.addEventListener("change", () => {
        try {
            localStorage.setItem(KEPT, select.value);
        } catch {
            // for as long as the page is open
        }
        apply();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
    apply();
}
