import { type QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { createRootRouteWithContext, HeadContent, Outlet, Scripts } from "@tanstack/react-router";
import { type ReactNode, useEffect, useState } from "react";
import { headScript } from "~/features/setup/token";
import { Splash } from "~/features/shell/Pages";
import css from "~/styles/app.css?url";

export const Route = createRootRouteWithContext<{ queries: QueryClient }>()({
  head: () => ({
    meta: [
      { charSet: "utf-8" },
      { name: "viewport", content: "width=device-width, initial-scale=1, viewport-fit=cover" },
      { title: "Duet" },
      { name: "description", content: "A companion that remembers, and whose memory stays yours." },
      { name: "color-scheme", content: "light dark" },
      { name: "referrer", content: "no-referrer" },
    ],
    links: [
      { rel: "stylesheet", href: css },
      { rel: "icon", href: "/favicon.svg", type: "image/svg+xml" },
    ],
    scripts: [{ children: headScript }],
  }),
  shellComponent: Shell,
  component: Root,
});

function Shell({ children }: { children: ReactNode }) {
  return (
    <html lang="en" suppressHydrationWarning>
      <head>
        <HeadContent />
      </head>
      <body>
        {children}
        <Scripts />
      </body>
    </html>
  );
}

function Root() {
  const { queries } = Route.useRouteContext();
  // The shell is the same for every address, so the first render has to match it; the page comes after it.
  const [ready, setReady] = useState(false);
  useEffect(() => {
    setReady(true);
  }, []);
  return <QueryClientProvider client={queries}>{ready ? <Outlet /> : <Splash />}</QueryClientProvider>;
}
