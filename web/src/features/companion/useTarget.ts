import { useEffect, useRef } from "react";

type Pages = {
  data?: { pages: { items: { id: string }[] }[] };
  hasNextPage: boolean;
  isFetching: boolean;
  fetchNextPage: () => unknown;
};

/** Loads earlier messages until the one asked for is there, then brings it into view. Returns it once it is there. */
export function useTarget(target: string | undefined, pages: Pages): string | undefined {
  const shown = useRef<string>(undefined);
  const found = Boolean(target && pages.data?.pages.some((page) => page.items.some((item) => item.id === target)));
  const { hasNextPage, isFetching, fetchNextPage } = pages;
  useEffect(() => {
    if (target && !found && hasNextPage && !isFetching) fetchNextPage();
  }, [target, found, hasNextPage, isFetching, fetchNextPage]);
  useEffect(() => {
    if (!target || !found || shown.current === target) return;
    shown.current = target;
    requestAnimationFrame(() => document.getElementById(`message-${target}`)?.scrollIntoView({ block: "center" }));
  }, [target, found]);
  return found ? target : undefined;
}
