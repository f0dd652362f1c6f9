import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useCallback, useDeferredValue, useId, useState } from "react";
import type { Conversation, MessageHit } from "~/api/types";
import { Button } from "~/ui/Button";
import { era, when } from "~/ui/format";
import { Close, Plus, Search } from "~/ui/icons";
import { visit } from "~/ui/visit";
import { ConversationItem } from "./ConversationItem";
import { Moved, type MovedConversation } from "./Moved";
import { matches } from "./matches";
import { conversationSearchQuery, conversationsQuery } from "./queries";

type Props = { workspace: string; current?: string; onGo?: () => void };

export function ConversationList({ workspace, current, onGo }: Props) {
  const [words, setWords] = useState("");
  const [archived, setArchived] = useState(false);
  const [moved, setMoved] = useState<MovedConversation>();
  // The conversation that an undo restored takes the focus: the button that had it is gone.
  const [back, setBack] = useState<string>();
  const asked = useDeferredValue(words.trim());
  const searchId = useId();

  return (
    <nav aria-label="Conversations" className="flex min-h-0 flex-1 flex-col short:flex-none">
      <div className="space-y-2 px-3 pb-3">
        <Link
          to="/chat"
          onClick={onGo}
          className="target flex min-h-10 items-center gap-2.5 rounded-lg border border-line-strong bg-card px-3 text-[0.9375rem] font-medium transition hover:bg-hover"
        >
          <Plus /> New conversation
        </Link>
        <div className="relative">
          <Search size={16} className="pointer-events-none absolute top-1/2 left-3 -translate-y-1/2 text-ink-3" />
          <label htmlFor={searchId} className="sr-only">
            Search conversations
          </label>
          <input
            id={searchId}
            type="search"
            value={words}
            onChange={(event) => setWords(event.target.value)}
            onKeyDown={(event) => {
              if (event.key === "Escape" && words) {
                event.stopPropagation();
                event.preventDefault();
                setWords("");
              }
            }}
            placeholder="Search"
            autoComplete="off"
            dir="auto"
            className="field min-h-10 py-1.5 pr-11 pl-9 [&::-webkit-search-cancel-button]:hidden"
          />
          {words && (
            <button
              type="button"
              aria-label="Clear search"
              onClick={() => setWords("")}
              className="absolute top-1/2 right-0 inline-flex size-10 -translate-y-1/2 items-center justify-center rounded-md text-ink-3 hover:text-ink"
            >
              <Close size={14} />
            </button>
          )}
        </div>
      </div>
      <div className="scroller min-h-0 flex-1 px-3 pb-3 short:flex-none short:overflow-visible">
        {asked ? (
          <Hits workspace={workspace} words={asked} onGo={onGo} />
        ) : (
          <List
            workspace={workspace}
            archived={archived}
            current={current}
            onGo={onGo}
            onMoved={setMoved}
            back={back}
            onBack={setBack}
          />
        )}
        {!asked && (
          <button
            type="button"
            onClick={() => {
              setArchived(!archived);
              setMoved(undefined);
            }}
            className="mt-4 min-h-9 rounded-md px-3 text-sm text-ink-3 hover:text-ink"
          >
            {archived ? "Back to conversations" : "Archived"}
          </button>
        )}
      </div>
      <Moved
        key={moved?.id}
        workspace={workspace}
        moved={moved}
        onDone={() => setMoved(undefined)}
        onUndone={setBack}
      />
    </nav>
  );
}

type ListProps = Props & {
  archived: boolean;
  onMoved: (moved: MovedConversation) => void;
  back?: string;
  onBack: (id: undefined) => void;
};

