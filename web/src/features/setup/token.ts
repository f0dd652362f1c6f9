/**
 * A token for set-up or an invitation may come in the address's fragment (`#token=…`), which no server ever sees. The shell's
 * first script removes it from the address before anything else runs, and stores it here.
 */
declare global {
  interface Window {
    duetToken?: string;
  }
}

/** Runs inline in the shell's head, before the first paint: applies the theme, and takes the token out of the address. */
export const headScript = `(function(){var d=document.documentElement,t;try{t=localStorage.getItem("duet.theme")}catch(e){}
if(t!=="light"&&t!=="dark")t=matchMedia("(prefers-color-scheme: dark)").matches?"dark":"light";d.dataset.theme=t;
var m=/[#&]token=([^&]+)/.exec(location.hash);if(m){try{window.duetToken=decodeURIComponent(m[1])}catch(e){}
history.replaceState(history.state,"",location.pathname+location.search)}})()`;

/** Calls back with the token of a link pasted into the open page, and removes it from the address. */
export function onToken(take: (token: string) => void): () => void {
  const look = () => {
    const token = new URLSearchParams(location.hash.slice(1)).get("token");
    if (!token) return;
    history.replaceState(history.state, "", location.pathname + location.search);
    take(token);
  };
  addEventListener("hashchange", look);
  return () => removeEventListener("hashchange", look);
}

export const tokenFromAddress = (): string => (typeof window === "undefined" ? "" : (window.duetToken ?? ""));

export const forgetToken = () => {
  delete window.duetToken;
};
