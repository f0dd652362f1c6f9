import { useInfiniteQuery, useMutation, useQueryClient } from "@tanstack/react-query";
import { revokeInvitation } from "~/api/endpoints";
import type { Invitation } from "~/api/types";
import { Button } from "~/ui/Button";
import { when } from "~/ui/format";
import { Notice } from "~/ui/Notice";
import { invitationsQuery } from "./queries";

const endings: Record<Invitation["status"], string> = {
  open: "open",
  accepted: "accepted",
  revoked: "revoked",
  expired: "expired",
};

/** Open invitations, and what became of the others. */
export function Invitations({ workspace }: { workspace: string }) {
  const invitations = useInfiniteQuery(invitationsQuery(workspace));
  const all = invitations.data?.pages.flatMap((page) => page.items) ?? [];
  const open = all.filter((one) => one.status === "open");
  const over = all.filter((one) => one.status !== "open");
  return (
    <section aria-labelledby="invitations">
      <h2 id="invitations" className="font-serif text-2xl tracking-tight">
        Open invitations
      </h2>
      {invitations.error && (
        <div className="mt-4">
          <Notice actions={<Button onClick={() => void invitations.refetch()}>Try again</Button>}>
            {invitations.error.message}
          </Notice>
        </div>
      )}
      {invitations.isSuccess && open.length === 0 && <p className="mt-2 text-ink-2">No open invitations.</p>}
      {open.length > 0 && (
        <ul className="mt-4 divide-y divide-line border-y border-line" aria-label="Open invitations">
          {open.map((one) => (
            <Open key={one.id} workspace={workspace} invitation={one} />
          ))}
        </ul>
      )}
      {over.length > 0 && (
        <details className="mt-4">
          <summary className="cursor-pointer text-sm text-ink-2">Earlier invitations</summary>
          <ul className="mt-2 space-y-1" aria-label="Earlier invitations">
            {over.map((one) => (
              <li key={one.id} className="flex justify-between gap-4 text-sm text-ink-2">
                <span className="min-w-0 truncate">{one.email}</span>
                <span className="shrink-0 text-ink-3">{endings[one.status]}</span>
              </li>
            ))}
          </ul>
        </details>
      )}
      {invitations.hasNextPage && (
        <Button className="mt-4" busy={invitations.isFetchingNextPage} onClick={() => void invitations.fetchNextPage()}>
          Show more
        </Button>
      )}
    </section>
  );
}

function Open({ workspace, invitation }: { workspace: string; invitation: Invitation }) {
  const queries = useQueryClient();
  const revoke = useMutation({
    mutationFn: () => revokeInvitation(workspace, invitation.id),
    // Also if it was accepted in the meantime: then both lists have changed.
    onSettled: () =>
      Promise.all([
        queries.invalidateQueries({ queryKey: ["workspace", workspace, "invitations"] }),
        queries.invalidateQueries({ queryKey: ["workspace", workspace, "members"] }),
      ]),
  });
  return (
    <li className="py-4">
      <div className="flex flex-wrap items-center gap-x-4 gap-y-3">
        <div className="min-w-40 flex-1">
          <p className="truncate font-medium">{invitation.email}</p>
          <p className="text-sm text-ink-3">
            As {invitation.role === "owner" ? "an owner" : "a member"}, expires {when(invitation.expires_at)}
          </p>
        </div>
        <Button busy={revoke.isPending} onClick={() => revoke.mutate()}>
          Revoke<span className="sr-only"> the invitation for {invitation.email}</span>
        </Button>
      </div>
      {revoke.error && (
        <div className="mt-3">
          <Notice>{revoke.error.message}</Notice>
        </div>
      )}
    </li>
  );
}
