import { createFileRoute, useNavigate } from "@tanstack/react-router";
import type { InboxKind } from "~/api/types";
import { Inbox } from "~/features/inbox/Inbox";
import { Header } from "~/features/shell/Frame";
import { useRole } from "./-role";

const kinds: readonly InboxKind[] = ["approval", "question", "review", "memory"];

export const Route = createFileRoute("/_app/inbox")({
  validateSearch: (search): { kind?: InboxKind } => ({ kind: kinds.find((kind) => kind === search.kind) }),
  component: Page,
});

function Page() {
  const { session, workspace } = Route.useRouteContext();
  const { kind } = Route.useSearch();
  const navigate = useNavigate();
  const owner = useRole() === "owner";
  const { id, email } = session.user;
  return (
    <Inbox
      key={workspace.id}
      workspace={workspace.id}
      me={{ id, email, owner }}
      kind={kind}
      onKind={(next) => void navigate({ to: "/inbox", search: { kind: next }, replace: true })}
      header={<Header title="Inbox" />}
    />
  );
}
