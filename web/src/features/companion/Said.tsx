import type { Message } from "~/api/types";

/** A message of the person. */
export function Said({
  message,
  pending,
  marked,
}: {
  message: Pick<Message, "text" | "status"> & { id?: string };
  pending?: boolean;
  marked?: boolean;
}) {
  return (
    <article
      id={message.id && `message-${message.id}`}
      aria-label="You said"
      tabIndex={-1}
      className={`message said rise relative ml-auto w-fit max-w-[88%] rounded-2xl rounded-br-md bg-said px-4 py-2.5 leading-relaxed wide:max-w-[80%] ${marked ? "marked" : ""} ${pending ? "opacity-80" : ""}`}
    >
      {message.status === "redacted" ? (
        <p className="text-ink-2 italic">This message was redacted.</p>
      ) : (
        <p dir="auto" className="whitespace-pre-wrap [overflow-wrap:anywhere]">
          {message.text}
        </p>
      )}
    </article>
  );
}
