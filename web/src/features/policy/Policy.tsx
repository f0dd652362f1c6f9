import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useId, useState } from "react";
import { writePolicy } from "~/api/endpoints";
import { tellChanged } from "~/api/hints";
import { Problem } from "~/api/http";
import type { PolicyVersion, Rule, ToolCategory } from "~/api/types";
import { Button } from "~/ui/Button";
import { when } from "~/ui/format";
import { Notice } from "~/ui/Notice";
import { Plain } from "~/ui/Plain";
import { Select } from "~/ui/Select";
import { told, useRecentSignIn } from "~/ui/SignInAgain";
import { agentsQuery, policyQuery } from "./queries";
import {
  about,
  acts,
  CATEGORIES,
  CHOICES,
  type Choice,
  choiceNames,
  choiceOf,
  choicesFor,
  isGeneral,
  notes,
  saysOf,
  whyOf,
  withChoices,
} from "./rules";

type Props = { workspace: string; email: string; owner: boolean; header: ReactNode };

/** What companions may do by themselves, and what needs a person's yes first. */
export function Policy({ workspace, email, owner, header }: Props) {
  const policy = useQuery(policyQuery(workspace));
  return (
    <>
      {header}
      <div className="scroller min-h-0 flex-1 px-5 pb-16 wide:px-8">
        <div className="mx-auto max-w-2xl space-y-8 pt-2">
          <p className="leading-relaxed text-ink-2">
            A companion may do some things by itself. For others it asks first, in the conversation and in the Inbox,
            and waits for a yes.
            {!owner && " Owners of the workspace decide which."}
          </p>
          {policy.isPending && (
            <p role="status" className="text-ink-3">
              Loading…
            </p>
          )}
          {policy.isError && (
            <Notice actions={<Button onClick={() => void policy.refetch()}>Try again</Button>}>
              {policy.error.message}
            </Notice>
          )}
          {policy.data && <Categories workspace={workspace} email={email} owner={owner} policy={policy.data} />}
          {policy.data && <Special workspace={workspace} rules={policy.data.rules} />}
          {policy.data && policy.data.version > 1 && (
            <p className="text-sm text-ink-3">Last changed {when(policy.data.created_at)}.</p>
          )}
        </div>
      </div>
    </>
  );
}

type CategoriesProps = Omit<Props, "header"> & { policy: PolicyVersion };

function Categories({ workspace, email, owner, policy }: CategoriesProps) {
  const queries = useQueryClient();
  const [choices, setChoices] = useState<ReadonlyMap<ToolCategory, Choice>>(new Map());
  const { recently, dialog } = useRecentSignIn(email);
  const { queryKey } = policyQuery(workspace);
  const rules = withChoices(policy.rules, choices);
  const changed = rules !== policy.rules;
  const write = useMutation({
    mutationFn: () => recently(() => writePolicy(workspace, policy.version, rules)),
    onSuccess: (written) => {
      queries.setQueryData(queryKey, written);
      setChoices(new Map());
      // What was asked for under the earlier version is void.
      tellChanged(workspace, "inbox", "runs");
    },
  });
  const problem = told(write.error);
  const conflict = problem instanceof Problem && problem.code === "policy_changed";
  const submit = (event: FormEvent) => {
    event.preventDefault();
    write.mutate();
  };
  const reload = async () => {
    await queries.invalidateQueries({ queryKey });
    write.reset();
    setChoices(new Map());
  };
  return (
    <form onSubmit={submit}>
      <ul aria-label="What a companion does" className="divide-y divide-line border-y border-line">
        {CATEGORIES.map((category) => (
          <Category
            key={category}
            category={category}
            rules={policy.rules}
            choice={choices.get(category) ?? choiceOf(policy.rules, category)}
            owner={owner}
            onChoose={(choice) => {
              write.reset();
              setChoices(new Map(choices).set(category, choice));
            }}
          />
        ))}
      </ul>
      {dialog}
      {problem && (
        <div className="mt-4">
          <Notice actions={conflict && <Button onClick={() => void reload()}>Load it again</Button>}>
            {conflict
              ? "Somebody else has changed this in the meantime. Load it again, then make your change."
              : problem.message}
          </Notice>
        </div>
      )}
      {owner && (
        <div className="mt-4 flex flex-wrap items-center gap-x-4 gap-y-2">
          <Button type="submit" look="primary" busy={write.isPending} disabled={!changed || conflict}>
            Save
          </Button>
          {changed && (
            <Button
              look="bare"
              disabled={write.isPending}
              onClick={() => {
                write.reset();
                setChoices(new Map());
              }}
            >
              Undo
            </Button>
          )}
          <p role="status" className="min-w-40 flex-1 text-sm text-ink-2">
            {changed && "Saving cancels approvals that are still waiting."}
            {write.isSuccess && !changed && "Saved."}
          </p>
        </div>
      )}
    </form>
  );
}

