import { type ReactNode, useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";
import { Button } from "~/ui/Button";
import { ArrowDown } from "~/ui/icons";

type Props = {
  children: ReactNode;
  /** Changes whenever something was added at the end. */
  follow: string;
  ready: boolean;
  /** A place other than the end is being shown. */
  held: boolean;
  /** How often the person has sent something or asked for a reply here; each time, the view moves to the end. */
  sent: number;
  more?: () => void;
  loadingMore: boolean;
};

/** How near to the end still counts as reading along, in pixels. */
const NEAR = 96;

/** The farthest that an area can be scrolled. */
const endOf = ({ scrollHeight, clientHeight }: Element) => scrollHeight - clientHeight;

const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** The conversation's scrolling area: stays at the end while the person reads along, and leaves the reader alone otherwise. */
export function Scroller({ children, follow, ready, held, sent, more, loadingMore }: Props) {
  const box = useRef<HTMLElement>(null);
  const along = useRef(!held);
  const shape = useRef("");
  /** The message at the top of the view and its position, so that changes above do not move it. */
  const anchor = useRef<{ message: Element; top: number }>(undefined);
  /** The last known position of the view. If it differs, the reader has just scrolled, and their position wins. */
  const stood = useRef(0);
  /** The nearest that the end has come since then. */
  const nearest = useRef(0);
  const [away, setAway] = useState(false);

  const toEnd = useCallback((behavior: ScrollBehavior = "auto") => {
    if (!box.current) return;
    box.current.scrollTo({ top: box.current.scrollHeight, behavior });
    stood.current = box.current.scrollTop;
    nearest.current = endOf(box.current);
  }, []);

  /** Whether the reader has scrolled up. Where the page got shorter the browser moves the view up too, but only to the end. */
  const scrolledUp = useCallback((element: Element) => {
    nearest.current = Math.min(nearest.current, endOf(element));
    return element.scrollTop < Math.min(stood.current, nearest.current) - 1;
  }, []);

  const topOf = useCallback(
    (message: Element) => message.getBoundingClientRect().top - (box.current?.getBoundingClientRect().top ?? 0),
    [],
  );

  const noteAnchor = useCallback(() => {
    const messages = [...(box.current?.querySelectorAll(".message") ?? [])];
    const message = messages.find((one) => topOf(one) + one.clientHeight > 0);
    anchor.current = message && { message, top: topOf(message) };
    stood.current = box.current?.scrollTop ?? 0;
    nearest.current = box.current ? endOf(box.current) : 0;
  }, [topOf]);

  /** Restores the position where the reader left it. */
  const settle = useCallback(() => {
    const element = box.current;
    if (!element) return;
    if (along.current) {
      if (!scrolledUp(element)) toEnd();
      return;
    }
    if (Math.abs(element.scrollTop - stood.current) > 1 || !anchor.current?.message.isConnected) return;
    const moved = topOf(anchor.current.message) - anchor.current.top;
    if (Math.abs(moved) < 1) return;
    element.scrollTop += moved;
    stood.current = element.scrollTop;
  }, [toEnd, topOf, scrolledUp]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: runs when something was added.
  useLayoutEffect(() => {
    if (ready) settle();
  }, [follow, ready]);

  // Other height changes (markdown that loads, a line that opens, a smaller window) must not lose the place.
  useEffect(() => {
    const element = box.current;
    if (!element?.firstElementChild) return;
    const watch = new ResizeObserver(settle);
    watch.observe(element);
    watch.observe(element.firstElementChild);
    return () => watch.disconnect();
  }, [settle]);

  useEffect(() => {
    if (held) along.current = false;
  }, [held]);

  useLayoutEffect(() => {
    if (!sent) return;
    along.current = true;
    setAway(false);
    toEnd();
  }, [sent, toEnd]);

  // The button disappears with the last page: a keyboard user stays where it was.
  const offered = useRef(false);
  useEffect(() => {
    if (offered.current && !more && document.activeElement === document.body)
      box.current?.focus({ preventScroll: true });
    offered.current = Boolean(more);
  }, [more]);

  return (
    <div className="relative min-h-0 flex-1">
      <section
        ref={box}
        aria-label="Conversation"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region has to be reachable by keyboard.
        tabIndex={0}
        onScroll={(event) => {
          const element = event.currentTarget;
          const { scrollHeight, scrollTop, clientHeight } = element;
          const same = shape.current === `${scrollHeight}/${clientHeight}`;
          shape.current = `${scrollHeight}/${clientHeight}`;
          // The view moved because the page changed its shape; the reader did not scroll.
          if (along.current && !same && !scrolledUp(element)) {
            toEnd();
            setAway(false);
            return;
          }
          along.current = endOf(element) - scrollTop < NEAR;
          noteAnchor();
          setAway(!along.current);
        }}
        className="scroller h-full outline-offset-[-2px] [overflow-anchor:none]"
      >
        <div className="mx-auto flex max-w-[44rem] flex-col gap-7 px-5 pt-6 pb-10 short:pt-2 short:pb-4">
          {more && (
            <Button
              look="bare"
              busy={loadingMore}
              onClick={() => {
                along.current = false;
                noteAnchor();
                more();
              }}
              className="self-center"
            >
              Earlier messages
            </Button>
          )}
          {children}
        </div>
      </section>
      {away && (
        <Button
          className="rise absolute bottom-3 left-1/2 -translate-x-1/2 rounded-full shadow-float"
          onClick={() => {
            along.current = true;
            toEnd(still() ? "auto" : "smooth");
          }}
        >
          <ArrowDown size={16} /> Latest
        </Button>
      )}
    </div>
  );
}
