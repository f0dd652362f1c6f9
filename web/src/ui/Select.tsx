import type { ComponentProps } from "react";
import { Chevron } from "./icons";

/** A select with room for its arrow. Its width is that of `className`. */
export function Select({ className = "w-full", ...rest }: ComponentProps<"select">) {
  return (
    <span className={`relative inline-block ${className}`}>
      <select {...rest} className="field min-h-11 appearance-none truncate pr-10" />
      <Chevron className="pointer-events-none absolute top-1/2 right-3 -translate-y-1/2 text-ink-2" />
    </span>
  );
}
