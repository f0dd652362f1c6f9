import { type FormEvent, type ReactNode, useEffect, useRef, useState } from "react";
import { checkSetupToken, setUp } from "~/api/endpoints";
import { Problem } from "~/api/http";
import { enterProject, hasProject } from "~/api/project";
import type { ServerInfo, SessionAnswer, SetupRequest } from "~/api/types";
import { Button } from "~/ui/Button";
import { Field } from "~/ui/Field";
import { waiting } from "~/ui/format";
import { Notice } from "~/ui/Notice";
import { entered, forgetEntered, keepEntered } from "./kept";
import { forgetToken, onToken, tokenFromAddress } from "./token";

const steps = ["Setup token", "You", "Your companion"] as const;
/** The step that asks for each field, so that an error leads back to it. */
const stepOf: Record<string, number> = {
  token: 0,
  display_name: 1,
  email: 1,
  password: 1,
  companion_name: 2,
  workspace_name: 2,
};

const MIN_PASSWORD = 10;
const WRONG_TOKEN = "That setup token is wrong. Copy it again from where Duet printed it last.";

/** Requires all fields, including those that only a sign-in at Duet itself sends. */
type Form = Record<keyof SetupRequest, string>;

export function Wizard({
  mode,
  onDone,
  onAlreadyDone: alreadyDone,
}: {
  /** Where this Duet keeps its data, and so which command prints the setup token. */
  mode: ServerInfo["mode"];
  onDone: (session: SessionAnswer) => void;
  onAlreadyDone: () => void;
}) {
  const [form, setForm] = useState<Form>(() => {
    const kept = entered("setup");
    return {
      token: tokenFromAddress() || (kept.token ?? ""),
      email: kept.email ?? "",
      password: "",
      display_name: kept.display_name ?? "",
      workspace_name: kept.workspace_name ?? "Home",
      companion_name: kept.companion_name ?? "",
    };
  });
  const [step, setStep] = useState(form.token ? 1 : 0);
  useEffect(() => {
    const { password: _, token, ...rest } = form;
    keepEntered("setup", { ...rest, token: step > 0 ? token : "" });
  }, [form, step]);
  const onAlreadyDone = () => {
    forgetEntered("setup");
    alreadyDone();
  };
  const [problem, setProblem] = useState<Problem>();
  const [errors, setErrors] = useState<Record<string, string>>({});
  /** Counts refusals: after each, the focus goes to the field that is wrong. Typing clears errors without moving it. */
  const [refusals, setRefusals] = useState(0);
  const [busy, setBusy] = useState(false);
  const body = useRef<HTMLFormElement>(null);

  // Each step starts at its first field, and a refusal leads back to the wrong one.
  // biome-ignore lint/correctness/useExhaustiveDependencies: runs when the step changes, also on the way back, and at a refusal.
  useEffect(() => {
    const first =
      body.current?.querySelector<HTMLInputElement>("[aria-invalid=true]") ?? body.current?.querySelector("input");
    first?.focus();
  }, [step, refusals]);

  const field = (name: keyof Form) => ({
    name,
    value: form[name],
    error: errors[name],
    onChange: (event: { target: { value: string } }) => {
      setForm((old) => ({ ...old, [name]: event.target.value }));
      setErrors(({ [name]: _, ...rest }) => rest);
      if (name === "token") setProblem(undefined);
    },
  });

  /** Whether Duet accepts the token; if not, the page says so at its field. */
  const checked = async (token: string): Promise<boolean> => {
    try {
      await checkSetupToken(token.trim());
      return true;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.code === "set_up") onAlreadyDone();
      else {
        setProblem(error);
        setRefusals((count) => count + 1);
        setErrors(error.code === "wrong_setup_token" ? { token: WRONG_TOKEN } : error.fields);
        setStep(0);
      }
      return false;
    }
  };

  // A token from the address, now or pasted into the open page, was not typed anywhere.
  // biome-ignore lint/correctness/useExhaustiveDependencies: runs once, when the page opens.
  useEffect(() => {
    if (form.token) void checked(form.token);
    return onToken((token) => {
      setForm((old) => ({ ...old, token }));
      setProblem(undefined);
      setErrors({});
      setStep((now) => Math.max(now, 1));
      void checked(token);
    });
  }, []);

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setProblem(undefined);
    if (step === 0) {
      setBusy(true);
      if (await checked(form.token)) setStep(1);
      setBusy(false);
      return;
    }
    if (step === 1 && form.password.length < MIN_PASSWORD) {
      setErrors({
        password: `Use at least ${MIN_PASSWORD} characters. A few words in a row are easy to remember.`,
      });
      setRefusals((count) => count + 1);
      return;
    }
    if (step < 2) return setStep(step + 1);
    setBusy(true);
    try {
      const { password, email, ...rest } = form;
      const project = hasProject();
      if (project) await enterProject(email.trim(), password);
      const session = await setUp({
        ...rest,
        // On a project, address and password belong to the project.
        ...(project ? {} : { email, password }),
        token: form.token.trim(),
        workspace_name: form.workspace_name.trim() || "Home",
      });
      forgetToken();
      forgetEntered("setup");
      onDone(session);
    } catch (error) {
      setBusy(false);
      if (!(error instanceof Problem)) throw error;
      if (error.code === "set_up") return onAlreadyDone();
      setProblem(error);
      setRefusals((count) => count + 1);
      if (error.code === "confirm_address" || error.code === "wrong_sign_in") return setStep(1);
      const named = Object.keys(error.fields).filter((name) => name in stepOf);
      setErrors(error.code === "wrong_setup_token" ? { token: WRONG_TOKEN } : error.fields);
      if (error.code === "wrong_setup_token") setStep(0);
      else if (named.length) setStep(Math.min(...named.map((name) => stepOf[name] ?? 2)));
    }
  };

  return (
    <form ref={body} onSubmit={submit} className="space-y-6">
      <ol className="flex gap-2 text-sm" aria-label="Steps">
        {steps.map((name, index) => (
          <li key={name} aria-current={index === step ? "step" : undefined} className="flex-1">
            <span className={`block h-1 rounded-full transition-colors ${index <= step ? "bg-accent" : "bg-line"}`} />
            <span className={`mt-2 block ${index === step ? "text-ink" : "text-ink-3"}`}>{name}</span>
          </li>
        ))}
      </ol>
      {problem && !errors.token && <Notice>{wording(problem)}</Notice>}
      {step === 0 && (
        <Step
          title="Let’s begin"
          text={`${mode === "server" ? "When its database was prepared" : "When Duet started"}, it printed a setup token. Enter it here to become the owner.`}
        >
          <Field
            label="Setup token"
            autoComplete="off"
            autoCapitalize="none"
            spellCheck={false}
            required
            hint={
              mode === "server" ? (
                <>
                  Lost it? Print a new one on the server with{" "}
                  <code className="rounded bg-margin px-1 font-mono text-xs">duet-api migrate --new-setup-token</code>.
                </>
              ) : (
                "Lost it? Start Duet again and it prints a new one."
              )
            }
            {...field("token")}
          />
        </Step>
      )}
      {step === 1 && (
        <Step
          title="About you"
          text={
            hasProject()
              ? "You’ll sign in with these. The account is kept by Supabase, which this Duet uses for signing in."
              : "You’ll sign in with these. They stay in this Duet."
          }
        >
          <Field
            label="What should your companion call you?"
            autoComplete="name"
            required
            maxLength={80}
            {...field("display_name")}
          />
          <Field label="Email" type="email" autoComplete="username" required {...field("email")} />
          <Field
            label="Password"
            type="password"
            autoComplete="new-password"
            required
            hint={
              errors.password
                ? undefined
                : `At least ${MIN_PASSWORD} characters. A few words in a row are easy to remember.`
            }
            {...field("password")}
          />
        </Step>
      )}
      {step === 2 && (
        <Step title="Your companion" text="Give your companion a name. You can change it later.">
          <Field
            label="Companion’s name"
            autoComplete="off"
            required
            maxLength={80}
            placeholder="Juno"
            {...field("companion_name")}
          />
          <Field
            label="Workspace name"
            autoComplete="off"
            required
            maxLength={80}
            hint="Your conversations and memories are kept in a workspace. You can invite others to it later."
            {...field("workspace_name")}
          />
        </Step>
      )}
      <div className="flex items-center justify-between gap-3">
        {step > 0 ? (
          <Button look="bare" onClick={() => setStep(step - 1)} disabled={busy}>
            Back
          </Button>
        ) : (
          <span />
        )}
        <Button type="submit" look="primary" busy={busy} className="min-w-32">
          {step < 2 ? "Continue" : "Start the first chat"}
        </Button>
      </div>
    </form>
  );
}

function Step({ title, text, children }: { title: string; text: string; children: ReactNode }) {
  return (
    <div className="rise space-y-5">
      <div>
        <h1 className="font-serif text-3xl tracking-tight">{title}</h1>
        <p className="mt-2 leading-relaxed text-ink-2">{text}</p>
      </div>
      {children}
    </div>
  );
}

function wording(problem: Problem): string {
  if (problem.code === "confirm_address") return problem.message;
  if (problem.code === "too_many_requests")
    return `Too many attempts. ${waiting(problem.retryAfterSeconds)} Nothing you entered is lost.`;
  return problem.message;
}
