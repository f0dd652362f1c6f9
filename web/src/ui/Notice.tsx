import type { ReactNode, Ref } from "react";
import { Warning } from "./icons";

const tones = {
  danger: "bg-danger-soft text-danger",
  caution: "bg-caution-soft text-caution",
  calm: "bg-accent-soft text-ink",
};

/** A sentence that matters now, with the available actions. */
export function Notice({
  tone = "danger",
  children,
  actions,
  ref,
  alert = tone === "danger",
}: {
  tone?: keyof typeof tones;
  children: ReactNode;
  actions?: ReactNode;
  alert?: boolean;
  ref?: Ref<HTMLDivElement>;
}) {
  return (
    <div
      ref={ref}
      role={alert ? "alert" : "status"}
      className={`rise flex gap-3 rounded-xl px-4 py-3 text-[0.9375rem] leading-relaxed ${tones[tone]}`}
    >
      {tone !== "calm" && <Warning size={18} className="mt-[0.2rem] shrink-0" />}
      <div className="min-w-0 flex-1">
        <div className="[overflow-wrap:anywhere]">{children}</div>
        {actions && <div className="mt-2 flex flex-wrap gap-2">{actions}</div>}
      </div>
    </div>
  );
}
