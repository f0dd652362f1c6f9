import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useState } from "react";
import { approveDevice, denyDevice } from "~/api/endpoints";
import { Problem } from "~/api/http";
import type { DeviceLogin } from "~/api/types";
import { Button } from "~/ui/Button";
import { Field } from "~/ui/Field";
import { waiting, when } from "~/ui/format";
import { Notice } from "~/ui/Notice";
import { told, useRecentSignIn } from "~/ui/SignInAgain";
import { codeOf } from "./code";
import { deviceQuery } from "./queries";

type Props = {
  /** What the address names as the code; may be anything. */
  named: string;
  /** Shows the device of another code. */
  onCode: (code: string) => void;
  /** The person signed in here. */
  email: string;
};

/** The page on which a person lets in a device that shows them a code. */
export function Device({ named, onCode, email }: Props) {
  const code = codeOf(named);
  if (!code) {
    return <Ask onCode={onCode} wrong={named ? `“${named.slice(0, 20)}” can’t be a code.` : undefined} />;
  }
  return <Known key={code} code={code} onCode={onCode} email={email} />;
}

/** The page's heading, with what to do first. */
export function Heading({ children }: { children: ReactNode }) {
  return (
    <div>
      <h1 className="font-serif text-3xl tracking-tight text-balance">Sign in a device</h1>
      <p className="mt-2 leading-relaxed text-ink-2">{children}</p>
    </div>
  );
}

function Ask({ onCode, wrong }: { onCode: (code: string) => void; wrong?: string }) {
  const [problem, setProblem] = useState(wrong);
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const code = codeOf(String(new FormData(event.currentTarget).get("code")));
    if (code) onCode(code);
    else setProblem("A code has eight letters, like BCDF-GHJK.");
  };
  return (
    <form onSubmit={submit} className="space-y-5">
      <Heading>Type the code that it shows.</Heading>
      <Field
        label="Code"
        name="code"
        required
        autoFocus
        autoComplete="off"
        autoCapitalize="characters"
        spellCheck={false}
        maxLength={40}
        placeholder="BCDF-GHJK"
        error={problem}
      />
      <Button type="submit" look="primary" className="w-full">
        Continue
      </Button>
    </form>
  );
}

function Known({ code, onCode, email }: { code: string; onCode: (code: string) => void; email: string }) {
  const device = useQuery(deviceQuery(code));
  if (device.isPending) return <p className="text-ink-3">Looking up the code…</p>;
  if (device.error) {
    if (device.error instanceof Problem && device.error.code === "not_found") {
      return <Ask onCode={onCode} wrong={`No device shows the code ${code}. Compare it, letter by letter.`} />;
    }
    return (
      <End title="This code can’t be looked up">
        <Notice actions={<Button onClick={() => void device.refetch()}>Try again</Button>}>
          {wording(device.error)}
        </Notice>
      </End>
    );
  }
  switch (device.data.state) {
    case "waiting":
      return <Decide code={code} device={device.data} email={email} />;
    case "approved":
      return <End title="Confirmed">The device signs in by itself within a few seconds. You can close this page.</End>;
    case "used":
      return <End title="Signed in">The device that showed this code is signed in. You can close this page.</End>;
    case "denied":
      return <End title="Refused">The device was told, and gets nothing. You can close this page.</End>;
    case "expired":
      return (
        <End title="This code has expired">
          Codes last ten minutes. Run <code className="font-mono text-[0.9em]">duet login</code> again for a new one.
        </End>
      );
  }
}

function End({ title, children }: { title: string; children: ReactNode }) {
  return (
    <div className="space-y-5">
      <h1 className="font-serif text-3xl tracking-tight text-balance">{title}</h1>
      <div className="leading-relaxed text-ink-2" role="status">
        {children}
      </div>
      <a href="/" className="target inline-flex items-center text-accent underline underline-offset-4">
        Go to Duet
      </a>
    </div>
  );
}

function Decide({ code, device, email }: { code: string; device: DeviceLogin; email: string }) {
  const queries = useQueryClient();
  const { recently, dialog } = useRecentSignIn(email);
  const decide = useMutation({
    mutationFn: (yes: boolean) => (yes ? recently(() => approveDevice(code)) : denyDevice(code)),
    onSuccess: (decided) => queries.setQueryData(deviceQuery(code).queryKey, decided),
    // Somebody else, or another tab, was faster: show what became of it.
    onError: (error) => {
      if (error instanceof Problem && error.code === "device_decided")
        void queries.invalidateQueries({ queryKey: deviceQuery(code).queryKey });
    },
  });
  const problem = told(decide.error);
  const deciding = (yes: boolean) => decide.isPending && decide.variables === yes;
  return (
    <div className="space-y-5">
      <Heading>
        A device asks to be signed in as <span className="[overflow-wrap:anywhere]">{email}</span>.
      </Heading>
      <dl className="divide-y divide-line border-y border-line">
        <Row name="Code">
          <span className="font-mono text-lg tracking-wider">{code}</span>
        </Row>
        <Row name="Calls itself">
          <bdi>{device.client}</bdi>
        </Row>
        <Row name="Asks from">
          <span className="font-mono">{device.address}</span>
        </Row>
        <Row name="Since">{when(device.created_at)}</Row>
      </dl>
      <Notice tone="caution">
        Confirm only if you started this yourself and the device shows this very code. It will be able to do what you
        can do here, and to decide what waits in your Inbox.
      </Notice>
      {problem && <Notice>{wording(problem)}</Notice>}
      <div className="flex flex-wrap gap-3">
        <Button
          look="primary"
          className="min-w-40 flex-1"
          busy={deciding(true)}
          disabled={decide.isPending}
          onClick={() => decide.mutate(true)}
        >
          Sign it in
        </Button>
        <Button
          className="min-w-40 flex-1"
          busy={deciding(false)}
          disabled={decide.isPending}
          onClick={() => decide.mutate(false)}
        >
          Refuse
        </Button>
      </div>
      {dialog}
    </div>
  );
}

function Row({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div className="flex flex-wrap items-baseline justify-between gap-x-4 gap-y-1 py-3">
      <dt className="text-sm text-ink-3">{name}</dt>
      <dd className="min-w-0 [overflow-wrap:anywhere]">{children}</dd>
    </div>
  );
}

function wording(problem: Error): string {
  if (problem instanceof Problem && problem.code === "too_many_requests")
    return `Too many codes were tried. ${waiting(problem.retryAfterSeconds)}`;
  return problem.message;
}
