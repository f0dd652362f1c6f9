import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useId, useRef, useState } from "react";
import { invite } from "~/api/endpoints";
import { Problem } from "~/api/http";
import type { CreatedInvitation, Role } from "~/api/types";
import { Button } from "~/ui/Button";
import { Field } from "~/ui/Field";
import { when } from "~/ui/format";
import { Check, Copy } from "~/ui/icons";
import { Notice } from "~/ui/Notice";
import { Select } from "~/ui/Select";
import { told, useRecentSignIn } from "~/ui/SignInAgain";
import { invitationsQuery } from "./queries";

const lifetimes = [
  { hours: 24, label: "1 day" },
  { hours: 168, label: "1 week" },
  { hours: 720, label: "30 days" },
];

/** Creates an invitation; its link is shown only once, and only here. */
export function InviteForm({ workspace, email }: { workspace: string; email: string }) {
  const queries = useQueryClient();
  const form = useRef<HTMLFormElement>(null);
  const id = useId();
  const { recently, dialog } = useRecentSignIn(email);
  const make = useMutation({
    mutationFn: (body: { email: string; role: Role; expires_in_hours: number }) =>
      recently(() => invite(workspace, body)),
    onSuccess: async () => {
      form.current?.reset();
      await queries.invalidateQueries({ queryKey: invitationsQuery(workspace).queryKey });
    },
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const data = new FormData(event.currentTarget);
    make.mutate({
      email: String(data.get("email")).trim(),
      role: data.get("role") === "owner" ? "owner" : "member",
      expires_in_hours: Number(data.get("hours")),
    });
  };
  const problem = told(make.error);
  const fields = problem instanceof Problem ? problem.fields : {};
  return (
    <section aria-labelledby="invite">
      <h2 id="invite" className="font-serif text-2xl tracking-tight">
        Invite someone
      </h2>
      <p className="mt-2 leading-relaxed text-ink-2">
        You’ll get a link that works once, for that email address only. Duet doesn’t send email, so pass the link on
        yourself.
      </p>
      <form ref={form} onSubmit={submit} className="mt-4 space-y-4">
        {problem && !fields.email && <Notice>{problem.message}</Notice>}
        <Field
          label="Guest’s email"
          name="email"
          type="email"
          autoComplete="off"
          required
          maxLength={254}
          error={fields.email}
        />
        <div className="flex flex-wrap gap-4">
          <div className="min-w-40 flex-1">
            <label htmlFor={`${id}-role`} className="mb-1.5 block text-sm font-medium">
              Role
            </label>
            <Select id={`${id}-role`} name="role" defaultValue="member">
              <option value="member">Member</option>
              <option value="owner">Owner</option>
            </Select>
          </div>
          <div className="min-w-40 flex-1">
            <label htmlFor={`${id}-hours`} className="mb-1.5 block text-sm font-medium">
              The link expires after
            </label>
            <Select id={`${id}-hours`} name="hours" defaultValue={168}>
              {lifetimes.map(({ hours, label }) => (
                <option key={hours} value={hours}>
                  {label}
                </option>
              ))}
            </Select>
          </div>
        </div>
        <Button type="submit" look="primary" busy={make.isPending}>
          Create link
        </Button>
      </form>
      {dialog}
      {make.data && <Link key={make.data.invitation.id} made={make.data} onDone={make.reset} />}
    </section>
  );
}

function Link({ made, onDone }: { made: CreatedInvitation; onDone: () => void }) {
  const field = useRef<HTMLInputElement>(null);
  const [copied, setCopied] = useState<boolean>();
  // Uses this page's own address, whatever name the server believes it has.
  const link = `${window.location.origin}/invite#token=${made.token}`;
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(link);
      setCopied(true);
    } catch {
      // Some browsers have no clipboard without TLS: select the link, so that the keyboard can copy it.
      field.current?.select();
      setCopied(false);
    }
  };
  return (
    <div className="mt-5">
      <Notice tone="calm">
        <p>
          Send this link to <strong className="font-medium">{made.invitation.email}</strong>. It’s shown only once and
          works until {when(made.invitation.expires_at)}.
        </p>
        <div className="mt-3 flex flex-wrap gap-2">
          <input
            ref={field}
            readOnly
            value={link}
            aria-label="Invitation link"
            onFocus={(event) => event.target.select()}
            className="field min-w-40 flex-1 font-mono"
          />
          <Button onClick={copy}>
            {copied ? <Check /> : <Copy />} {copied ? "Copied" : "Copy"}
          </Button>
          <Button look="bare" onClick={onDone}>
            Done
          </Button>
        </div>
        {copied === false && (
          <p className="mt-2 text-sm text-ink-2">
            Your browser doesn’t allow copying here. The link is selected: copy it with the keyboard.
          </p>
        )}
      </Notice>
    </div>
  );
}
