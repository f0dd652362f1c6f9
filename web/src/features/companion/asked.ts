import type { ReactNode } from "react";
import type { Message } from "~/api/types";

/** Something that a run asks of a person, with its card. */
export type Asked = {
  id: string;
  run: string;
  /** When it was decided, if it was. */
  decidedAt?: string | null;
  open: boolean;
  /** This person can decide it. */
  mine: boolean;
  node: ReactNode;
};

/** What a run has said in answer to a message, in order: more than one message if it has waited. */
export const repliesOf = (
  messages: Message[],
  parent: string | null | undefined,
  run: string | null | undefined,
): Message[] =>
  parent && run
    ? messages.filter((one) => one.role === "assistant" && one.answers_id === parent && one.run_id === run)
    : [];

/**
 * What was asked between a message and the next one of the same run: below the last that the run said before the decision. It stays
 * there when the run goes on.
 */
export function askedAfter(messages: Message[], message: Message, asked: Asked[]): Asked[] {
  const parent = message.role === "user" ? message.id : message.answers_id;
  const replies = repliesOf(messages, parent, message.run_id);
  return asked.filter(({ decidedAt }) => {
    const until = decidedAt ? Date.parse(decidedAt) : Number.POSITIVE_INFINITY;
    const before = replies.findLast((one) => Date.parse(one.created_at) <= until);
    return (before?.id ?? parent) === message.id;
  });
}
