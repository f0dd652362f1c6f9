import type { ServerInfo } from "~/api/types";
import { Popover } from "~/ui/Popover";

type Props = {
  /** The default model. */
  model: ServerInfo["model"];
  /** The companion's own model. */
  own?: string | null;
};

/** Which model answers; says so plainly if there is none. */
export function ModelLabel({ model, own }: Props) {
  const name = own ?? model.default;
  const short = name.split("/").slice(1).join("/") || name;
  const none = !own && model.offline;
  return (
    <Popover
      name="The model"
      width={320}
      button={(props) => (
        <button type="button" className={`chip ${none ? "bg-caution-soft text-caution" : ""}`} {...props}>
          <span className="max-w-32 truncate">{none ? "No model" : short}</span>
        </button>
      )}
    >
      {() => (
        <div className="p-4 text-sm leading-relaxed">
          {none ? (
            <>
              <p className="font-medium">No language model is connected.</p>
              <p className="mt-1.5 text-ink-2">
                Replies follow simple rules and use what you told Duet. Whoever runs this Duet can connect a model: the
                setup guide says how.
              </p>
            </>
          ) : (
            <>
              <p className="font-medium [overflow-wrap:anywhere]">{name}</p>
              <p className="mt-1.5 text-ink-2">
                {own
                  ? "The companion of this conversation has this model of its own."
                  : "Replies come from this model unless the companion has its own."}{" "}
                Each reply says which model wrote it.
              </p>
            </>
          )}
        </div>
      )}
    </Popover>
  );
}
