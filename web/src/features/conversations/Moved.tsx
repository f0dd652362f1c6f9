import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { editConversation } from "~/api/endpoints";
import { Button, IconButton } from "~/ui/Button";
import { Close } from "~/ui/icons";

/** A conversation that has just been archived or restored. */
export type MovedConversation = { id: string; title: string; archived: boolean };

type Props = { workspace: string; moved?: MovedConversation; onDone: () => void; onUndone: (id: string) => void };

/** Says what happened to a conversation that left the list, and offers to undo it. */
export function Moved({ workspace, moved, onDone, onUndone }: Props) {
  const queries = useQueryClient();
  const undo = useMutation({
    mutationFn: ({ id, archived }: MovedConversation) => editConversation(workspace, id, { archived: !archived }),
    onSuccess: async ({ id }) => {
      await queries.invalidateQueries({ queryKey: ["workspace", workspace, "conversations"] });
      onDone();
      onUndone(id);
    },
  });
  const button = useRef<HTMLButtonElement>(null);
  // The menu that had the focus is gone with the conversation.
  useEffect(() => {
    button.current?.focus();
  }, []);
  return (
    <div role="status" className={moved ? "relative mx-3 mb-2 rounded-lg bg-accent-soft py-1 pr-1 pl-3 text-sm" : ""}>
      {moved && (
        <div className="flex items-center gap-1">
          <p className="min-w-0 flex-1">
            <span dir="auto" className="block truncate font-medium">
              {moved.title}
            </span>
            {undo.isError ? undo.error.message : moved.archived ? "Archived." : "Restored."}
          </p>
          <Button ref={button} look="bare" busy={undo.isPending} onClick={() => undo.mutate(moved)}>
            Undo
          </Button>
          <IconButton name="Dismiss" onClick={onDone}>
            <Close size={14} />
          </IconButton>
        </div>
      )}
    </div>
  );
}
