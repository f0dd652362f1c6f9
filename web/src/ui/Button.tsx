import type { ComponentProps } from "react";

const looks = {
  primary: "bg-accent text-on-accent hover:brightness-110 disabled:opacity-60 disabled:hover:brightness-100 px-4",
  quiet: "border border-line-strong bg-card text-ink hover:bg-hover disabled:opacity-60 px-4",
  danger: "border border-line-strong bg-card text-danger hover:bg-hover disabled:opacity-60 px-4",
  bare: "text-ink-2 hover:bg-hover hover:text-ink disabled:opacity-60 px-3",
};

type Props = ComponentProps<"button"> & { look?: keyof typeof looks; busy?: boolean };

export function Button({
  look = "quiet",
  busy = false,
  className = "",
  type = "button",
  disabled,
  children,
  ...rest
}: Props) {
  return (
    <button
      type={type}
      disabled={disabled || busy}
      aria-busy={busy || undefined}
      className={`inline-flex min-h-10 items-center justify-center gap-2 rounded-lg text-[0.9375rem] font-medium transition ${looks[look]} ${className}`}
      {...rest}
    >
      {busy && <Dots />}
      {children}
    </button>
  );
}

/** A square button with an icon; its name serves as screen-reader label and tooltip. */
export function IconButton({
  name,
  className = "",
  children,
  type = "button",
  ...rest
}: ComponentProps<"button"> & { name: string }) {
  return (
    <button
      type={type}
      aria-label={name}
      title={name}
      className={`inline-flex size-10 shrink-0 items-center justify-center rounded-lg text-ink-2 transition hover:bg-hover hover:text-ink disabled:opacity-50 ${className}`}
      {...rest}
    >
      {children}
    </button>
  );
}

function Dots() {
  return (
    <span aria-hidden="true" className="inline-flex gap-1">
      {[0, 1, 2].map((dot) => (
        <span key={dot} className="size-1 animate-pulse rounded-full bg-current" />
      ))}
    </span>
  );
}
