import { type FormEvent, type KeyboardEvent, useEffect, useId, useLayoutEffect, useRef, useState } from "react";
import { newId } from "~/api/id";
import { IconButton } from "~/ui/Button";
import { ArrowUp, Pause, Stop } from "~/ui/icons";
import { type Draft, emptyComposer, keepDraft, readDraft } from "./drafts";

/** The server's limit for a message, in bytes. */
export const MAX_BYTES = 64 * 1024;

type Props = {
  workspace: string;
  conversation?: string;
  /** The companion's name, once it is known. */
  name?: string;
  /** A reply is being written: a button stops it. */
  running: boolean;
  /** Nothing can be sent until it is written; a reply that went on after a wait is written beside others. */
  holds?: boolean;
  stopping: boolean;
  pausing?: boolean;
  onPause?: () => void;
  /** Changes when the draft in storage has to be read again (a message could not be sent). */
  revision: number;
  onSend: (draft: Draft) => void;
  onStop: () => void;
  /** A starter text that the person picked; a new object each time. */
  starter?: { text: string };
};

export function Composer({
  workspace,
  conversation,
  name,
  running,
  holds = running,
  stopping,
  pausing = false,
  onPause,
  revision,
  onSend,
  onStop,
  starter,
}: Props) {
  const [draft, setDraft] = useState<Draft>(() => readDraft(workspace, conversation));
  const area = useRef<HTMLTextAreaElement>(null);
  const hint = useId();
  const label = `Write to ${name ?? "your companion"}`;
  const bytes = draft.text.length * 3 > MAX_BYTES ? new TextEncoder().encode(draft.text).length : 0;
  const tooLong = bytes > MAX_BYTES;

  // biome-ignore lint/correctness/useExhaustiveDependencies: `revision` is the signal to read again.
  useEffect(() => {
    setDraft(readDraft(workspace, conversation));
  }, [workspace, conversation, revision]);

  // On a phone the keyboard would cover the conversation at once; elsewhere people can start typing right away.
  // biome-ignore lint/correctness/useExhaustiveDependencies: runs for each conversation.
  useEffect(() => {
    if (matchMedia("(pointer: fine)").matches) area.current?.focus({ preventScroll: true });
  }, [conversation]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: the height follows the text.
  useLayoutEffect(() => {
    const element = area.current;
    if (!element?.form) return;
    // It is measured inside a form of the same height: a lower one would move the conversation above.
    const { style, offsetHeight } = element.form;
    style.minHeight = `${offsetHeight}px`;
    element.style.height = "auto";
    element.style.height = `${element.scrollHeight}px`;
    style.minHeight = "";
  }, [draft.text]);

  const write = (text: string) => {
    const next = { text, key: newId() };
    setDraft(next);
    keepDraft(workspace, conversation, next);
  };

  // Keeps the existing text; the starter text follows on its own line.
  // biome-ignore lint/correctness/useExhaustiveDependencies: runs each time a starter text is picked.
  useEffect(() => {
    if (!starter) return;
    if (!draft.text.endsWith(starter.text)) {
      write(draft.text.trim() ? `${draft.text.trimEnd()}\n${starter.text}` : starter.text);
    }
    area.current?.focus();
  }, [starter]);

  const submit = (event?: FormEvent) => {
    event?.preventDefault();
    if (holds || tooLong || !draft.text.trim()) return;
    emptyComposer(workspace, conversation);
    onSend(draft);
    setDraft({ text: "", key: newId() });
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    submit();
  };

  return (
    <form
      onSubmit={submit}
      className="relative mx-auto w-full max-w-[44rem] px-4 pb-[max(0.75rem,env(safe-area-inset-bottom))] short:pb-[max(0.25rem,env(safe-area-inset-bottom))]"
    >
      <div className="composer flex items-end gap-1 rounded-2xl border border-line-strong bg-card py-1.5 pr-1.5 pl-4 shadow-lift has-[textarea:focus]:border-accent has-[textarea:focus]:outline-2 has-[textarea:focus]:outline-accent short:py-0.5">
        <textarea
          ref={area}
          rows={1}
          value={draft.text}
          onChange={(event) => write(event.target.value)}
          onKeyDown={onKeyDown}
          placeholder={label}
          aria-label={label}
          dir="auto"
          aria-describedby={hint}
          aria-invalid={tooLong || undefined}
          enterKeyHint="send"
          className="max-h-[max(2.5rem,min(40dvh,50dvh-7rem))] min-h-10 min-w-0 flex-1 resize-none bg-transparent py-2 leading-6 coarse:py-2.5 outline-none placeholder:text-ink-3"
        />
        {running && onPause && (
          <IconButton name="Pause the reply" onClick={onPause} disabled={pausing || stopping} className="rounded-xl">
            <Pause size={20} />
          </IconButton>
        )}
        {running && (
          <IconButton
            name="Stop the reply"
            onClick={onStop}
            disabled={stopping}
            className="bg-ink text-paper hover:bg-ink-2 hover:text-paper rounded-xl"
          >
            <Stop size={20} />
          </IconButton>
        )}
        {!holds && (
          <IconButton
            name="Send"
            type="submit"
            disabled={!draft.text.trim() || tooLong}
            className="rounded-xl bg-accent text-on-accent hover:bg-accent hover:text-on-accent hover:brightness-110 disabled:bg-transparent disabled:text-ink-3"
          >
            <ArrowUp size={20} />
          </IconButton>
        )}
      </div>
      {tooLong ? (
        <p role="alert" id={hint} className="mt-1.5 px-4 text-sm text-danger">
          This message is too long: {Math.ceil(bytes / 1024)} KiB, and the limit is {MAX_BYTES / 1024} KiB. Send it in
          parts.
        </p>
      ) : (
        <p id={hint} className="mt-1.5 hidden px-4 text-center text-xs text-ink-3 wide:block short:hidden">
          Enter sends, Shift+Enter starts a new line{running ? ", Esc stops the reply" : ""}
        </p>
      )}
    </form>
  );
}
