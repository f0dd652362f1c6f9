import { createContext, type ReactNode, useContext, useEffect, useRef, useState, useSyncExternalStore } from "react";
import { IconButton } from "~/ui/Button";
import { Close, Menu } from "~/ui/icons";
import { Wordmark } from "~/ui/Mark";
import { ConnectionBanner } from "./ConnectionBanner";

const Drawer = createContext<{ beside: boolean; open: () => void; corner?: ReactNode }>({
  beside: true,
  open: () => undefined,
});

const wide = "(width >= 56rem)";

function useBeside(): boolean {
  return useSyncExternalStore(
    (tell) => {
      const media = matchMedia(wide);
      media.addEventListener("change", tell);
      return () => media.removeEventListener("change", tell);
    },
    () => matchMedia(wide).matches,
    () => true,
  );
}

/** The frame of all signed-in pages: the side panel beside the content, or as a drawer on a phone. */
export function Frame({
  head,
  side,
  foot,
  corner,
  place,
  children,
}: {
  head: (close: () => void) => ReactNode;
  side: (close: () => void) => ReactNode;
  foot: (close: () => void) => ReactNode;
  /** Stays in the header's corner where the side panel is a drawer. */
  corner: ReactNode;
  /** Identifies the content; the drawer closes when it changes, whatever caused that. */
  place: string;
  children: ReactNode;
}) {
  const beside = useBeside();
  const [open, setOpen] = useState(false);
  const drawer = useRef<HTMLDialogElement>(null);

  useEffect(() => {
    if (open && !beside) drawer.current?.showModal();
  }, [open, beside]);
  const close = () => drawer.current?.close();
  // biome-ignore lint/correctness/useExhaustiveDependencies: runs when the content changes.
  useEffect(() => {
    drawer.current?.close();
  }, [place]);

  const panel = (
    <>
      <div className="flex min-h-16 shrink-0 items-center justify-between px-5 short:min-h-11">
        <Wordmark />
        {!beside && (
          <IconButton name="Close" onClick={close} className="-mr-2">
            <Close />
          </IconButton>
        )}
      </div>
      {head(close)}
      {side(close)}
      <div className="border-t border-line p-3 short:py-1">{foot(close)}</div>
    </>
  );

  return (
    <Drawer.Provider value={{ beside, open: () => setOpen(true), corner }}>
      <a
        href="#content"
        className="fixed top-2 left-2 z-10 -translate-y-20 rounded-lg bg-card px-4 py-2 focus:translate-y-0 focus:shadow-float"
      >
        Skip to the content
      </a>
      <div className="relative flex h-dvh">
        {beside ? (
          <aside
            aria-label="Side panel"
            className="scroller flex w-72 shrink-0 flex-col border-r border-line bg-margin"
          >
            {panel}
          </aside>
        ) : (
          open && (
            <dialog
              ref={drawer}
              aria-label="Conversations and account"
              onClose={() => setOpen(false)}
              onClick={(event) => event.target === event.currentTarget && close()}
              onKeyDown={(event) => event.key === "Escape" && event.stopPropagation()}
              className="drawer m-0 h-dvh w-[min(20rem,86vw)] bg-margin p-0 shadow-float"
            >
              <div className="scroller flex h-full flex-col">{panel}</div>
            </dialog>
          )
        )}
        <main id="content" tabIndex={-1} className="flex min-w-0 flex-1 flex-col outline-none">
          <ConnectionBanner />
          {children}
        </main>
      </div>
    </Drawer.Provider>
  );
}

/** The line above the content: its title and, on a phone, the button of the drawer. */
export function Header({
  title,
  heading = true,
  children,
}: {
  title?: string;
  heading?: boolean;
  children?: ReactNode;
}) {
  const { beside, open, corner } = useContext(Drawer);
  useEffect(() => {
    document.title = title ? `${title} – Duet` : "Duet";
  }, [title]);
  return (
    <header className="relative flex min-h-14 shrink-0 items-center gap-2 px-3 wide:min-h-16 wide:px-6 short:min-h-10">
      {!beside && (
        <IconButton name="Conversations" onClick={open}>
          <Menu />
        </IconButton>
      )}
      <div className="min-w-0 flex-1">
        {title &&
          (heading ? (
            <h1 dir="auto" className="truncate font-serif text-lg wide:text-center wide:pl-24">
              {title}
            </h1>
          ) : (
            <p className="truncate">{title}</p>
          ))}
      </div>
      <div className="flex w-auto items-center justify-end gap-1 wide:min-w-24">
        {children}
        {!beside && corner}
      </div>
    </header>
  );
}
