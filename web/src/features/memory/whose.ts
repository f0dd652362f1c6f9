import type { Member, Memory, MemoryProvenance } from "~/api/types";

/** A member's name. */
export const nameOf = (people: Member[] | undefined, user: string): string =>
  people?.find((member) => member.user_id === user)?.display_name || "Another member";

/** Whether a suggested memory may wait for this person: not if they suggested it to somebody else. */
export const awaits = ({ review, user_id, provenance }: Memory, me: string): boolean =>
  review === "proposed" && (user_id !== me || Boolean(provenance.agent_id));

/** Where a memory comes from, in words: only a memory from a message counts as said. */
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
