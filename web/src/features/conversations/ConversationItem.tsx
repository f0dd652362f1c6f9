import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type KeyboardEvent, useEffect, useRef, useState } from "react";
import { editConversation } from "~/api/endpoints";
import type { Conversation } from "~/api/types";
import { Box, More, Pencil } from "~/ui/icons";
import { MenuButton, Popover } from "~/ui/Popover";
import type { MovedConversation } from "./Moved";

type Props = {
  workspace: string;
  conversation: Conversation;
  current: boolean;
  onGo?: () => void;
  /** Called when it has left this list. */
  onMoved: (moved: MovedConversation) => void;
  /** It is back in this list: it takes the focus and announces itself. */
  onFocused?: () => void;
};

export function ConversationItem({ workspace, conversation, current, onGo, onMoved, onFocused }: Props) {
  const [renaming, setRenaming] = useState(false);
  const row = useRef<HTMLLIElement>(null);
  // The field that had the focus is gone; a keyboard user returns to the menu.
  const [returns, setReturns] = useState(false);
  useEffect(() => {
    if (renaming || !returns) return;
    setReturns(false);
    row.current?.querySelector("button")?.focus();
  }, [renaming, returns]);
  useEffect(() => {
    if (!onFocused) return;
    row.current?.querySelector("a")?.focus();
    onFocused();
  }, [onFocused]);
  const queries = useQueryClient();
  const edit = useMutation({
    mutationFn: (change: { title?: string; archived?: boolean }) =>
      editConversation(workspace, conversation.id, change),
    onSuccess: (edited, { archived }) => {
      if (archived !== undefined) onMoved({ id: edited.id, title: edited.title || "Untitled", archived });
      return queries.invalidateQueries({ queryKey: ["workspace", workspace, "conversations"] });
    },
  });
  const title = (edit.isPending && edit.variables.title) || conversation.title || "Untitled";

  if (renaming) {
    return (
      <li className="py-0.5">
        <Rename
          title={conversation.title}
          onEnd={(next, byKeyboard) => {
            setRenaming(false);
            setReturns(byKeyboard);
            if (next && next !== conversation.title) edit.mutate({ title: next });
          }}
        />
      </li>
    );
  }
  return (
    <li
      ref={row}
      className={`group relative flex items-center rounded-lg transition-colors ${current ? "bg-hover" : "hover:bg-hover"}`}
    >
      <Link
        to="/chat/$conversationId"
        params={{ conversationId: conversation.id }}
        onClick={onGo}
        aria-current={current ? "page" : undefined}
        dir="auto"
        className={`min-w-0 flex-1 truncate rounded-lg px-3 py-2 text-[0.9375rem] coarse:py-[0.6875rem] ${current ? "font-medium" : "text-ink-2 group-hover:text-ink"}`}
      >
        {title}
      </Link>
      {edit.isError && (
        <span role="alert" className="px-1 text-xs text-danger">
          Not saved
        </span>
      )}
      <Popover
        name={`Actions for ${title}`}
        width={200}
        button={(props) => (
          <button
            type="button"
            aria-label={`Actions for ${title}`}
            className="m-1 inline-flex size-8 shrink-0 items-center justify-center rounded-md text-ink-3 hover:text-ink focus-visible:opacity-100 aria-expanded:opacity-100 hovering:opacity-0 hovering:group-focus-within:opacity-100 hovering:group-hover:opacity-100"
            {...props}
          >
            <More size={16} />
          </button>
        )}
      >
        {(close) => (
          <div className="p-1.5">
            <MenuButton
              onClick={() => {
                close();
                setRenaming(true);
              }}
            >
              <Pencil /> Rename
            </MenuButton>
            <MenuButton
              onClick={() => {
                close();
                edit.mutate({ archived: !conversation.archived });
              }}
            >
              <Box /> {conversation.archived ? "Restore" : "Archive"}
            </MenuButton>
          </div>
        )}
      </Popover>
    </li>
  );
}

function Rename({ title, onEnd: end }: { title: string; onEnd: (title: string, byKeyboard: boolean) => void }) {
  const [text, setText] = useState(title);
  const ended = useRef(false);
  // Leaving also blurs the input: only the first end counts.
  const onEnd = (next: string, byKeyboard: boolean) => {
    if (ended.current) return;
    ended.current = true;
    end(next, byKeyboard);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Enter") {
      // The focus moves to the menu's button, which the same key would press.
      event.preventDefault();
      onEnd(text.trim(), true);
    }
    if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      onEnd("", true);
    }
  };
  return (
    <input
      aria-label="New name for this conversation"
      dir="auto"
      className="field min-h-10 py-1.5"
      value={text}
      maxLength={200}
      // biome-ignore lint/a11y/noAutofocus: the person has just chosen to type here.
      autoFocus
      onFocus={(event) => event.target.select()}
      onChange={(event) => setText(event.target.value)}
      onKeyDown={onKeyDown}
      onBlur={() => onEnd(text.trim(), false)}
    />
  );
}