function List({ workspace, archived, current, onGo, onMoved, back, onBack }: ListProps) {
  const focused = useCallback(() => onBack(undefined), [onBack]);
  const list = useInfiniteQuery(conversationsQuery(workspace, archived));
  if (list.isPending) return <Waiting />;
  if (list.isError) return <Trouble text={list.error.message} onRetry={() => list.refetch()} />;
  const items = list.data.pages.flatMap((page) => page.items);
  if (!items.length) {
    return (
      <p className="px-3 py-2 text-sm leading-relaxed text-ink-3">
        {archived ? "Nothing is archived." : "Your conversations will appear here."}
      </p>
    );
  }
  return (
    <>
      {archived && <p className="px-3 pb-1 text-sm font-medium">Archived</p>}
      {grouped(items).map(([name, group]) => (
        <section key={name} aria-label={name} className="mb-4">
          <h2 className="px-3 pb-1 text-xs text-ink-3">{name}</h2>
          <ul>
            {group.map((conversation) => (
              <ConversationItem
                key={conversation.id}
                workspace={workspace}
                conversation={conversation}
                current={conversation.id === current}
                onGo={onGo}
                onMoved={onMoved}
                onFocused={conversation.id === back ? focused : undefined}
              />
            ))}
          </ul>
        </section>
      ))}
      {list.hasNextPage && (
        <Button look="bare" busy={list.isFetchingNextPage} onClick={() => list.fetchNextPage()} className="w-full">
          Show more
        </Button>
      )}
    </>
  );
}

function grouped(items: Conversation[]): [string, Conversation[]][] {
  const groups = new Map<string, Conversation[]>();
  for (const item of items) {
    const name = era(item.updated_at);
    groups.set(name, [...(groups.get(name) ?? []), item]);
  }
  return [...groups];
}

function Hits({ workspace, words, onGo }: { workspace: string; words: string; onGo?: () => void }) {
  const found = useQuery(conversationSearchQuery(workspace, words));
  if (found.isPending) return <Waiting />;
  if (found.isError) return <Trouble text={found.error.message} onRetry={() => found.refetch()} />;
  if (!found.data.items.length) {
    return (
      <p className="px-3 py-2 text-sm leading-relaxed text-ink-3">
        Nothing found for “{words}”. Try fewer or different words.
      </p>
    );
  }
  return (
    <ul aria-label="Found">
      {found.data.items.map((hit) => (
        <Hit key={hit.message_id} hit={hit} words={words} onGo={onGo} />
      ))}
    </ul>
  );
}

function Hit({ hit, words, onGo }: { hit: MessageHit; words: string; onGo?: () => void }) {
  return (
    <li>
      <Link
        to="/chat/$conversationId"
        params={{ conversationId: hit.conversation_id }}
        search={{ message: hit.message_id }}
        state={visit}
        onClick={onGo}
        className="target block rounded-lg px-3 py-2 hover:bg-hover"
      >
        <span dir="auto" className="block truncate text-[0.9375rem]">
          {hit.title || "Untitled"}
        </span>
        <span dir="auto" className="mt-0.5 line-clamp-2 block text-sm text-ink-2">
          {matches(hit.snippet, words).map(({ text, match }, index) =>
            match ? (
              // biome-ignore lint/suspicious/noArrayIndexKey: the parts of one text, which have no state.
              <mark key={index}>{text}</mark>
            ) : (
              text
            ),
          )}
        </span>
        <span className="mt-0.5 block text-xs text-ink-3">
          {hit.role === "user" ? "You" : "Companion"}, {when(hit.created_at)}
        </span>
      </Link>
    </li>
  );
}

function Waiting() {
  return (
    <div role="status" className="relative space-y-3 px-3 py-2">
      <span className="sr-only">Loading</span>
      {["w-4/5", "w-3/5", "w-2/3"].map((width) => (
        <div key={width} className={`h-3.5 animate-pulse rounded-full bg-line ${width}`} />
      ))}
    </div>
  );
}

function Trouble({ text, onRetry }: { text: string; onRetry: () => void }) {
  return (
    <div role="alert" className="px-3 py-2 text-sm text-ink-2">
      <p>{text}</p>
      <Button look="quiet" onClick={onRetry} className="mt-2">
        Try again
      </Button>
    </div>
  );
}
