declare module "@tanstack/react-router" {
  interface HistoryState {
    /** Differs each time a link is followed. */
    visit?: number;
  }
}

/** The state of a link that leads somewhere each time it is followed, also to where the page is already. */
export const visit = () => ({ visit: performance.now() });
