import { useMutation, useQuery } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useState } from "react";
import { acceptInvitation, lookUpInvitation } from "~/api/endpoints";
import { Problem } from "~/api/http";
import { enterProject, hasProject } from "~/api/project";
import { endSession } from "~/api/session";
import type { Invited, Membership, SessionAnswer } from "~/api/types";
import { Button } from "~/ui/Button";
import { Field } from "~/ui/Field";
import { when } from "~/ui/format";
import { Notice } from "~/ui/Notice";

const MIN_PASSWORD = 10;

type Props = {
  /** The part after `#token=` in the address. */
  token: string;
  /** The person signed in here. */
  session: SessionAnswer | null;
  onAccepted: (membership: Membership) => void;
  onSignedOut: () => void;
  /** The sign-in for that address, with this page's heading. */
  signIn: (email: string, heading: ReactNode) => ReactNode;
};

/** The page of an invitation link: what the invitation is for, and how to accept it. */
export function Accept({ token, session, onAccepted, onSignedOut, signIn }: Props) {
  const about = useQuery({
    queryKey: ["invitation", token],
    queryFn: () => lookUpInvitation(token),
    enabled: token !== "",
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0,
  });
  if (!token) {
    return <Stop>This link is incomplete. Copy the whole link, or ask for a new one.</Stop>;
  }
  if (about.isPending) return <p className="text-ink-3">Checking your invitation…</p>;
  if (about.error) {
    return (
      <Stop onAgain={about.error instanceof Problem && about.error.lost ? () => void about.refetch() : undefined}>
        {wording(about.error)}
      </Stop>
    );
  }
  const invited = about.data;
  const heading = <Heading invited={invited} />;
  if (session && session.user.email === invited.email) {
    return (
      <Join
        token={token}
        name={session.user.display_name || invited.email.split("@")[0] || invited.email}
        heading={heading}
        onAccepted={onAccepted}
      />
    );
  }
  if (session) {
    return <Somebody heading={heading} session={session} invited={invited} onSignedOut={onSignedOut} />;
  }
  if (invited.has_account) return signIn(invited.email, heading);
  return <Newcomer token={token} email={invited.email} heading={heading} onAccepted={onAccepted} />;
}

function Heading({ invited }: { invited: Invited }) {
  return (
    <div>
      <h1 className="font-serif text-3xl tracking-tight text-balance">Join {invited.workspace_name}</h1>
      <p className="mt-2 leading-relaxed text-ink-2">
        {invited.invited_by} invited <span className="[overflow-wrap:anywhere]">{invited.email}</span>
        {invited.role === "owner" ? " to join as an owner" : ""}. The link works until {when(invited.expires_at)}.
      </p>
    </div>
  );
}

function Stop({ children, onAgain }: { children: ReactNode; onAgain?: () => void }) {
  return (
    <div className="space-y-6">
      <h1 className="font-serif text-3xl tracking-tight text-balance">This invitation can’t be used</h1>
      <Notice actions={onAgain && <Button onClick={onAgain}>Try again</Button>}>{children}</Notice>
      <a href="/" className="target inline-flex items-center text-accent underline underline-offset-4">
        Go to Duet
      </a>
    </div>
  );
}

/** Accepts with the invited account. */
function Join({
  token,
  name,
  heading,
  onAccepted,
}: {
  token: string;
  name: string;
  heading: ReactNode;
  onAccepted: (membership: Membership) => void;
}) {
  // The name is used if the person signed up elsewhere and has no account here yet.
  const accept = useMutation({
    mutationFn: () => acceptInvitation({ token, display_name: name }),
    onSuccess: onAccepted,
  });
  return (
    <div className="space-y-5">
      {heading}
      {accept.error && <Notice>{wording(accept.error)}</Notice>}
      <Button look="primary" className="w-full" busy={accept.isPending} onClick={() => accept.mutate()}>
        Join as {name}
      </Button>
    </div>
  );
}

/** Somebody else is signed in. */
function Somebody({
  heading,
  session,
  invited,
  onSignedOut,
}: {
  heading: ReactNode;
  session: SessionAnswer;
  invited: Invited;
  onSignedOut: () => void;
}) {
  const leave = useMutation({ mutationFn: () => endSession(false), onSuccess: onSignedOut });
  return (
    <div className="space-y-5">
      {heading}
      <Notice tone="caution">
        You’re signed in as {session.user.email}. This invitation is for {invited.email}.
      </Notice>
      {leave.error && <Notice>{leave.error.message}</Notice>}
      <Button look="primary" className="w-full" busy={leave.isPending} onClick={() => leave.mutate()}>
        Sign out and continue
      </Button>
    </div>
  );
}

/** Nobody has an account with that address yet. */
function Newcomer({
  token,
  email,
  heading,
  onAccepted,
}: {
  token: string;
  email: string;
  heading: ReactNode;
  onAccepted: (membership: Membership) => void;
}) {
  const [short, setShort] = useState(false);
  const accept = useMutation({
    mutationFn: async ({ display_name, password }: { display_name: string; password: string }) => {
      if (!hasProject()) return acceptInvitation({ token, display_name, password });
      // The account belongs to the project; Duet admits it.
      await enterProject(email, password);
      return acceptInvitation({ token, display_name });
    },
    onSuccess: onAccepted,
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const data = new FormData(event.currentTarget);
    const password = String(data.get("password"));
    setShort(password.length < MIN_PASSWORD);
    if (password.length >= MIN_PASSWORD)
      accept.mutate({ display_name: String(data.get("display_name")).trim(), password });
  };
  const fields = accept.error instanceof Problem ? accept.error.fields : {};
  const hint = `At least ${MIN_PASSWORD} characters. A few words in a row are easy to remember.`;
  return (
    <form onSubmit={submit} className="space-y-5">
      {heading}
      {accept.error && Object.keys(fields).length === 0 && <Notice>{wording(accept.error)}</Notice>}
      <Field label="Email" name="email" type="email" autoComplete="username" readOnly value={email} />
      <Field
        label="Your name"
        name="display_name"
        autoComplete="name"
        required
        maxLength={80}
        autoFocus
        error={fields.display_name}
      />
      <Field
        label="Password"
        name="password"
        type="password"
        autoComplete="new-password"
        required
        hint={short || fields.password ? undefined : hint}
        error={short ? `Use at least ${MIN_PASSWORD} characters.` : fields.password}
      />
      <Button type="submit" look="primary" className="w-full" busy={accept.isPending}>
        Create account and join
      </Button>
    </form>
  );
}

function wording(problem: Error): string {
  if (problem instanceof Problem && problem.code === "not_found")
    return "This invitation doesn’t exist. Copy the whole link again, or ask for a new one.";
  return problem.message;
}