type CategoryProps = {
  category: ToolCategory;
  rules: Rule[];
  choice: Choice | undefined;
  owner: boolean;
  onChoose: (choice: Choice) => void;
};

function Category({ category, rules, choice, owner, onChoose }: CategoryProps) {
  const id = useId();
  const stored = choiceOf(rules, category);
  const why = choice === stored ? whyOf(rules, category) : undefined;
  return (
    <li className="flex flex-wrap items-center gap-x-4 gap-y-2 py-3.5">
      <div className="min-w-44 flex-1">
        <p id={id} className="font-medium">
          {acts[category]}
        </p>
        {notes[category] && <p className="mt-0.5 text-sm text-ink-2">{notes[category]}</p>}
        {why && (
          <p className="mt-0.5 text-sm text-ink-2 [overflow-wrap:anywhere]">
            <Plain text={why} />
          </p>
        )}
      </div>
      {owner ? (
        <Select
          aria-labelledby={id}
          value={choice ?? ""}
          onChange={(event) => {
            const chosen = CHOICES.find((one) => one === event.target.value);
            if (chosen) onChoose(chosen);
          }}
          className="w-56 max-sm:w-full"
        >
          {stored === undefined && (
            <option value="" disabled>
              No rule: not allowed
            </option>
          )}
          {choicesFor(category, stored).map((one) => (
            <option key={one} value={one}>
              {choiceNames[one]}
            </option>
          ))}
        </Select>
      ) : (
        <p className="text-ink-2">{choice ? choiceNames[choice] : "Not allowed"}</p>
      )}
    </li>
  );
}

/** Rules about one tool, one agent or one role: they are kept as they are. */
function Special({ workspace, rules }: { workspace: string; rules: Rule[] }) {
  const special = rules.filter((rule) => !isGeneral(rule));
  const agents = useQuery({ ...agentsQuery(workspace), enabled: special.some((rule) => rule.agent != null) }).data;
  if (special.length === 0) return null;
  return (
    <section aria-labelledby="special">
      <h2 id="special" className="font-serif text-2xl tracking-tight">
        Exceptions
      </h2>
      <p className="mt-2 leading-relaxed text-ink-2">
        Where several rules apply, the strictest one wins. Change these with <code>duet policy set</code>.
      </p>
      <ul aria-labelledby="special" className="mt-4 divide-y divide-line border-y border-line">
        {special.map((rule, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: rules have no ids, and this list only shows them.
          <li key={index} className="flex flex-wrap items-baseline gap-x-4 gap-y-1 py-3">
            <div className="min-w-44 flex-1 [overflow-wrap:anywhere]">
              <p>
                <Plain text={about(rule, agents?.items)} />
              </p>
              {rule.why && (
                <p className="mt-0.5 text-sm text-ink-2">
                  <Plain text={rule.why} />
                </p>
              )}
            </div>
            <p className="text-ink-2">{saysOf(rule)}</p>
          </li>
        ))}
      </ul>
    </section>
  );
}
