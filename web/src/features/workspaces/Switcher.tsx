import type { Membership } from "~/api/types";
import { Check, Updown } from "~/ui/icons";
import { MenuButton, Popover } from "~/ui/Popover";

type Props = {
  memberships: Membership[];
  current: string;
  onChoose: (workspace: string) => void;
};

/** The current workspace, and a menu of the person's others. Hidden if there are no others. */
export function Switcher({ memberships, current, onChoose }: Props) {
  const name = memberships.find(({ workspace }) => workspace.id === current)?.workspace.name;
  if (memberships.length < 2) return null;
  return (
    <div className="px-3 pb-3">
      <Popover
        name="Workspaces"
        width={264}
        button={(props) => (
          <button
            type="button"
            className="flex min-h-10 w-full items-center gap-2 rounded-lg px-3 text-left text-[0.9375rem] transition hover:bg-hover"
            {...props}
          >
            <span className="sr-only">Workspace: </span>
            <span className="min-w-0 flex-1 truncate font-medium">{name}</span>
            <Updown size={16} className="shrink-0 text-ink-3" />
          </button>
        )}
      >
        {(close) => (
          <ul className="p-2">
            {memberships.map(({ workspace }) => (
              <li key={workspace.id}>
                <MenuButton
                  current={workspace.id === current}
                  onClick={() => {
                    close();
                    if (workspace.id !== current) onChoose(workspace.id);
                  }}
                >
                  <span className="min-w-0 flex-1 truncate">{workspace.name}</span>
                  {workspace.id === current && <Check size={16} className="shrink-0 text-accent" />}
                </MenuButton>
              </li>
            ))}
          </ul>
        )}
      </Popover>
    </div>
  );
}
