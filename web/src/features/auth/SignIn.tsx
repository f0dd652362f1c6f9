import { type FormEvent, type ReactNode, useState } from "react";
import { Problem } from "~/api/http";
import { beginSession } from "~/api/session";
import type { SessionAnswer } from "~/api/types";
import { Button } from "~/ui/Button";
import { Field } from "~/ui/Field";
import { waiting } from "~/ui/format";
import { Notice } from "~/ui/Notice";
import { useRefusal } from "~/ui/useRefusal";

type Props = {
  onDone: (session: SessionAnswer) => void;
  /** Why the page asks: a sign-in ended, or somebody came for a set-up that is done. */
  why?: "ended" | "set_up";
  /** Replaces the welcome if the sign-in is a step of something else. */
  heading?: ReactNode;
  /** The email address, if it is known. */
  email?: string;
};

export function SignIn({ onDone, why, heading, email }: Props) {
  const [problem, setProblem] = useState<string>();
  const [busy, setBusy] = useState(false);
  const { form, notice } = useRefusal(problem);

  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const data = new FormData(event.currentTarget);
    setBusy(true);
    setProblem(undefined);
    try {
      onDone(await beginSession(String(data.get("email")).trim(), String(data.get("password"))));
    } catch (error) {
      setProblem(error instanceof Problem ? wording(error) : "Signing in failed. Try again.");
      setBusy(false);
    }
  };

  return (
    <form ref={form} onSubmit={submit} className="space-y-5">
      {heading ?? (
        <div>
          <h1 className="font-serif text-3xl tracking-tight">Welcome back</h1>
          <p className="mt-2 text-ink-2">
            {why === "ended"
              ? "You’ve been signed out. Sign in to pick up where you left off. Your draft is kept."
              : why === "set_up"
                ? "This Duet is already set up. Sign in to continue your conversations."
                : "Sign in to continue your conversations."}
          </p>
        </div>
      )}
      {problem && <Notice ref={notice}>{problem}</Notice>}
      <Field
        label="Email"
        name="email"
        type="email"
        autoComplete="username"
        required
        autoFocus={!email}
        defaultValue={email}
        readOnly={email !== undefined}
      />
      <Field
        label="Password"
        name="password"
        type="password"
        autoComplete="current-password"
        required
        autoFocus={email !== undefined}
      />
      <Button type="submit" look="primary" busy={busy} className="w-full">
        Sign in
      </Button>
    </form>
  );
}

function wording(problem: Problem): string {
  if (problem.code === "too_many_requests") return `Too many attempts. ${waiting(problem.retryAfterSeconds)}`;
  return problem.message;
}
