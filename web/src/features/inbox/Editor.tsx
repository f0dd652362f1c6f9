import { type FormEvent, useEffect, useId, useRef, useState } from "react";
import { Button } from "~/ui/Button";
import { hiddenIn } from "~/ui/plain";
import { type EditField, type Errors, edited, editedJson, editFields, type Json, same } from "./arguments";
import { Choice } from "./Choice";

type Arguments = { [name: string]: Json };

type Props = {
  value: Arguments;
  busy: boolean;
  onApprove: (value: Arguments) => void;
  onCancel: () => void;
};

/** Edits the arguments of a call, field by field or as JSON, before it is approved. */
export function Editor({ value, busy, onApprove, onCancel }: Props) {
  const [fields, setFields] = useState(() => editFields(value));
  /** The text, while they are edited as JSON. */
  const [json, setJson] = useState<string>();
  const [errors, setErrors] = useState<Errors>(new Map());
  const form = useRef<HTMLFormElement>(null);
  const id = useId();

  // biome-ignore lint/correctness/useExhaustiveDependencies: the first control has the focus when the controls change.
  useEffect(() => {
    form.current?.querySelector<HTMLElement>("textarea, input, select")?.focus();
  }, [json === undefined]);

  const read = (): Arguments | undefined => {
    if (json !== undefined) {
      const result = editedJson(json);
      setErrors("error" in result ? new Map([["", result.error]]) : new Map());
      return "value" in result ? result.value : undefined;
    }
    const result = edited(fields);
    setErrors("errors" in result ? result.errors : new Map());
    return "value" in result ? result.value : undefined;
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const read_ = read();
    if (read_) onApprove(read_);
    else form.current?.querySelector<HTMLElement>("[aria-invalid]")?.focus();
  };
  const swap = () => {
    const read_ = read();
    if (!read_) return;
    if (json === undefined) setJson(JSON.stringify(read_, null, 2));
    else {
      setFields(editFields(read_));
      setJson(undefined);
    }
  };
  const change = (at: number, entered: string) =>
    setFields(fields.map((field, index) => (index === at ? { ...field, entered } : field)));
  const now = json === undefined ? edited(fields) : editedJson(json);
  const changed = !("value" in now && same(now.value, value));

  return (
    <form
      ref={form}
      noValidate
      onSubmit={submit}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.preventDefault();
        onCancel();
      }}
      className="space-y-4"
    >
      {json === undefined ? (
        fields.map((field, at) => (
          <Editable
            key={field.name}
            field={field}
            error={errors.get(field.name)}
            onChange={(entered) => change(at, entered)}
          />
        ))
      ) : (
        <div>
          <label htmlFor={`${id}-json`} className="mb-1.5 block text-sm font-medium">
            All details, as JSON
          </label>
          <textarea
            id={`${id}-json`}
            value={json}
            onChange={(event) => setJson(event.target.value)}
            spellCheck={false}
            rows={Math.min(14, json.split("\n").length + 1)}
            aria-invalid={errors.has("") || undefined}
            aria-describedby={errors.has("") ? `${id}-json-error` : undefined}
            className="field font-mono text-sm"
          />
          {errors.has("") && (
            <p id={`${id}-json-error`} className="mt-1.5 text-sm text-danger">
              {errors.get("")}
            </p>
          )}
          <Hidden text={json} />
        </div>
      )}
      <div className="flex flex-wrap gap-2">
        <Button type="submit" look="primary" busy={busy} disabled={!changed}>
          Approve as edited
        </Button>
        <Button look="bare" onClick={onCancel} disabled={busy}>
          Cancel
        </Button>
        <Button look="bare" onClick={swap} className="sm:ml-auto">
          {json === undefined ? "Edit as JSON" : "Edit by field"}
        </Button>
      </div>
    </form>
  );
}

function Editable({
  field,
  error,
  onChange,
}: {
  field: EditField;
  error: string | undefined;
  onChange: (entered: string) => void;
}) {
  const id = useId();
  const { name, kind, entered } = field;
  const label = name.replaceAll("_", " ");
  if (kind === "yes_no") {
    return (
      <Choice
        legend={label}
        value={entered}
        options={[
          { value: "yes", label: "Yes" },
          { value: "no", label: "No" },
        ]}
        onChange={onChange}
      />
    );
  }
  const shared = {
    id,
    value: entered,
    "aria-invalid": error ? (true as const) : undefined,
    "aria-describedby": error ? `${id}-error` : undefined,
  };
  return (
    <div>
      <label htmlFor={id} className="mb-1.5 block text-sm font-medium">
        {label}
        {kind === "json" && <span className="font-normal text-ink-3"> (JSON)</span>}
      </label>
      {kind === "number" ? (
        <input {...shared} inputMode="decimal" onChange={(event) => onChange(event.target.value)} className="field" />
      ) : (
        <textarea
          {...shared}
          dir="auto"
          rows={Math.min(
            10,
            entered.split("\n").reduce((sum, line) => sum + 1 + Math.floor(line.length / 45), 0),
          )}
          spellCheck={kind !== "json"}
          onChange={(event) => onChange(event.target.value)}
          className={`field ${kind === "json" ? "font-mono text-sm" : ""}`}
        />
      )}
      {error && (
        <p id={`${id}-error`} className="mt-1.5 text-sm text-danger">
          {error}
        </p>
      )}
      <Hidden text={entered} />
    </div>
  );
}

/** A field to type in cannot show such characters by name, so they are named below it. */
function Hidden({ text }: { text: string }) {
  const hidden = hiddenIn(text);
  if (hidden.length === 0) return null;
  return (
    <p className="mt-1.5 text-sm text-caution">
      Contains invisible characters: <span className="font-mono">{hidden.join(" ")}</span>
    </p>
  );
}
