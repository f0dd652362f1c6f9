import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type KeyboardEvent, useRef, useState } from "react";
import { editConversation } from "~/api/endpoints";
import type { Conversation } from "~/api/types";
import { Box, More, Pencil } from "~/ui/icons";
import { MenuButton, Popover } from "~/ui/Popover";

type Props = { workspace: string; conversation: Conversation; current: boolean; onGo?: () => void };

export function ConversationItem({ workspace, conversation, current, onGo }: Props) {
  const [renaming, setRenaming] = useState(false);
  const queries = useQueryClient();
  const edit = useMutation({
    mutationFn: (change: { title?: string; archived?: boolean }) =>
      editConversation(workspace, conversation.id, change),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["workspace", workspace, "conversations"] }),
  });
  const title = (edit.isPending && edit.variables.title) || conversation.title || "Untitled";

  if (renaming) {
    return (
      <li className="py-0.5">
        <Rename
          title={conversation.title}
          onEnd={(next) => {
            setRenaming(false);
            if (next && next !== conversation.title) edit.mutate({ title: next });
          }}
        />
      </li>
    );
  }
  return (
    <li
      className={`group relative flex items-center rounded-lg transition-colors ${current ? "bg-hover" : "hover:bg-hover"}`}
    >
      <Link
        to="/chat/$conversationId"
        params={{ conversationId: conversation.id }}
        onClick={onGo}
        aria-current={current ? "page" : undefined}
        className={`min-w-0 flex-1 truncate rounded-lg py-2 pl-3 text-[0.9375rem] ${current ? "font-medium" : "text-ink-2 group-hover:text-ink"}`}
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
            className="m-1 inline-flex size-8 shrink-0 items-center justify-center rounded-md text-ink-3 hover:text-ink focus-visible:opacity-100 aria-expanded:opacity-100 wide:opacity-0 wide:group-focus-within:opacity-100 wide:group-hover:opacity-100"
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
              <Box /> {conversation.archived ? "Bring back" : "Archive"}
            </MenuButton>
          </div>
        )}
      </Popover>
    </li>
  );
}

function Rename({ title, onEnd: end }: { title: string; onEnd: (title?: string) => void }) {
  const [text, setText] = useState(title);
  const ended = useRef(false);
  // Going away blurs the input as well: only the first end counts.
  const onEnd = (next?: string) => {
    if (ended.current) return;
    ended.current = true;
    end(next);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Enter") onEnd(text.trim());
    if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      onEnd();
    }
  };
  return (
    <input
      aria-label="New name of the conversation"
      className="field min-h-10 py-1.5 text-[0.9375rem]"
      value={text}
      maxLength={200}
      // biome-ignore lint/a11y/noAutofocus: the person has just chosen to type here.
      autoFocus
      onFocus={(event) => event.target.select()}
      onChange={(event) => setText(event.target.value)}
      onKeyDown={onKeyDown}
      onBlur={() => onEnd(text.trim())}
    />
  );
}
