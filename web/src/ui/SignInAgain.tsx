import { type FormEvent, type ReactNode, useEffect, useId, useRef, useState } from "react";
import { Problem } from "~/api/http";
import { beginSession } from "~/api/session";
import { Button } from "./Button";
import { Field } from "./Field";
import { waiting } from "./format";
import { Notice } from "./Notice";
import { useRefusal } from "./useRefusal";

/** The person did not sign in again, so their action was not carried out. */
class Cancelled extends Error {}

/** The message for a problem; none if the person cancelled. */
export const told = (error: Error | null): Error | null => (error instanceof Cancelled ? null : error);

/** Refusals that another sign-in answers: it was too long ago, or has ended. */
const stale: ReadonlySet<Problem["code"]> = new Set(["sign_in_again", "not_live"]);

/**
 * For actions that need a recent sign-in. `recently` runs one; if the sign-in is too old, it asks for the password in `dialog`, signs in
 * in place and runs the action once more. Afterwards the focus is back where it was.
 */
export function useRecentSignIn(email: string) {
  const [asking, setAsking] = useState<{ end: (signedIn: boolean) => void }>();
  const back = useRef<HTMLElement>(undefined);
  // The pressed button is disabled while its request is in flight.
  useEffect(() => {
    const element = back.current;
    if (!element || asking || element.matches(":disabled")) return;
    back.current = undefined;
    element.focus();
  });
  const recently = async <T,>(action: () => Promise<T>): Promise<T> => {
    const pressed = document.activeElement;
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof Problem) || !stale.has(error.code)) throw error;
    }
    const signedIn = await new Promise<boolean>((end) => setAsking({ end }));
    if (pressed instanceof HTMLElement) back.current = pressed;
    setAsking(undefined);
    if (!signedIn) throw new Cancelled();
    return action();
  };
  return { recently, dialog: asking && <SignInAgain email={email} onEnd={asking.end} /> };
}

function SignInAgain({ email, onEnd }: { email: string; onEnd: (signedIn: boolean) => void }): ReactNode {
  const id = useId();
  const dialog = useRef<HTMLDialogElement>(null);
  const [problem, setProblem] = useState<string>();
  const [busy, setBusy] = useState(false);
  const { form, notice } = useRefusal(problem);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const password = String(new FormData(event.currentTarget).get("password"));
    setBusy(true);
    setProblem(undefined);
    try {
      await beginSession(email, password);
      onEnd(true);
    } catch (error) {
      setProblem(error instanceof Problem ? wording(error) : "Signing in failed. Try again.");
      setBusy(false);
    }
  };
  return (
    <dialog
      ref={dialog}
      aria-labelledby={`${id}-title`}
      aria-describedby={`${id}-why`}
      onClose={() => onEnd(false)}
      className="scroller m-auto max-h-[calc(100dvh-2rem)] w-[min(26rem,calc(100vw-2rem))] rounded-2xl border border-line bg-card p-6 shadow-float"
    >
      <form ref={form} onSubmit={submit} className="space-y-5">
        <div>
          <h2 id={`${id}-title`} className="font-serif text-2xl tracking-tight">
            Confirm it’s you
          </h2>
          <p id={`${id}-why`} className="mt-2 leading-relaxed text-ink-2">
            It’s been a while since you signed in. Enter your password to continue.
          </p>
        </div>
        {problem && <Notice ref={notice}>{problem}</Notice>}
        {/* For password managers: the account's address. */}
        <input type="email" name="email" autoComplete="username" value={email} readOnly hidden />
        <Field label="Password" name="password" type="password" autoComplete="current-password" required autoFocus />
        <div className="flex flex-wrap justify-end gap-2">
          <Button look="bare" onClick={() => onEnd(false)}>
            Cancel
          </Button>
          <Button type="submit" look="primary" busy={busy}>
            Continue
          </Button>
        </div>
      </form>
    </dialog>
  );
}

function wording(problem: Problem): string {
  if (problem.code === "wrong_sign_in") return "Wrong password.";
  if (problem.code === "too_many_requests") return `Too many attempts. ${waiting(problem.retryAfterSeconds)}`;
  return problem.message;
}
