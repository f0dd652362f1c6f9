import { type ReactNode, useId, useLayoutEffect, useRef, useState } from "react";

type Props = {
  /** What the panel is, for screen readers. */
  name: string;
  /** Renders the button; spread the given properties on it. */
  button: (props: {
    ref: React.Ref<HTMLButtonElement>;
    popoverTarget: string;
    "aria-expanded": boolean;
    "aria-haspopup": "dialog";
  }) => ReactNode;
  /** The panel, created only while it is open. */
  children: (close: () => void) => ReactNode;
  /** Preferred width, in pixels. */
  width?: number;
};

/**
 * A panel beside its button: the browser's own popover, so that Esc, clicking elsewhere and the focus behave as people
 * expect. On a phone it is a sheet at the bottom.
 */
export function Popover({ name, button, children, width = 320 }: Props) {
  const id = useId();
  const [open, setOpen] = useState(false);
  const panel = useRef<HTMLDivElement>(null);
  const opener = useRef<HTMLButtonElement>(null);

  useLayoutEffect(() => {
    const element = panel.current;
    if (!element) return;
    const onToggle = (event: Event) => setOpen((event as ToggleEvent).newState === "open");
    element.addEventListener("beforetoggle", onToggle);
    return () => element.removeEventListener("beforetoggle", onToggle);
  }, []);

  useLayoutEffect(() => {
    if (!open) return;
    const place = () => {
      const element = panel.current;
      const anchor = opener.current?.getBoundingClientRect();
      if (!element || !anchor) return;
      if (innerWidth < 640) {
        Object.assign(element.style, {
          left: "8px",
          right: "8px",
          bottom: "8px",
          top: "auto",
          width: "auto",
          maxHeight: "70dvh",
        });
        return;
      }
      const wide = Math.min(width, innerWidth - 16);
      const below = innerHeight - anchor.bottom - 16;
      const above = anchor.top - 16;
      const up = below < Math.min(element.scrollHeight + 8, 260) && above > below;
      Object.assign(element.style, {
        width: `${wide}px`,
        left: `${Math.max(8, Math.min(anchor.left, innerWidth - wide - 8))}px`,
        right: "auto",
        top: up ? "auto" : `${anchor.bottom + 6}px`,
        bottom: up ? `${innerHeight - anchor.top + 6}px` : "auto",
        maxHeight: `${Math.max(up ? above : below, 120)}px`,
      });
    };
    place();
    const watch = new ResizeObserver(place);
    if (panel.current) watch.observe(panel.current);
    addEventListener("resize", place);
    return () => {
      watch.disconnect();
      removeEventListener("resize", place);
    };
  }, [open, width]);

  return (
    <>
      {button({ ref: opener, popoverTarget: id, "aria-expanded": open, "aria-haspopup": "dialog" })}
      <div
        ref={panel}
        id={id}
        popover="auto"
        role="dialog"
        aria-label={name}
        className="scroller fixed rounded-xl border border-line bg-card text-ink shadow-float"
      >
        {open && children(() => panel.current?.hidePopover())}
      </div>
    </>
  );
}

type MenuButtonProps = {
  children: ReactNode;
  onClick: () => void;
  tone?: "danger";
  /** Whether this is the current choice. */
  current?: boolean;
};

/** An entry of a menu in a popover. */
export function MenuButton({ children, onClick, tone, current }: MenuButtonProps) {
  return (
    <button
      type="button"
      onClick={onClick}
      aria-current={current || undefined}
      className={`flex min-h-10 w-full items-center gap-2.5 rounded-lg px-3 text-left text-[0.9375rem] hover:bg-hover ${tone === "danger" ? "text-danger" : ""}`}
    >
      {children}
    </button>
  );
}
