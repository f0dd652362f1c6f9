import { useSyncExternalStore } from "react";

export type ThemeChoice = "system" | "light" | "dark";

const KEY = "duet.theme";
const listeners = new Set<() => void>();

function read(): ThemeChoice {
  try {
    const kept = localStorage.getItem(KEY);
    if (kept === "light" || kept === "dark") return kept;
  } catch {
    // No storage: follow the system.
  }
  return "system";
}

/** Applies the chosen or the system's theme to the page. */
export function applyTheme() {
  const choice = read();
  const dark = choice === "system" ? matchMedia("(prefers-color-scheme: dark)").matches : choice === "dark";
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}

export function chooseTheme(choice: ThemeChoice) {
  try {
    if (choice === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, choice);
  } catch {
    // Applies to this page only.
  }
  applyTheme();
  for (const tell of listeners) tell();
}

export function useTheme(): ThemeChoice {
  return useSyncExternalStore(
    (tell) => {
      listeners.add(tell);
      const system = matchMedia("(prefers-color-scheme: dark)");
      system.addEventListener("change", applyTheme);
      return () => {
        listeners.delete(tell);
        system.removeEventListener("change", applyTheme);
      };
    },
    read,
    () => "system",
  );
}
