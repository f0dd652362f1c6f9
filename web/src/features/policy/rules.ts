import type { Agent, Rule, ToolCategory } from "~/api/types";

/** What can be chosen for a category, from the loosest to the strictest. */
export const CHOICES = ["allow", "ask", "ask_owner", "deny"] as const;
export type Choice = (typeof CHOICES)[number];

export const CATEGORIES: readonly ToolCategory[] = [
  "memory_read",
  "memory_write",
  "conversation_read",
  "question",
  "external",
];

/** What the tools of a category do. */
export const acts: Record<ToolCategory, string> = {
  memory_read: "Look through memories",
  memory_write: "Save memories",
  conversation_read: "Search conversations",
  question: "Ask you questions",
  external: "Act outside of Duet",
};

/** More about a category. */
export const notes: Partial<Record<ToolCategory, string>> = { external: "Nothing in this version does this yet." };

export const choiceNames: Record<Choice, string> = {
  allow: "Allow",
  ask: "Ask first",
  ask_owner: "Ask an owner first",
  deny: "Don’t allow",
};

/** What is offered for a category: a question needs no yes before it is asked. What holds now stays on offer. */
export const choicesFor = (category: ToolCategory, now: Choice | undefined): Choice[] =>
  CHOICES.filter((one) => category !== "question" || one === "allow" || one === "deny" || one === now);

/** Whether a rule is about all tools of its category, for everybody. */
export const isGeneral = ({ tool, role, agent }: Rule): boolean => tool == null && role == null && agent == null;

const choiceOfRule = ({ say, decider }: Rule): Choice => (say === "ask" && decider === "owner" ? "ask_owner" : say);

/** The rules about a whole category, for everybody. */
const general = (rules: Rule[], category: ToolCategory) =>
  rules.filter((rule) => rule.category === category && isGeneral(rule));

/** What holds for a category in general: the strictest of its rules. Nothing is allowed that no rule allows. */
export function choiceOf(rules: Rule[], category: ToolCategory): Choice | undefined {
  const said = general(rules, category).map(choiceOfRule);
  return CHOICES.findLast((choice) => said.includes(choice));
}

/** Why it is so, if the rule that holds says. */
export function whyOf(rules: Rule[], category: ToolCategory): string | undefined {
  const choice = choiceOf(rules, category);
  return general(rules, category).find((rule) => choiceOfRule(rule) === choice)?.why ?? undefined;
}

/** The rules with other choices for some categories. All other rules stay as they are, in their places. */
export function withChoices(rules: Rule[], choices: ReadonlyMap<ToolCategory, Choice>): Rule[] {
  let next = rules;
  for (const [category, choice] of choices) {
    if (choiceOf(rules, category) === choice) continue;
    const at = next.findIndex((rule) => rule.category === category && isGeneral(rule));
    const rule: Rule = {
      category,
      say: choice === "ask_owner" ? "ask" : choice,
      ...(choice === "ask_owner" && { decider: "owner" }),
    };
    const others = (from: Rule[]) => from.filter((one) => one.category !== category || !isGeneral(one));
    next = at < 0 ? [...next, rule] : [...others(next.slice(0, at)), rule, ...others(next.slice(at))];
  }
  return next;
}

/** Another rule in words: whom and what it is about. */
export function about({ category, tool, role, agent }: Rule, agents: Agent[] | undefined): string {
  const parts = [
    acts[category],
    tool != null && `with ${tool}`,
    agent != null && `by ${agents?.find((one) => one.id === agent)?.name ?? "an agent that is gone"}`,
    role != null && (role === "owner" ? "for owners" : "for members"),
  ];
  return parts.filter(Boolean).join(", ");
}

export const saysOf = (rule: Rule): string => choiceNames[choiceOfRule(rule)];
