import { type ReactNode, useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";
import { Button } from "~/ui/Button";
import { ArrowDown } from "~/ui/icons";

type Props = {
  children: ReactNode;
  /** Changes whenever something was added at the end. */
  follow: string;
  ready: boolean;
  /** Somewhere else than the end is being shown. */
  held: boolean;
  more?: () => void;
  loadingMore: boolean;
};

/** How near to the end still counts as reading along, in pixels. */
const NEAR = 96;

/** The conversation's scrolling area: stays at the end while one reads along, and leaves the reader alone otherwise. */
export function Scroller({ children, follow, ready, held, more, loadingMore }: Props) {
  const box = useRef<HTMLElement>(null);
  const along = useRef(!held);
  const shape = useRef("");
  const [away, setAway] = useState(false);

  const toEnd = useCallback((behavior: ScrollBehavior = "auto") => {
    box.current?.scrollTo({ top: box.current.scrollHeight, behavior });
  }, []);

  // biome-ignore lint/correctness/useExhaustiveDependencies: runs when something was added.
  useLayoutEffect(() => {
    if (ready && along.current && !held) toEnd();
  }, [follow, ready, held]);

  // What changes heights otherwise (chips, markdown that was loading, a window made smaller) must not lose the end.
  useEffect(() => {
    const element = box.current;
    if (!element?.firstElementChild) return;
    const watch = new ResizeObserver(() => along.current && toEnd());
    watch.observe(element);
    watch.observe(element.firstElementChild);
    return () => watch.disconnect();
  }, [toEnd]);

  useEffect(() => {
    if (held) along.current = false;
  }, [held]);

  return (
    <div className="relative min-h-0 flex-1">
      <section
        ref={box}
        aria-label="Conversation"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region has to be reachable by keyboard.
        tabIndex={0}
        onScroll={(event) => {
          const { scrollHeight, scrollTop, clientHeight } = event.currentTarget;
          const near = scrollHeight - scrollTop - clientHeight < NEAR;
          const same = shape.current === `${scrollHeight}/${clientHeight}`;
          shape.current = `${scrollHeight}/${clientHeight}`;
          // Where the page moved because its shape changed, the reader did not move.
          if (!near && !same && along.current) return;
          along.current = near;
          setAway(!near);
        }}
        className="h-full overflow-y-auto outline-offset-[-2px]"
      >
        <div className="mx-auto flex max-w-[44rem] flex-col gap-7 px-5 pt-6 pb-10">
          {more && (
            <Button look="bare" busy={loadingMore} onClick={more} className="self-center">
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
            toEnd("smooth");
          }}
        >
          <ArrowDown size={16} /> Latest
        </Button>
      )}
    </div>
  );
}
