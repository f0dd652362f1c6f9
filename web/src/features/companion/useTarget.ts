import { useEffect, useRef } from "react";

type Pages = {
  data?: { pages: { items: { id: string }[] }[] };
  hasNextPage: boolean;
  isFetching: boolean;
  fetchNextPage: () => unknown;
};

/**
 * Loads earlier messages until the requested one is there, then brings it into view, again with each `visit`, since a link may
 * be followed twice. Returns the message's id once it is there.
 */
export function useTarget(target: string | undefined, visit: number | undefined, pages: Pages): string | undefined {
  const shown = useRef<string>(undefined);
  const found = Boolean(target && pages.data?.pages.some((page) => page.items.some((item) => item.id === target)));
  const { hasNextPage, isFetching, fetchNextPage } = pages;
  useEffect(() => {
    if (target && !found && hasNextPage && !isFetching) fetchNextPage();
  }, [target, found, hasNextPage, isFetching, fetchNextPage]);
  useEffect(() => {
    const asked = `${target}/${visit}`;
    if (!found || shown.current === asked) return;
    shown.current = asked;
    requestAnimationFrame(() => {
      const message = document.getElementById(`message-${target}`);
      message?.scrollIntoView({ block: "center" });
      message?.focus({ preventScroll: true });
      for (const mark of message?.getAnimations() ?? []) {
        mark.cancel();
        mark.play();
      }
    });
  }, [target, visit, found]);
  return found ? target : undefined;
}
