import { useId } from "react";
import { Plain } from "~/ui/Plain";

type Props = {
  legend: string;
  value: string | undefined;
  options: { value: string; label: string }[];
  onChange: (value: string) => void;
  error?: string;
  optional?: boolean;
};

/** One of a few options, all in view. */
export function Choice({ legend, value, options, onChange, error, optional = false }: Props) {
  const id = useId();
  return (
    <fieldset aria-describedby={error ? `${id}-error` : undefined}>
      <legend dir="auto" className="mb-1.5 text-sm font-medium [overflow-wrap:anywhere]">
        <Plain text={legend} />
        {optional && <span className="font-normal text-ink-3"> (optional)</span>}
      </legend>
      <div className="flex flex-wrap gap-2">
        {options.map((option) => (
          <label
            key={option.value}
            className="inline-flex min-h-10 max-w-full cursor-pointer items-center gap-2 rounded-lg border border-line-strong bg-card px-3 py-1.5 text-[0.9375rem] has-checked:border-accent has-checked:bg-accent-soft has-focus-visible:outline-2 has-focus-visible:outline-accent"
          >
            <input
              type="radio"
              name={id}
              value={option.value}
              checked={value === option.value}
              onChange={() => onChange(option.value)}
              aria-invalid={error ? true : undefined}
              className="peer sr-only"
            />
            <span
              aria-hidden="true"
              className="size-4 shrink-0 rounded-full border border-line-strong peer-checked:border-[5px] peer-checked:border-accent"
            />
            <bdi className="min-w-0 [overflow-wrap:anywhere]">
              <Plain text={option.label} />
            </bdi>
          </label>
        ))}
      </div>
      {error && (
        <p id={`${id}-error`} className="mt-1.5 text-sm text-danger">
          {error}
        </p>
      )}
    </fieldset>
  );
}
