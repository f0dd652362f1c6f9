import { Link, useRouter } from "@tanstack/react-router";
import { type ReactNode, useEffect } from "react";
import { Problem } from "~/api/http";
import { onReturn } from "~/api/reachability";
import { Button } from "~/ui/Button";
import { Mark, Wordmark } from "~/ui/Mark";
import { ConnectionBanner } from "./ConnectionBanner";

/**
 * The frame of pages before the sign-in: one column beside a quiet plate. An anchored column begins at the same height
 * whatever it holds; any other is centred.
 */
export function Threshold({ children, anchored = false }: { children: ReactNode; anchored?: boolean }) {
  return (
    <div className="flex h-dvh flex-col">
      <ConnectionBanner />
      <div className="flex min-h-0 flex-1">
        <aside
          aria-label="About Duet"
          className="scroller hidden w-[42%] max-w-xl flex-col justify-between gap-8 border-r border-line bg-margin p-12 wide:flex"
        >
          <Wordmark />
          <div>
            <Plate />
            <p className="mt-10 max-w-sm font-serif text-2xl leading-snug text-balance">
              Two voices, one memory. It stays with you.
            </p>
          </div>
          <p className="text-sm text-ink-3">Your data stays where you put it.</p>
        </aside>
        <main className="scroller flex min-w-0 flex-1 flex-col px-6 py-8">
          <div className="wide:hidden">
            <Wordmark />
          </div>
          <div className={`w-full max-w-md py-10 ${anchored ? "mx-auto wide:pt-[14vh]" : "m-auto"}`}>{children}</div>
        </main>
      </div>
    </div>
  );
}

/** The mark drawn out over several lines, like a score. */
function Plate() {
  return (
    <svg viewBox="0 0 360 150" className="w-full max-w-sm" fill="none" aria-hidden="true">
      {[30, 52, 74, 96, 118].map((y) => (
        <path key={y} d={`M0 ${y}h360`} stroke="var(--line)" />
      ))}
      <path
        d="M4 74c29-52 59-52 88 0s59 52 88 0 59-52 88 0 59 52 88 0"
        stroke="var(--second)"
        strokeWidth="3"
        strokeLinecap="round"
      />
      <path
        d="M4 74c29 52 59 52 88 0s59-52 88 0 59 52 88 0 59-52 88 0"
        stroke="var(--accent)"
        strokeWidth="3"
        strokeLinecap="round"
      />
      {[92, 180, 268].map((x) => (
        <circle key={x} cx={x} cy="74" r="5" fill="var(--margin)" stroke="var(--ink-3)" strokeWidth="1.5" />
      ))}
    </svg>
  );
}

export function Splash() {
  return (
    <main className="relative flex h-dvh items-center justify-center">
      <p role="status" className="sr-only">
        Duet is opening
      </p>
      <Mark size={44} writing />
    </main>
  );
}

export function NotFound() {
  return (
    <Threshold>
      <h1 className="font-serif text-3xl tracking-tight">Page not found</h1>
      <p className="mt-3 text-ink-2">The address may be old or mistyped.</p>
      <Link to="/" className="target mt-6 inline-flex items-center text-accent underline underline-offset-4">
        Go to your conversations
      </Link>
    </Threshold>
  );
}

/** A page that could not be shown; retries once Duet is reachable again. */
export function Failed({ error }: { error: unknown }) {
  const router = useRouter();
  useEffect(() => {
    return onReturn(() => void router.invalidate());
  }, [router]);
  // API messages are written for people; an error in the page is for developers.
  const said = error instanceof Problem ? error.message : undefined;
  useEffect(() => {
    if (said === undefined) console.error(error);
  }, [said, error]);
  return (
    <Threshold>
      <h1 className="font-serif text-3xl tracking-tight">This page couldn’t be opened</h1>
      <p className="mt-3 text-ink-2" role="alert">
        {said ?? "Something went wrong in the page itself. What you said and what is remembered is safe."}
      </p>
      {said === undefined ? (
        <Button look="primary" className="mt-6" onClick={() => window.location.reload()}>
          Reload the page
        </Button>
      ) : (
        <Button look="primary" className="mt-6" onClick={() => void router.invalidate()}>
          Try again
        </Button>
      )}
    </Threshold>
  );
}
