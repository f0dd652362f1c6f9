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
                Replies follow simple rules and use what you told Duet. Whoever runs this Duet can connect a model: the
                setup guide says how.
              </p>
            </>
          ) : (
            <>
              <p className="font-medium [overflow-wrap:anywhere]">{model.default}</p>
              <p className="mt-1.5 text-ink-2">
                Replies come from this model unless the companion has its own. Each reply says which model wrote it.
              </p>
            </>
          )}
        </div>
      )}
    </Popover>
  );
}
