import { useMutation, useQueryClient } from "@tanstack/react-query";
import { reviewMemory } from "~/api/endpoints";
import { Button } from "~/ui/Button";

/** The decision about a suggested memory. */
export function Review({ workspace, id }: { workspace: string; id: string }) {
  const queries = useQueryClient();
  const review = useMutation({
    mutationFn: (state: "accepted" | "rejected") => reviewMemory(workspace, id, state),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["workspace", workspace, "memory"] }),
  });
  return (
    <>
      <div className="mt-3 flex flex-wrap gap-2">
        <Button look="primary" busy={review.isPending} onClick={() => review.mutate("accepted")}>
          Accept
        </Button>
        <Button busy={review.isPending} onClick={() => review.mutate("rejected")}>
          Reject
        </Button>
      </div>
      {review.error && (
        <p role="alert" className="mt-2 text-danger text-sm">
          {review.error.message}
        </p>
      )}
    </>
  );
}
