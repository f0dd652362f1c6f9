import { useQueryClient } from "@tanstack/react-query";
import { createFileRoute } from "@tanstack/react-router";
import { sessionQuery } from "~/features/auth/queries";
import { Members } from "~/features/members/Members";
import { Header } from "~/features/shell/Frame";

export const Route = createFileRoute("/_app/settings/members")({ component: Page });

function Page() {
  const queries = useQueryClient();
  const { session, workspace } = Route.useRouteContext();
  const now = queries.getQueryData(sessionQuery.queryKey) ?? session;
  const role = now.workspaces.find((membership) => membership.workspace.id === workspace.id)?.role ?? "member";
  return (
    <Members
      workspace={workspace}
      me={session.user}
      role={role}
      header={<Header title="Members" />}
      onLeft={() => void queries.invalidateQueries({ queryKey: sessionQuery.queryKey })}
    />
  );
}
