/** The mark: two crossing voices. With `writing` they drift. */
export function Mark({ size = 28, writing = false }: { size?: number; writing?: boolean }) {
  return (
    <svg
      viewBox="0 0 32 32"
      width={size}
      height={size}
      fill="none"
      aria-hidden="true"
      className={writing ? "writing" : undefined}
    >
      <path
        className="voice-b"
        d="M3 16c4.3-9 8.7-9 13 0s8.7 9 13 0"
        stroke="var(--second)"
        strokeWidth="2.6"
        strokeLinecap="round"
      />
      <path
        className="voice-a"
        d="M3 16c4.3 9 8.7 9 13 0s8.7-9 13 0"
        stroke="var(--accent)"
        strokeWidth="2.6"
        strokeLinecap="round"
      />
    </svg>
  );
}

export function Wordmark() {
  return (
    <span className="inline-flex items-center gap-2">
      <Mark size={26} />
      <span className="font-serif text-xl tracking-tight">Duet</span>
    </span>
  );
}
