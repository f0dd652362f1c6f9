import { type FormEvent, useId, useRef, useState } from "react";
import { Button } from "~/ui/Button";
import { Plain } from "~/ui/Plain";
import { plainText } from "~/ui/plain";
import { Select } from "~/ui/Select";
import type { Errors } from "./arguments";
import { Choice } from "./Choice";
import { answersOf, type Form, type FormField } from "./form";

type Answers = Record<string, string | number | boolean>;

/** More options than this are a list to open. */
const MANY = 6;

type Props = { form: Form; busy: boolean; onSend: (answers: Answers) => void; onSkip: () => void };

/** The form of a question. */
export function Answer({ form, busy, onSend, onSkip }: Props) {
  const [entered, setEntered] = useState<ReadonlyMap<string, string>>(new Map());
  const [errors, setErrors] = useState<Errors>(new Map());
  const element = useRef<HTMLFormElement>(null);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const result = answersOf(form.fields, entered);
    setErrors("errors" in result ? result.errors : new Map());
    if ("answers" in result) onSend(result.answers);
    // The errors are on the page after the next paint.
    else requestAnimationFrame(() => element.current?.querySelector<HTMLElement>("[aria-invalid]")?.focus());
  };
  return (
    <form ref={element} noValidate onSubmit={submit} className="space-y-4">
      {form.fields.map((field) => (
        <Entry
          key={field.name}
          field={field}
          value={entered.get(field.name) ?? ""}
          error={errors.get(field.name)}
          onChange={(text) => setEntered(new Map(entered).set(field.name, text))}
        />
      ))}
      <div className="flex flex-wrap gap-2">
        <Button type="submit" look="primary" busy={busy}>
          Send answer
        </Button>
        <Button look="bare" disabled={busy} onClick={onSkip}>
          Skip
        </Button>
      </div>
    </form>
  );
}

type EntryProps = { field: FormField; value: string; error: string | undefined; onChange: (value: string) => void };

function Entry({ field, value, error, onChange }: EntryProps) {
  const id = useId();
  const { kind, label, optional, options } = field;
  if (kind === "yes_no" || (kind === "choice" && options.length <= MANY)) {
    const all =
      kind === "yes_no"
        ? [
            { value: "yes", label: "Yes" },
            { value: "no", label: "No" },
          ]
        : options.map((option) => ({ value: option, label: option }));
    return (
      <Choice
        legend={label}
        value={value}
        options={optional ? [...all, { value: "", label: "No answer" }] : all}
        onChange={onChange}
        error={error}
        optional={optional}
      />
    );
  }
  const shared = {
    id,
    value,
    className: "field",
    "aria-invalid": error ? (true as const) : undefined,
    "aria-required": !optional || undefined,
    "aria-describedby": error ? `${id}-error` : undefined,
  };
  return (
    <div>
      <label htmlFor={id} dir="auto" className="mb-1.5 block text-sm font-medium [overflow-wrap:anywhere]">
        <Plain text={label} />
        {optional && <span className="font-normal text-ink-3"> (optional)</span>}
      </label>
      <Control kind={kind} options={options} shared={shared} onChange={onChange} />
      {error && (
        <p id={`${id}-error`} className="mt-1.5 text-sm text-danger">
          {error}
        </p>
      )}
    </div>
  );
}

type ControlProps = {
  kind: FormField["kind"];
  options: string[];
  shared: { id: string; value: string; className: string };
  onChange: (value: string) => void;
};

function Control({ kind, options, shared, onChange }: ControlProps) {
  if (kind === "choice") {
    const { className: _, ...named } = shared;
    return (
      <Select {...named} onChange={(event) => onChange(event.target.value)}>
        <option value="">Choose…</option>
        {options.map((option) => (
          <option key={option} value={option}>
            {plainText(option)}
          </option>
        ))}
      </Select>
    );
  }
  if (kind === "date") return <input {...shared} type="date" onChange={(event) => onChange(event.target.value)} />;
  if (kind === "number") {
    return <input {...shared} inputMode="decimal" onChange={(event) => onChange(event.target.value)} />;
  }
  return <textarea {...shared} dir="auto" rows={2} onChange={(event) => onChange(event.target.value)} />;
}
