import type { ServerInfo } from "~/api/types";
import { Popover } from "~/ui/Popover";

/** Which model answers; says so plainly when it is the built-in fallback. */
export function ModelLabel({ model }: { model: ServerInfo["model"] }) {
  const short = model.default.split("/").slice(1).join("/") || model.default;
  return (
    <Popover
      name="The model"
      width={320}
      button={(props) => (
        <button type="button" className={`chip ${model.offline ? "bg-caution-soft text-caution" : ""}`} {...props}>
          <span className="max-w-32 truncate">{model.offline ? "Offline" : short}</span>
        </button>
      )}
    >
      {() => (
        <div className="p-4 text-sm leading-relaxed">
          {model.offline ? (
            <>
              <p className="font-medium">No language model is connected.</p>
              <p className="mt-1.5 text-ink-2">
                Answers come from simple rules and from what you told Duet. To connect a model, name one in Duet’s
                settings, for example <code className="rounded bg-margin px-1 font-mono text-xs">ollama/llama3.2</code>,
                and start Duet again.
              </p>
            </>
          ) : (
            <>
              <p className="font-medium [overflow-wrap:anywhere]">{model.default}</p>
              <p className="mt-1.5 text-ink-2">
                This model answers unless the companion has one of its own. Each reply says which one wrote it.
              </p>
            </>
          )}
        </div>
      )}
    </Popover>
  );
}
