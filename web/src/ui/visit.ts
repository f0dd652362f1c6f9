declare module "@tanstack/react-router" {
  interface HistoryState {
    /** Differs each time a link is followed. */
    visit?: number;
  }
}

/** The state of a link that navigates each time it is followed, even to the current page. */
export const visit = () => ({ visit: performance.now() });
