import { useEffect, useRef } from "react";

/** After a refused sign-in, the password has the focus again and the reason is in view. */
export function useRefusal(problem: string | undefined) {
  const form = useRef<HTMLFormElement>(null);
  const notice = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!problem) return;
    form.current?.querySelector<HTMLInputElement>("[type=password]")?.focus({ preventScroll: true });
    notice.current?.scrollIntoView({ block: "nearest" });
  }, [problem]);
  return { form, notice };
}
