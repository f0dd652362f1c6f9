import { useInfiniteQuery, useMutation, useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { changeRole, leaveWorkspace, removeMember } from "~/api/endpoints";
import type { Member, Role } from "~/api/types";
import { Button } from "~/ui/Button";
import { when } from "~/ui/format";
import { Notice } from "~/ui/Notice";
import { told, useRecentSignIn } from "~/ui/SignInAgain";
import { Confirm } from "./Confirm";
import { Invitations } from "./Invitations";
import { InviteForm } from "./InviteForm";
import { membersQuery } from "./queries";

type Props = {
  workspace: { id: string; name: string };
  /** The person viewing the page. */
  me: { id: string; email: string };
  role: Role;
  header: ReactNode;
  onLeft: () => void;
};

/** The members of the workspace; owners can also invite and remove people. */
export function Members({ workspace, me, role, header, onLeft }: Props) {
  // The list learns of a change of one's own role before the session does.
  const { data } = useInfiniteQuery(membersQuery(workspace.id));
  const mine = data?.pages.flatMap((page) => page.items).find((member) => member.user_id === me.id);
  const owner = (mine?.role ?? role) === "owner";
  return (
    <>
      {header}
      <div className="scroller min-h-0 flex-1 px-5 pb-16 wide:px-8">
        <div className="mx-auto max-w-2xl space-y-12 pt-2">
          <People workspace={workspace.id} me={me} owner={owner} />
          {owner && <InviteForm workspace={workspace.id} email={me.email} />}
          {owner && <Invitations workspace={workspace.id} />}
          <Leaving workspace={workspace} onLeft={onLeft} />
        </div>
      </div>
    </>
  );
}

function People({ workspace, me, owner }: { workspace: string; me: Props["me"]; owner: boolean }) {
  const members = useInfiniteQuery(membersQuery(workspace));
  const items = members.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <section aria-labelledby="people">
      <h2 id="people" className="font-serif text-2xl tracking-tight">
        People
      </h2>
      {members.isPending && <p className="mt-4 text-ink-3">Loading members…</p>}
      {members.error && (
        <div className="mt-4">
          <Notice actions={<Button onClick={() => void members.refetch()}>Try again</Button>}>
            {members.error.message}
          </Notice>
        </div>
      )}
      <ul className="mt-4 divide-y divide-line border-y border-line" aria-label="Members">
        {items.map((member) => (
          <Person key={member.user_id} workspace={workspace} member={member} me={me} owner={owner} />
        ))}
      </ul>
      {members.hasNextPage && (
        <Button className="mt-4" busy={members.isFetchingNextPage} onClick={() => void members.fetchNextPage()}>
          Show more
        </Button>
      )}
    </section>
  );
}

type PersonProps = { workspace: string; member: Member; me: Props["me"]; owner: boolean };

function Person({ workspace, member, me, owner }: PersonProps) {
  const mine = member.user_id === me.id;
  const queries = useQueryClient();
  const [removing, setRemoving] = useState(false);
  const again = () => queries.invalidateQueries({ queryKey: ["workspace", workspace, "members"] });
  const remove = useMutation({ mutationFn: () => removeMember(workspace, member.user_id), onSuccess: again });
  const { recently, dialog } = useRecentSignIn(me.email);
  const change = useMutation({
    mutationFn: (role: Role) => recently(() => changeRole(workspace, member.user_id, role)),
    onSuccess: again,
  });
  const problem = remove.error ?? told(change.error);
  const other: Role = member.role === "owner" ? "member" : "owner";
  return (
    <li className="py-4">
      <div className="flex flex-wrap items-center gap-x-4 gap-y-3">
        <span
          aria-hidden="true"
          className="inline-flex size-10 shrink-0 items-center justify-center rounded-full bg-accent-soft font-serif text-lg text-accent"
        >
          {member.display_name.slice(0, 1).toUpperCase()}
        </span>
        <div className="min-w-40 flex-1">
          <p className="truncate font-medium">
            {member.display_name}
            {mine && <span className="font-normal text-ink-3"> (you)</span>}
          </p>
          <p className="truncate text-sm text-ink-2">{member.email}</p>
          <p className="text-sm text-ink-3">
            {member.role === "owner" ? "Owner" : "Member"} since {when(member.joined_at)}
          </p>
        </div>
        {owner && !mine && !removing && (
          <div className="flex gap-2">
            <Button busy={change.isPending} onClick={() => change.mutate(other)}>
              Make {other}
              <span className="sr-only">({member.display_name})</span>
            </Button>
            <Button look="danger" onClick={() => setRemoving(true)}>
              Remove<span className="sr-only"> {member.display_name}</span>
            </Button>
          </div>
        )}
      </div>
      {removing && (
        <Confirm
          question={`Remove ${member.display_name}?`}
          detail="They lose access at once: their pages close, their API keys stop working, and a reply being written is cut off. What they wrote is kept; if you invite them again, they get it back."
          yes="Remove"
          busy={remove.isPending}
          onYes={() => remove.mutate()}
          onNo={() => setRemoving(false)}
        />
      )}
      {dialog}
      {problem && (
        <div className="mt-3">
          <Notice>{problem.message}</Notice>
        </div>
      )}
    </li>
  );
}

function Leaving({ workspace, onLeft }: { workspace: { id: string; name: string }; onLeft: () => void }) {
  const [asking, setAsking] = useState(false);
  const leave = useMutation({ mutationFn: () => leaveWorkspace(workspace.id), onSuccess: onLeft });
  return (
    <section aria-labelledby="leaving">
      <h2 id="leaving" className="font-serif text-2xl tracking-tight">
        Leaving
      </h2>
      <p className="mt-2 leading-relaxed text-ink-2">
        Your conversations stay here. You get them back if an owner invites you again.
      </p>
      {!asking && (
        <Button className="mt-4" onClick={() => setAsking(true)}>
          Leave {workspace.name}
        </Button>
      )}
      {asking && (
        <Confirm
          question={`Leave ${workspace.name}?`}
          detail="You lose access at once. Only an owner can invite you back."
          yes="Leave"
          busy={leave.isPending}
          onYes={() => leave.mutate()}
          onNo={() => {
            leave.reset();
            setAsking(false);
          }}
        />
      )}
      {leave.error && (
        <div className="mt-3">
          <Notice>{leave.error.message}</Notice>
        </div>
      )}
    </section>
  );
}
