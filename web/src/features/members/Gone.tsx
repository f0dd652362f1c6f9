import { useState } from "react";
import { endSession } from "~/api/session";
import { Button } from "~/ui/Button";
import { Notice } from "~/ui/Notice";

type Props = {
  /** The workspace that the person was in; absent if they were never in one. */
  workspace?: string;
  /** Whether the person has other workspaces. */
  others: boolean;
  onOthers: () => void;
  onSignedOut: () => void;
};

/** Shown after a membership has ended, in place of the workspace's content. */
export function Gone({ workspace, others, onOthers, onSignedOut }: Props) {
  const [problem, setProblem] = useState<string>();
  const leave = async () => {
    setProblem(undefined);
    try {
      await endSession(false);
      onSignedOut();
    } catch (error) {
      setProblem(error instanceof Error ? error.message : "Signing out failed. Try again.");
    }
  };
  return (
    <main className="scroller flex h-dvh flex-col px-6 py-10">
      <div className="m-auto w-full max-w-md" role="alert">
        <h1 className="font-serif text-3xl tracking-tight text-balance">
          {workspace ? `You are no longer a member of ${workspace}` : "You are not in any workspace"}
        </h1>
        <p className="mt-3 leading-relaxed text-ink-2">
          {workspace
            ? "You can no longer see its conversations and memories. If you are invited again, you get yours back."
            : "Ask an owner for an invitation, and open the link that you get."}
        </p>
        {problem && (
          <div className="mt-5">
            <Notice>{problem}</Notice>
          </div>
        )}
        <div className="mt-6 flex flex-wrap gap-3">
          {others && (
            <Button look="primary" onClick={onOthers}>
              Open another workspace
            </Button>
          )}
          <Button look={others ? "quiet" : "primary"} onClick={leave}>
            Sign out
          </Button>
        </div>
      </div>
    </main>
  );
}
