import { type ReactNode, useState } from "react";
import { endSession } from "~/api/session";
import type { SessionAnswer } from "~/api/types";
import { Bell, Leave, More, People, Shield } from "~/ui/icons";
import { MenuButton, Popover } from "~/ui/Popover";
import { chooseTheme, type ThemeChoice, useTheme } from "./theme";

type Props = {
  session: SessionAnswer;
  workspace: string;
  version: string;
  /** Shown beside the notices entry. */
  notices: ReactNode;
  onMembers: () => void;
  onNotices: () => void;
  onPolicy: () => void;
  onSignedOut: () => void;
};

/** The signed-in person, the theme, and signing out. */
export function Account({ session, workspace, version, notices, onMembers, onNotices, onPolicy, onSignedOut }: Props) {
  const [problem, setProblem] = useState<string>();
  const leave = async (everywhere: boolean) => {
    setProblem(undefined);
    try {
      await endSession(everywhere);
      onSignedOut();
    } catch (error) {
      setProblem(error instanceof Error ? error.message : "Signing out failed. Try again.");
    }
  };
  const { display_name, email } = session.user;
  return (
    <Popover
      name="Account and settings"
      width={264}
      button={(props) => (
        <button
          type="button"
          className="flex w-full items-center gap-3 rounded-lg p-2 text-left transition hover:bg-hover"
          {...props}
        >
          <span
            aria-hidden="true"
            className="inline-flex size-9 shrink-0 items-center justify-center rounded-full bg-accent-soft font-serif text-base text-accent"
          >
            {display_name.slice(0, 1).toUpperCase()}
          </span>
          <span className="sr-only">Account and settings: </span>
          <span className="min-w-0 flex-1">
            <span className="block truncate text-[0.9375rem] font-medium">{display_name}</span>
            <span className="block truncate text-xs text-ink-3">{workspace}</span>
          </span>
          <More size={16} className="text-ink-3" />
        </button>
      )}
    >
      {(close) => (
        <div className="p-2">
          <p className="truncate px-3 pt-1 pb-3 text-sm text-ink-2">{email}</p>
          <MenuButton
            onClick={() => {
              close();
              onMembers();
            }}
          >
            <People /> Members
          </MenuButton>
          <MenuButton
            onClick={() => {
              close();
              onPolicy();
            }}
          >
            <Shield /> What needs a yes
          </MenuButton>
          <MenuButton
            onClick={() => {
              close();
              onNotices();
            }}
          >
            <Bell /> Notices {notices}
          </MenuButton>
          <hr className="my-2 border-line" />
          <ThemeChoices />
          <hr className="my-2 border-line" />
          <MenuButton onClick={() => leave(false)}>
            <Leave /> Sign out
          </MenuButton>
          <MenuButton onClick={() => leave(true)}>
            <Leave /> Sign out everywhere
          </MenuButton>
          {problem && (
            <p role="alert" className="px-3 py-2 text-sm text-danger">
              {problem}
            </p>
          )}
          <p className="px-3 pt-2 pb-1 text-xs text-ink-3">Duet {version}</p>
        </div>
      )}
    </Popover>
  );
}

const choices: { value: ThemeChoice; label: string }[] = [
  { value: "system", label: "System" },
  { value: "light", label: "Light" },
  { value: "dark", label: "Dark" },
];

function ThemeChoices() {
  const chosen = useTheme();
  return (
    <fieldset className="px-1">
      <legend className="px-2 pb-1.5 text-xs text-ink-3">Appearance</legend>
      <div className="flex rounded-lg bg-margin p-1">
        {choices.map(({ value, label }) => (
          <label
            key={value}
            className="flex flex-1 cursor-pointer items-center justify-center rounded-md py-1.5 text-sm text-ink-2 has-checked:bg-card has-checked:text-ink has-checked:shadow-lift dark:has-checked:bg-hover has-focus-visible:outline-2 has-focus-visible:outline-accent"
          >
            <input
              type="radio"
              name="theme"
              value={value}
              checked={chosen === value}
              onChange={() => chooseTheme(value)}
              className="sr-only"
            />
            {label}
          </label>
        ))}
      </div>
    </fieldset>
  );
}
