import type { ReactNode } from "react";

type Props = { size?: number; className?: string };

/** Line icons on a 20-unit square. All are decorative: the control around one has its own name. */
function Icon({ size = 18, className, children }: Props & { children: ReactNode }) {
  return (
    <svg
      viewBox="0 0 20 20"
      width={size}
      height={size}
      fill="none"
      stroke="currentColor"
      strokeWidth="1.5"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      className={className}
    >
      {children}
    </svg>
  );
}

export const Plus = (props: Props) => (
  <Icon {...props}>
    <path d="M10 4v12M4 10h12" />
  </Icon>
);
export const Search = (props: Props) => (
  <Icon {...props}>
    <circle cx="9" cy="9" r="5" />
    <path d="m13 13 4 4" />
  </Icon>
);
export const ArrowUp = (props: Props) => (
  <Icon {...props}>
    <path d="M10 16V4M5 9l5-5 5 5" />
  </Icon>
);
export const ArrowDown = (props: Props) => (
  <Icon {...props}>
    <path d="M10 4v12M5 11l5 5 5-5" />
  </Icon>
);
export const Chevron = (props: Props) => (
  <Icon {...props}>
    <path d="m6 8 4 4 4-4" />
  </Icon>
);
export const Updown = (props: Props) => (
  <Icon {...props}>
    <path d="m6.5 8 3.5-3.5L13.5 8M6.5 12l3.5 3.5 3.5-3.5" />
  </Icon>
);
export const Stop = (props: Props) => (
  <Icon {...props}>
    <rect x="5.5" y="5.5" width="9" height="9" rx="1.5" fill="currentColor" stroke="none" />
  </Icon>
);
export const More = (props: Props) => (
  <Icon {...props}>
    <circle cx="4.5" cy="10" r="1" fill="currentColor" />
    <circle cx="10" cy="10" r="1" fill="currentColor" />
    <circle cx="15.5" cy="10" r="1" fill="currentColor" />
  </Icon>
);
export const Menu = (props: Props) => (
  <Icon {...props}>
    <path d="M3.5 6h13M3.5 10h13M3.5 14h8" />
  </Icon>
);
export const Close = (props: Props) => (
  <Icon {...props}>
    <path d="m5 5 10 10M15 5 5 15" />
  </Icon>
);
export const Check = (props: Props) => (
  <Icon {...props}>
    <path d="m4.5 10.5 3.5 3.5 7.5-8" />
  </Icon>
);
export const Pencil = (props: Props) => (
  <Icon {...props}>
    <path d="M4 16l.8-3.4L13.4 4a1.4 1.4 0 0 1 2 0l.6.6a1.4 1.4 0 0 1 0 2L7.4 15.2 4 16Z" />
  </Icon>
);
export const Box = (props: Props) => (
  <Icon {...props}>
    <path d="M3.5 4.5h13v3h-13zM4.5 7.5v8h11v-8M8.5 10.5h3" />
  </Icon>
);
export const Retry = (props: Props) => (
  <Icon {...props}>
    <path d="M15.5 8A6 6 0 1 0 16 10.5M16 4v4h-4" />
  </Icon>
);
export const Onward = (props: Props) => (
  <Icon {...props}>
    <path d="M4 10h12M11 5l5 5-5 5" />
  </Icon>
);
export const Bookmark = (props: Props) => (
  <Icon {...props}>
    <path d="M6 3.5h8v13l-4-3-4 3z" />
  </Icon>
);
export const Leaf = (props: Props) => (
  <Icon {...props}>
    <path d="M4.5 15.5C4 9 8 4.5 16 4.5c0 7.5-4 11.5-9.5 10.5M4.5 16.5c1.5-4 4-6.5 7.5-8.5" />
  </Icon>
);
export const Tool = (props: Props) => (
  <Icon {...props}>
    <path d="M12.6 3.7a4 4 0 0 0-4.9 5.2L3.5 13.1a1.5 1.5 0 0 0 0 2.1l1.3 1.3a1.5 1.5 0 0 0 2.1 0l4.2-4.2a4 4 0 0 0 5.2-4.9l-2.4 2.4-2.7-.7-.7-2.7z" />
  </Icon>
);
export const Warning = (props: Props) => (
  <Icon {...props}>
    <path d="M10 3.5 17.5 16.5h-15zM10 8.5v3.5M10 14.3v.2" />
  </Icon>
);
export const Moon = (props: Props) => (
  <Icon {...props}>
    <path d="M16 11.8A6.5 6.5 0 0 1 8.2 4a6.5 6.5 0 1 0 7.8 7.8Z" />
  </Icon>
);
export const Sun = (props: Props) => (
  <Icon {...props}>
    <circle cx="10" cy="10" r="3.2" />
    <path d="M10 2.5v1.8M10 15.7v1.8M2.5 10h1.8M15.7 10h1.8M4.7 4.7 6 6M14 14l1.3 1.3M4.7 15.3 6 14M14 6l1.3-1.3" />
  </Icon>
);
export const Leave = (props: Props) => (
  <Icon {...props}>
    <path d="M8 4H4.5v12H8M12.5 6.5 16 10l-3.5 3.5M16 10H8" />
  </Icon>
);
export const People = (props: Props) => (
  <Icon {...props}>
    <circle cx="7.5" cy="7" r="2.7" />
    <path d="M2.5 16.5c0-3.2 2-5 5-5s5 1.8 5 5M12.6 4.6a2.6 2.6 0 0 1 0 4.8M14.6 11.9c1.9.6 2.9 2.2 2.9 4.6" />
  </Icon>
);
export const Bell = (props: Props) => (
  <Icon {...props}>
    <path d="M5 14V9a5 5 0 0 1 10 0v5l1.5 1.5h-13zM8.5 17.5h3" />
  </Icon>
);
export const Copy = (props: Props) => (
  <Icon {...props}>
    <rect x="7" y="7" width="9.5" height="9.5" rx="1.5" />
    <path d="M13 4.5A1.5 1.5 0 0 0 11.5 3.5H5A1.5 1.5 0 0 0 3.5 5v6.5A1.5 1.5 0 0 0 4.5 13" />
  </Icon>
);
export const Eye = (props: Props) => (
  <Icon {...props}>
    <path d="M2.5 10S5.2 5 10 5s7.5 5 7.5 5-2.7 5-7.5 5-7.5-5-7.5-5Z" />
    <circle cx="10" cy="10" r="2.2" />
  </Icon>
);
export const Tray = (props: Props) => (
  <Icon {...props}>
    <path d="M3 11.5 5 4.5h10l2 7v4H3zM3 11.5h4l1.2 2h3.6l1.2-2h4" />
  </Icon>
);
export const Question = (props: Props) => (
  <Icon {...props}>
    <path d="M7.2 7.4a2.8 2.8 0 1 1 4.1 2.5c-.9.5-1.3 1-1.3 2.1M10 15v.2" />
  </Icon>
);
export const Pause = (props: Props) => (
  <Icon {...props}>
    <path d="M7.5 5.5v9M12.5 5.5v9" strokeWidth="2.2" />
  </Icon>
);
export const Shield = (props: Props) => (
  <Icon {...props}>
    <path d="M10 3 4.5 5v4.5c0 3.4 2.2 6 5.5 7.5 3.3-1.5 5.5-4.1 5.5-7.5V5zM7.5 10l1.8 1.8 3.2-3.4" />
  </Icon>
);
