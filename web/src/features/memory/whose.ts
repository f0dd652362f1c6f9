import type { Member, Memory, MemoryProvenance } from "~/api/types";

/** What a member is called. */
export const nameOf = (people: Member[] | undefined, user: string): string =>
  people?.find((member) => member.user_id === user)?.display_name || "Another member";

/** Whether a suggested memory may wait for this person: not where they are the one who suggests it to somebody else. */
export const awaits = ({ review, user_id, provenance }: Memory, me: string): boolean =>
  review === "proposed" && (user_id !== me || Boolean(provenance.agent_id));

/** Where a memory comes from, as a person says it: only what stands in a message was said. */
export function origin(
  { memory, message, conversation, agent }: MemoryProvenance,
  me: string,
  people: Member[] | undefined,
): string {
  if (memory.user_id !== me) {
    const name = nameOf(people, memory.user_id);
    return memory.review === "proposed" ? `${name} suggested it` : `${name} shared it`;
  }
  if (message && memory.text && message.text.includes(memory.text)) {
    return message.role === "user" ? "You said it" : `${agent?.name ?? "Your companion"} said it`;
  }
  if (message || conversation) return "From your conversation";
  return agent ? `${agent.name} noted it` : "You added it by hand";
}
